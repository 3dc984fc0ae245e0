//! Tables as lists of columns: which fit, and how a row is written in them.

/// A column of rows of type `Row`.
pub(super) struct Column<Row> {
    /// What stands above it.
    pub title: &'static str,
    /// How wide it is; 0 for the one that takes what is left.
    pub width: usize,
    /// The higher the earlier it gives way on a narrow terminal; 0 never does.
    pub priority: u8,
    /// What stands in it, at a time in nanoseconds of the monotonic clock.
    pub cell: fn(&Row, u64) -> String,
}

/// The columns that fit into `width`, and how wide the flexible one is. It is at least `least` wide.
pub(super) fn fit<Row>(all: &[Column<Row>], width: usize, least: usize) -> (Vec<&Column<Row>>, usize) {
    let mut chosen: Vec<&Column<Row>> = all.iter().collect();
    loop {
        let fixed: usize =
            chosen.iter().filter(|column| column.width > 0).map(|column| column.width + 1).sum();
        let left = width.saturating_sub(fixed);
        let expendable = chosen.iter().map(|column| column.priority).max().unwrap_or(0);
        if left >= least || expendable == 0 {
            return (chosen, left);
        }
        chosen.retain(|column| column.priority < expendable);
    }
}

/// A row, or the titles, in columns: the flexible one to the left, figures to the right.
pub(super) fn line<Row>(
    columns: &[&Column<Row>],
    flexible: usize,
    cell: impl Fn(&Column<Row>) -> String,
) -> String {
    let mut line = String::new();
    for column in columns {
        let text = cell(column);
        if column.width == 0 {
            line.push_str(&format!("{:<flexible$}", shorten(&text, flexible)));
        } else {
            let width = column.width;
            line.push_str(&format!(" {:>width$}", shorten(&text, width)));
        }
    }
    line
}

/// Cuts a text in the middle, visibly: both ends of an address tell more than its middle.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 2;
    let tail = kept - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).take(width).collect()
}

/// The first row that is shown, so that `selected` of `rows` is among the `shown`.
pub(super) fn scroll(selected: usize, rows: usize, shown: usize) -> usize {
    selected.saturating_sub(shown / 2).min(rows.saturating_sub(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<u64>; 3] = [
        Column { title: "NAME", width: 0, priority: 0, cell: |_, _| "name".to_owned() },
        Column { title: "A", width: 5, priority: 0, cell: |row, _| row.to_string() },
        Column { title: "B", width: 5, priority: 1, cell: |_, now| now.to_string() },
    ];

    #[test]
    fn texts_are_cut_in_the_middle() {
        assert_eq!(shorten("[2001:db8:1:2:3:4:5:8d]:443", 20), "[2001:db8…:5:8d]:443");
        assert_eq!(shorten("10.0.0.1:80", 11), "10.0.0.1:80");
        assert_eq!(shorten("abc", 1), "…");
    }

    #[test]
    fn columns_give_way_by_priority() {
        let (all, flexible) = fit(&COLUMNS, 30, 10);
        assert_eq!((all.len(), flexible), (3, 18));
        assert_eq!(line(&all, 10, |column| (column.cell)(&7, 8)), "name           7     8");
        let (few, flexible) = fit(&COLUMNS, 20, 10);
        assert_eq!((few.len(), flexible), (2, 14));
        let (fewest, flexible) = fit(&COLUMNS, 8, 10);
        assert_eq!((fewest.len(), flexible), (2, 2));
    }

    #[test]
    fn the_selected_row_is_shown() {
        assert_eq!(scroll(0, 100, 10), 0);
        assert_eq!(scroll(50, 100, 10), 45);
        assert_eq!(scroll(99, 100, 10), 90);
        assert_eq!(scroll(3, 5, 10), 0);
    }
}

//! Horizontal lines with titles, between the parts of the screen.

use crate::tui::columns::shorten;

/// `── title ─────────`.
pub(super) fn titled(width: u16, title: &str) -> String {
    let width = usize::from(width);
    padded(shorten(&format!("── {title} "), width), width)
}

/// `── title ────┬── title ────`, with the second title from column `split` on.
pub(super) fn split(width: u16, left: &str, split: u16, right: &str) -> String {
    let rest = width.saturating_sub(split + 1);
    format!("{}┬{}", titled(split, left), titled(rest, right))
}

fn padded(mut rule: String, width: usize) -> String {
    let missing = width.saturating_sub(rule.chars().count());
    rule.push_str(&"─".repeat(missing));
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_as_wide_as_they_should_be() {
        assert_eq!(titled(12, "abc"), "── abc ─────");
        assert_eq!(split(20, "abc", 9, "d"), "── abc ──┬── d ─────");
        assert_eq!(titled(6, "abcdef").chars().count(), 6);
    }
}

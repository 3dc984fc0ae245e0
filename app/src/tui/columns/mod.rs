//! Tables as lists of columns. The screen, `--columns`, the help and the documentation are made from them.

pub mod events;
pub mod flows;
pub mod peers;

use std::collections::BTreeMap;

use probe_common::Endpoint;

use super::resolver::HostNames;
use crate::output::RenderContext;
use crate::output::format::{
    UNKNOWN, age, bytes, count, endpoint, maybe_duration, peer, percent, rate, row as row_name,
};
use tcptop_core::{PeerKey, Processes, RetransmitCause, RetransmitCauses, Role, RowKey, RowSockets};

/// The longest name of a process (15 bytes), with `~` before it.
pub const PROCESS_WIDTH: u16 = 16;
/// Room for most names of containers, and for some pods.
pub const CONTAINER_WIDTH: u16 = 20;

/// The longest cause of retransmits, as it is shown here.
pub const CAUSE_WIDTH: u16 = 10;

/// The most frequent cause of retransmits.
fn cause(causes: &RetransmitCauses) -> String {
    match causes.main() {
        // The name is longer than all others.
        Some(RetransmitCause::TailLossProbe) => "tail-probe".to_owned(),
        Some(cause) => cause.name().to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

/// The longest IPv4 address with a port.
pub const LEAST_PEER: u16 = 21;
/// The longest IPv6 address with a port. A wider column would only move names away from their figures.
pub const LONGEST_PEER: u16 = 47;

/// A column of rows of type `Row` that can be sorted by an `Order`.
#[derive(Debug)]
pub struct Column<Row, Order: 'static> {
    /// Its name in `--columns` and in the documentation.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its width in characters; 0 for the one that takes the remaining width.
    pub width: u16,
    /// Columns of the highest number are left out first on a narrow terminal; those of 0 never.
    pub priority: u8,
    /// Its alignment.
    pub side: Side,
    /// What it means, for the help.
    pub meaning: &'static str,
    /// The value of a row.
    pub value: fn(&Row, &CellContext<'_>) -> Value,
    /// The order that sorts by it, if there is one.
    pub order: Option<Order>,
}

impl<Row, Order: Copy> Column<Row, Order> {
    /// A column of figures that nothing sorts by.
    const fn figure(
        name: &'static str,
        title: &'static str,
        width: u16,
        priority: u8,
        meaning: &'static str,
        value: fn(&Row, &CellContext<'_>) -> Value,
    ) -> Self {
        Self { name, title, width, priority, side: Side::Right, meaning, value, order: None }
    }

    /// The same, of words.
    const fn words(mut self) -> Self {
        self.side = Side::Left;
        self
    }

    /// The same, with the order that sorts by it.
    const fn by(mut self, order: Order) -> Self {
        self.order = Some(order);
        self
    }
}

/// Alignment of a text in a wider column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// For words.
    Left,
    /// For figures, so that their digits are aligned.
    Right,
}

/// What the cells need besides the row.
#[derive(Clone, Copy, Debug)]
pub struct CellContext<'a> {
    /// When the snapshot was taken, in nanoseconds of the monotonic clock.
    pub now_ns: u64,
    /// Interface names and the wall clock.
    pub render: &'a RenderContext,
    /// Host names.
    pub names: &'a HostNames,
    /// The processes of rows, as far as they are known.
    pub processes: &'a BTreeMap<RowKey, Processes>,
    /// What the kernel knows of the sockets of rows, as far as it is known.
    pub sockets: &'a BTreeMap<RowKey, RowSockets>,
    /// The SSH connection that the screen is used over: this host's end, and the other end.
    pub own_session: Option<[Endpoint; 2]>,
}

/// The value of a cell, before it is formatted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// Nanoseconds, if known.
    Duration(Option<u64>),
    /// An upper bound in nanoseconds (ambiguous).
    Below(u64),
    /// A number.
    Count(u64),
    /// A number, if known.
    MaybeCount(Option<u64>),
    /// A number of bytes.
    Bytes(u64),
    /// A number per second.
    Rate(f64),
    /// A share from 0 to 1, if known.
    Share(Option<f64>),
    /// Nanoseconds, if known, shown in two units (`2m41s`).
    Age(Option<u64>),
}

impl Value {
    /// The formatted value. Figures take at most 6 characters, `Below` 7.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Duration(ns) => maybe_duration(*ns),
            Self::Below(ns) => format!("<{}", maybe_duration(Some(*ns))),
            Self::Count(number) => count(*number),
            Self::MaybeCount(number) => number.map_or_else(|| UNKNOWN.to_owned(), count),
            Self::Bytes(number) => bytes(*number),
            Self::Rate(per_s) => rate(*per_s),
            Self::Share(share) => percent(*share),
            Self::Age(ns) => ns.map_or_else(|| UNKNOWN.to_owned(), age),
        }
    }
}

impl CellContext<'_> {
    /// The name of a row, with the host name if names are shown and it is known.
    #[must_use]
    pub fn row(&self, key: &RowKey) -> String {
        match key {
            RowKey::Peer(key) => self.peer(key),
            RowKey::Host { address, .. } => {
                self.names.of(address).map_or_else(|| row_name(key, None, self.render), str::to_owned)
            }
            RowKey::Service { .. }
            | RowKey::Subnet { .. }
            | RowKey::Role { .. }
            | RowKey::Interface(_)
            | RowKey::Process { .. }
            | RowKey::Container { .. } => row_name(key, self.processes.get(key), self.render),
        }
    }

    /// The name of a peer, likewise.
    #[must_use]
    pub fn peer(&self, key: &PeerKey) -> String {
        let (before, behind) = match key.role {
            Role::Client | Role::Local | Role::Observer => ("", ""),
            Role::Server => ("", "→"),
            Role::Forwarded => ("→", ""),
        };
        match self.names.of(&key.service.address) {
            Some(name) => format!("{before}{name}{behind}:{}", key.service.port),
            None => peer(key),
        }
    }

    /// An endpoint with its host name.
    #[must_use]
    pub fn endpoint(&self, end: &Endpoint) -> String {
        let name = self.names.of(&end.address).map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}{name}", endpoint(end))
    }

    /// Returns whether this is the SSH connection that the screen is used over.
    #[must_use]
    pub fn is_own_session(&self, local: &Endpoint, remote: &Endpoint) -> bool {
        self.own_session == Some([*local, *remote])
    }
}

/// The columns that fit into `width` with one space between two of them, and the width of the flexible one, which is at
/// least `least`.
#[must_use]
pub fn fit<Row, Order>(
    all: &[&'static Column<Row, Order>],
    width: u16,
    least: u16,
) -> (Vec<&'static Column<Row, Order>>, u16) {
    let mut chosen = all.to_vec();
    loop {
        let fixed: u16 = chosen.iter().filter(|column| column.width > 0).map(|column| column.width + 1).sum();
        // Without a flexible column the space before the first one is not needed.
        let is_flexible = chosen.iter().any(|column| column.width == 0);
        let (fixed, least) = if is_flexible { (fixed, least) } else { (fixed.saturating_sub(1), 0) };
        let left = width.saturating_sub(fixed);
        let expendable = chosen.iter().map(|column| column.priority).max().unwrap_or(0);
        if (fixed <= width && left >= least) || expendable == 0 {
            return (chosen, left);
        }
        chosen.retain(|column| column.priority < expendable);
    }
}

/// The columns of these names, in this order.
///
/// # Errors
/// The first unknown name, and the known ones.
pub fn named<Row, Order>(
    all: &'static [Column<Row, Order>],
    names: &str,
) -> Result<Vec<&'static str>, String> {
    let known = || all.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
    let find = |name: &str| {
        let found = all.iter().find(|column| column.name == name.trim()).map(|column| column.name);
        found.ok_or_else(|| {
            format!("there is no column `{}`; there are: {}", name.trim().escape_debug(), known())
        })
    };
    names.split(',').map(find).collect()
}

/// Cuts a text in the middle, marked by `…`: the ends of an address tell more than its middle.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 2;
    let tail = kept - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Test = Column<u64, ()>;

    const fn column(name: &'static str, width: u16, priority: u8) -> Test {
        let value = |row: &u64, _: &CellContext<'_>| Value::Count(*row);
        Column::figure(name, "", width, priority, "", value)
    }

    static COLUMNS: [Test; 3] = [column("name", 0, 0), column("a", 5, 0), column("b", 5, 1)];

    #[test]
    fn texts_are_cut_in_the_middle() {
        assert_eq!(shorten("[2001:db8:1:2:3:4:5:8d]:443", 20), "[2001:db8…:5:8d]:443");
        assert_eq!(shorten("10.0.0.1:80", 11), "10.0.0.1:80");
        assert_eq!(shorten("abc", 1), "…");
        assert_eq!(shorten("abc", 0), "");
    }

    #[test]
    fn columns_are_left_out_by_priority() {
        let all: Vec<&Test> = COLUMNS.iter().collect();
        let names = |width| {
            let (chosen, left) = fit(&all, width, 10);
            (chosen.iter().map(|column| column.name).collect::<Vec<_>>(), left)
        };
        assert_eq!(names(30), (vec!["name", "a", "b"], 18));
        assert_eq!(names(20), (vec!["name", "a"], 14));
        assert_eq!(names(8), (vec!["name", "a"], 2));
        let (rigid, _) = fit(&all[1..], 11, 10);
        assert_eq!(rigid.len(), 2, "two columns of 5 and a space between");
        assert_eq!(fit(&all[1..], 10, 10).0.len(), 1);
    }

    #[test]
    fn columns_are_named() {
        assert_eq!(named(&COLUMNS, "b, name"), Ok(vec!["b", "name"]));
        let wrong = named(&COLUMNS, "b,x").unwrap_err();
        assert_eq!(wrong, "there is no column `x`; there are: name, a, b");
    }
}

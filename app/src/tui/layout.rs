//! What there is room for: known to the model, which asks for what is shown, and to the view, which shows it.

use ratatui::layout::Size;

/// Below this the tables make no sense.
pub const SMALLEST: Size = Size { width: 40, height: 8 };
/// From this height on there is room for the selected row's flows.
const WITH_FLOWS: u16 = 14;
/// From this width on there is room for the histogram beside them.
const WITH_HISTOGRAM: u16 = 76;
/// From this height on there is room for the last minutes.
const WITH_PAST: u16 = 30;
/// From this height on there is room for the event log.
const WITH_LOG: u16 = 38;

/// What the first screen has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Anything at all.
    pub enough: bool,
    /// The selected row's flows.
    pub flows: bool,
    /// Its histogram beside them.
    pub histogram: bool,
    /// Its last minutes.
    pub past: bool,
    /// What went wrong.
    pub log: bool,
}

impl Room {
    /// What a terminal of this size has room for.
    #[must_use]
    pub const fn of(size: Size) -> Self {
        let Size { width, height } = size;
        Self {
            enough: width >= SMALLEST.width && height >= SMALLEST.height,
            flows: height >= WITH_FLOWS,
            histogram: height >= WITH_FLOWS && width >= WITH_HISTOGRAM,
            past: height >= WITH_PAST && width >= WITH_HISTOGRAM,
            log: height >= WITH_LOG,
        }
    }
}

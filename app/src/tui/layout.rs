//! Which parts of the first screen fit. The model asks for what they show, and the view draws them.

use ratatui::layout::Size;

/// The smallest terminal that is drawn on.
pub const MIN_SIZE: Size = Size { width: 40, height: 8 };
/// Heights and widths from which a part is shown.
const FLOWS_HEIGHT: u16 = 14;
const HISTOGRAM_WIDTH: u16 = 76;
const TIMELINE_HEIGHT: u16 = 30;
const EVENTS_HEIGHT: u16 = 38;

/// The parts of the first screen that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScreenLayout {
    /// Anything at all.
    pub fits: bool,
    /// The selected row's flows.
    pub flows: bool,
    /// Its histogram, beside the flows.
    pub histogram: bool,
    /// Its last five minutes.
    pub timeline: bool,
    /// The event log.
    pub events: bool,
}

impl ScreenLayout {
    /// The layout of a terminal of this size.
    #[must_use]
    pub const fn of(size: Size) -> Self {
        let Size { width, height } = size;
        Self {
            fits: width >= MIN_SIZE.width && height >= MIN_SIZE.height,
            flows: height >= FLOWS_HEIGHT,
            histogram: height >= FLOWS_HEIGHT && width >= HISTOGRAM_WIDTH,
            timeline: height >= TIMELINE_HEIGHT && width >= HISTOGRAM_WIDTH,
            events: height >= EVENTS_HEIGHT,
        }
    }
}

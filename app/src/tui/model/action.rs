//! Actions, the places where keys trigger them, and their effects.

use tui_input::InputRequest;

use crate::tui::command::Command;
use tcptop_core::FlowName;

/// Something a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Quit.
    Quit,
    /// Quit, and print the last frame.
    QuitAndKeep,
    /// Show or hide the help.
    Help,
    /// One level back.
    Back,
    /// Details of the selected row, or whatever Enter means here.
    Enter,
    /// Switch to a view.
    Show(View),
    /// Switch to the next view.
    NextView,
    /// Switch to the previous view.
    PreviousView,
    /// Focus the flows of the selected row.
    ToFlows,
    /// Focus the rows.
    ToRows,
    /// Move the selection by so many rows.
    Move(isize),
    /// Move it by so many pages.
    Page(isize),
    /// Move it to the first row.
    First,
    /// Move it to the last row.
    Last,
    /// Freeze the display, or continue.
    Freeze,
    /// Hold the order of the rows, or release it.
    Hold,
    /// Use a longer window.
    WiderWindow,
    /// Use a shorter window.
    NarrowerWindow,
    /// Open the list of orders.
    ChooseOrder,
    /// Sort by the next column.
    NextOrder,
    /// Sort by the previous column.
    PreviousOrder,
    /// Reverse the order.
    Reverse,
    /// Group by the next attribute.
    Group,
    /// Open the filter prompt.
    Filter,
    /// Copy the selected row to the clipboard.
    Copy,
    /// Show the other latency in histograms: round-trip times, or setup times.
    OtherLatency,
    /// Show host names, or addresses.
    HostNames,
    /// Redraw the screen.
    Redraw,
    /// Restart all counters at 0.
    Reset,
    /// Stop the process, as Ctrl-Z does outside raw mode.
    Pause,
    /// Edit the filter in the prompt.
    Edit(Edit),
}

/// A change of the text in the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// What the text input knows.
    Input(InputRequest),
    /// Erase the term before the cursor.
    EraseTerm,
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Peers, with the flows and latencies of the selected one.
    #[default]
    Peers,
    /// All flows.
    Flows,
    /// The selected row's latencies over time.
    Latency,
    /// The event log.
    Events,
}

impl View {
    /// Every view, in the order of their keys.
    pub const ALL: [Self; 4] = [Self::Peers, Self::Flows, Self::Latency, Self::Events];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Flows => "flows",
            Self::Latency => "latency",
            Self::Events => "events",
        }
    }

    pub(super) const fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    pub(super) const fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }
}

/// What the keys apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first table.
    Rows,
    /// The flows of its selected row.
    FlowPane,
    /// The view of all flows.
    Flows,
    /// The view of latencies.
    Latency,
    /// The view of events.
    Events,
    /// The details of a row or a flow.
    Details,
    /// The help.
    Help,
    /// The list of orders.
    Order,
    /// The filter prompt.
    Prompt,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 9] = [
        Self::Rows,
        Self::FlowPane,
        Self::Flows,
        Self::Latency,
        Self::Events,
        Self::Details,
        Self::Help,
        Self::Order,
        Self::Prompt,
    ];
}

/// What is shown over a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The help of a place.
    Help(Place),
    /// The details of the selected row.
    Row,
    /// The details of a flow.
    Flow(FlowName),
    /// The list of orders.
    Order,
}

/// What has to happen outside the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Redraw the screen.
    Redraw,
    /// Copy the selected row to the clipboard.
    Copy,
    /// Stop the process group.
    Pause,
    /// Send a command to the rest of the program.
    Send(Command),
}

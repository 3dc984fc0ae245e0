//! The words of the model: what keys do, and where.

use super::super::Command;
use tcptop_core::FlowName;

/// Something a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Leave, and leave the last screen behind.
    QuitAndKeep,
    /// Show or hide the help.
    Help,
    /// One level back.
    Back,
    /// Details of the selected row, or whatever Enter means here.
    Enter,
    /// Show this view.
    Show(View),
    /// The next view.
    NextView,
    /// The view before.
    PreviousView,
    /// From the rows to the flows of the selected one.
    ToFlows,
    /// And back.
    ToRows,
    /// Move the selection by so many rows.
    Move(isize),
    /// By so many pages.
    Page(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Hold the display, or let it go on.
    Freeze,
    /// Hold the order of the rows, or let it go.
    Hold,
    /// A longer window.
    WiderWindow,
    /// A shorter window.
    NarrowerWindow,
    /// Choose what rows are sorted by.
    ChooseOrder,
    /// Sort by the next column.
    NextOrder,
    /// Sort by the column before.
    PreviousOrder,
    /// The other way round.
    Reverse,
    /// Take peers together by the next thing.
    Group,
    /// Type a filter.
    Filter,
    /// Copy the selected row.
    Copy,
    /// Show names of hosts, or addresses.
    Names,
    /// Draw everything anew.
    Redraw,
    /// Count from now on.
    Reset,
    /// Stop until the shell lets the process go on.
    Pause,
    /// Edit the filter that is being typed.
    Edit(Edit),
}

/// What is done to a text that is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add a character.
    Type(char),
    /// Take away the character before the cursor.
    Erase,
    /// The one behind it.
    EraseNext,
    /// The word before it.
    EraseWord,
    /// All of it.
    EraseAll,
    /// Move the cursor by so many characters.
    Cursor(isize),
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Peers, with the flows and latencies of the selected one.
    #[default]
    Peers,
    /// Flows, whosever they are.
    Flows,
    /// Latencies of the selected row over time.
    Latency,
    /// What went wrong.
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

/// Where keys go.
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
    /// A row or a flow at length.
    Details,
    /// The help.
    Help,
    /// The choice of an order.
    Order,
    /// The filter that is typed.
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

/// What lies over a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What the keys do and what the words mean.
    Help(Place),
    /// The selected row at length.
    Row,
    /// A flow at length.
    Flow(FlowName),
    /// What rows can be sorted by.
    Order,
}

/// What an action asks of the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Draw everything anew.
    Redraw,
    /// Copy the selected row.
    Copy,
    /// Stop the process, as the shell's Ctrl-Z does.
    Pause,
    /// Tell the rest of the program.
    Tell(Command),
}

//! tcptop: which of my TCP peers is slow to connect, silent, refusing or losing packets?
//!
//! Records come from a [`source`], become flows and figures in the pure [`mod@flow`] table, are pictured in an
//! immutable [`snapshot`], and shown by a [`output`]; the [`live`] is the one task that holds them
//! together.

pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod live;
pub mod output;
pub mod replay;
pub mod session;
pub mod source;
pub mod stop;
pub mod tui;

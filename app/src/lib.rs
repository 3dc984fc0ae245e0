//! tcptop: which of my TCP peers is slow to connect, silent, refusing or losing packets?
//!
//! Records come from a [`source`]. The crate `tcptop_core` turns them into flows, figures and immutable snapshots,
//! which the [`output`]s write and the [`tui`] shows. A [`session`] connects them in one task, for a [`live`] run and for
//! a [`replay`] alike.

pub mod cli;
pub mod clock;
pub mod config;
pub mod config_file;
pub mod confine;
pub mod doctor;
pub mod error;
pub mod interfaces;
pub mod live;
pub mod output;
pub mod replay;
pub mod retransmits;
pub mod session;
pub mod source;
pub mod stats;
pub mod stop;
pub mod tui;

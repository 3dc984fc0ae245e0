//! Where records come from.

pub mod interface;
pub mod kernel;
pub mod privilege;

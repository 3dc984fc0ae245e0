//! Where records come from.

pub mod capture;
pub mod host_counters;
pub mod interface;
pub mod kernel;
pub mod namespace;
pub mod netlink;
pub mod owner;
mod passed_over;
pub mod privilege;
pub mod replay;
pub mod selection;
pub mod sock_diag;
mod traffic_control;

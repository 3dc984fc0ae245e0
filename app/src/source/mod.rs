//! Where records come from.

pub mod capture;
pub mod interface;
pub mod kernel;
pub mod netlink;
pub mod owner;
mod passed_over;
pub mod privilege;
pub mod replay;
mod traffic_control;

//! The lab: real network namespaces, a wire in user space and real sockets, for the end-to-end tests and for
//! `cargo xtask demo`. Rust and root are all it needs; every packet stays inside namespaces that it made.
//!
//! | module | what it gives |
//! | --- | --- |
//! | [`namespace`] | a network namespace that lives as long as its descriptor, and what can be set up inside it |
//! | [`wire`] | two interfaces joined by a thread that delays, loses, repeats and drops frames by a [`Script`] |
//! | [`link`] | the usual benches: two hosts, a wire or a cable between them, many addresses |
//! | [`traffic`] | TCP servers and clients inside a namespace |
//! | [`port`] | an interface that the test feeds with frames of its own making |
//! | [`tcptop`] | the program under test as a child process |
//! | [`bpf`] | kernel programs made by hand, and what the kernel measures of any |
//! | [`processor`] | which processors a thread or a child process runs on, and before whom |
//! | [`churn`] | connections without end, as segments: what benchmarks feed to the probe or the table |
//! | [`conversation`] | connections that are made up, segment by segment: what captures and frames are written from |
//! | [`carrier`] | ways to carry an IP packet: tags, labels and tunnels |
//! | [`capture`] | captures written from the segments that they are to hold |
//! | [`program`] | what the lab's own programs have in common: `conform`, `bench` and `demo` |
//! | [`prometheus`] | a real Prometheus inside a namespace |
//! | [`scenario`] | handshakes in data files: packets, and the objects that must come of them |
//! | [`object`] | the JSON objects that it writes |
//!
//! ```no_run
//! use lab::{Link, Match, Mode, Rule, Script, Server, Tcptop, connect, far_v4};
//! use std::time::Duration;
//!
//! # fn main() -> anyhow::Result<()> {
//! let script = Script::seeded(1)
//!     .with(Rule::delay(Match::any(), Duration::from_millis(10)))
//!     .with(Rule::drop(Match::syn().first(1)));
//! let link = Link::new(script)?;
//! let web = (far_v4(11), 80).into();
//! let _server = Server::bind(&link.far, web, Mode::CloseAtOnce)?;
//! let tcptop = Tcptop::spawn(&link.near, ["near0", "--json"])?;
//! tcptop.wait_ready(Duration::from_secs(5))?;
//! connect(&link.near, None, web, Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```

pub mod bpf;
pub mod capture;
pub mod carrier;
pub mod churn;
pub mod conversation;
mod counts;
mod frame;
pub mod icmp;
mod judge;
pub mod link;
mod masquerade;
pub mod namespace;
mod netlink;
pub mod object;
mod offload;
pub mod port;
pub mod processor;
pub mod program;
pub mod prometheus;
pub mod scenario;
pub mod script;
mod tap;
pub mod tcptop;
pub mod traffic;
pub mod wire;
mod worker;

pub use churn::Churn;
pub use counts::{SocketCounts, settled};
pub use ipnet::IpNet;
pub use link::{Cable, FAR, Link, NEAR, far_v4, far_v6, near_v4, near_v6};
pub use namespace::{Namespace, require_root};
pub use netlink::Rejection;
pub use nix::sys::signal::Signal;
pub use object::{Object, objects};
pub use port::Port;
pub use processor::Place;
pub use script::{Direction, Effect, Kind, Match, Occurrence, Rule, Script};
pub use tcptop::{Line, Output, Tcptop, end_with_parent};
pub use traffic::{ClientPlan, Clients, Mode, Server, Tally, connect, connect_many, reset};
pub use wire::{Counters, Medium, Wire};

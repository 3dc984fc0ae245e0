//! The cost with real traffic, when the caches hold everything else that a packet needs.
//!
//! The object's program and an empty one are attached to the same hook, and the kernel measures both. The limits apply
//! to the programs alone, so there is none here.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use anyhow::{Context, Result, ensure};
use aya::programs::ProgramFd;
use lab::Namespace;
use lab::bpf::{self, Hook};

use super::programs::{LOOPBACK_PROGRAM, Programs};

const LOOPBACK: &str = "lo";
/// Requests and answers in one round.
const EXCHANGES: u32 = 20_000;
const QUESTION: [u8; 100] = [b'?'; 100];
const ANSWER: [u8; 300] = [b'!'; 300];

/// A namespace in which both programs see the same packets.
pub(super) struct Chain {
    namespace: Namespace,
    v6: bool,
    timestamps: bool,
    ours: ProgramFd,
    empty: OwnedFd,
    _link: OwnedFd,
}

impl Chain {
    pub(super) fn all(programs: &mut Programs) -> Result<Vec<Self>> {
        let mut chains = Vec::new();
        for v6 in [false, true] {
            for timestamps in [false, true] {
                chains.push(Self::new(programs, v6, timestamps)?);
            }
        }
        Ok(chains)
    }

    fn new(programs: &mut Programs, v6: bool, timestamps: bool) -> Result<Self> {
        let namespace = Namespace::new()?;
        namespace.set_sysctl("net/ipv4/tcp_timestamps", if timestamps { "1" } else { "0" })?;
        namespace.run(|| programs.attach(LOOPBACK_PROGRAM, LOOPBACK))?;
        let index = namespace.link_index(LOOPBACK)?;
        let empty = programs.empty().try_clone_to_owned()?;
        let link = namespace.run(|| bpf::attach(&empty, index, Hook::Ingress))?;
        let ours = programs.descriptor(LOOPBACK_PROGRAM)?;
        Ok(Self { namespace, v6, timestamps, ours, empty, _link: link })
    }

    pub(super) fn name(&self) -> String {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        format!("data, {family}{}, real traffic", if self.timestamps { ", timestamps" } else { "" })
    }

    /// Nanoseconds per packet of the object's program and of the empty one.
    pub(super) fn measure(&self) -> Result<(f64, f64)> {
        let measuring = bpf::measure_programs().context("the kernel does not measure programs")?;
        let before = (bpf::measured(self.ours.as_fd())?, bpf::measured(self.empty.as_fd())?);
        self.namespace.run(|| converse(self.v6))?;
        let after = (bpf::measured(self.ours.as_fd())?, bpf::measured(self.empty.as_fd())?);
        drop(measuring);
        Ok((per_packet(before.0, after.0)?, per_packet(before.1, after.1)?))
    }
}

#[allow(clippy::cast_precision_loss, reason = "some milliseconds, some thousand packets")]
fn per_packet(before: (u64, u64), after: (u64, u64)) -> Result<f64> {
    let (taken_ns, packets) = (after.0 - before.0, after.1 - before.1);
    ensure!(packets >= u64::from(EXCHANGES), "only {packets} packets passed");
    Ok(taken_ns as f64 / packets as f64)
}

/// One connection whose ends take turns: every segment but the first few has data in order.
fn converse(v6: bool) -> Result<()> {
    let address: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let listener = TcpListener::bind((address, 0))?;
    let at = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let mut question = QUESTION;
            for _ in 0..EXCHANGES {
                stream.read_exact(&mut question)?;
                stream.write_all(&ANSWER)?;
            }
            Ok(())
        });
        let mut stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let mut answer = ANSWER;
        for _ in 0..EXCHANGES {
            stream.write_all(&QUESTION)?;
            stream.read_exact(&mut answer)?;
        }
        server.join().unwrap_or_else(|_| anyhow::bail!("the server panicked"))
    })
}

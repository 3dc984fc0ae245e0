//! A wire in user space: two interfaces, and a thread that carries frames from one to the other.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::prctl;
use probe_common::LinkLayer;

use crate::frame::TcpFrame;
use crate::judge::{Judge, Verdict};
use crate::masquerade::Masquerade;
use crate::namespace::Namespace;
use crate::netlink::Mac;
use crate::script::{Direction, Script};
use crate::tap::{Tap, VIRTIO_HEADER_LEN};
use crate::worker::{Stop, Worker, is_ready, readable, wait_any};

/// Link-layer address of the near end; locally administered, the same in every lab.
pub(crate) const NEAR_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// Link-layer address of the far end.
pub(crate) const FAR_MAC: Mac = [0x02, 0, 0, 0, 0, 0x02];

/// Room for one frame: the longest IP packet, with what precedes it.
const FRAME_MAX: usize = 66 * 1024;
/// Frames taken from one end before the other, and what is due, get their turn.
const BATCH: usize = 64;

/// What the interfaces at the ends of a wire are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// TAP: frames have an Ethernet header.
    #[default]
    Ethernet,
    /// TUN: packets have no link-layer header.
    Ip,
    /// As Ethernet, but a frame may hold many segments, as those of a virtual machine do: the interfaces cut none into
    /// pieces (TSO), and the wire carries or loses them whole.
    LongFrames,
}

impl Medium {
    pub(crate) const fn link_layer(self) -> LinkLayer {
        match self {
            Self::Ethernet | Self::LongFrames => LinkLayer::Ethernet,
            Self::Ip => LinkLayer::None,
        }
    }

    /// Bytes before each frame at the file: `struct virtio_net_hdr`, which says what is still to be done to it.
    const fn preamble_len(self) -> usize {
        match self {
            Self::Ethernet | Self::Ip => 0,
            Self::LongFrames => VIRTIO_HEADER_LEN,
        }
    }
}

/// What became of the frames of one direction since the wire was made. TCP only, but for `other`. At any time
/// `forwarded + undeliverable` = frames taken - `dropped` - `lost` + `duplicated` - frames under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Delivered, second copies included.
    pub forwarded: u64,
    /// Gone by a rule that drops.
    pub dropped: u64,
    /// Gone by chance.
    pub lost: u64,
    /// Sent on twice.
    pub duplicated: u64,
    /// Held back, so that later ones overtake.
    pub reordered: u64,
    /// Refused by the receiving interface: it is down or deleted.
    pub undeliverable: u64,
    /// Frames that no rule touches (not TCP, or fragments), delivered or not.
    pub other: u64,
}

/// Two interfaces in two namespaces with a wire between them. Dropping it ends the thread and removes the
/// interfaces; frames under way are gone.
///
/// No frame is delivered earlier than its delay after it was taken from the sending interface (monotonic clock);
/// how much later is up to the scheduler, tens of microseconds on an idle machine. Frames with the same delay
/// keep their order.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    _carrier: Worker,
}

impl Wire {
    /// Makes the interface `near_name` in `near` and `far_name` in `far` (15 bytes at most), sets both up
    /// and starts to carry frames as `script` says. They have no addresses yet.
    ///
    /// # Errors
    /// When a name is taken, or the kernel has no TUN/TAP.
    pub fn between(
        near: &Namespace,
        near_name: &str,
        far: &Namespace,
        far_name: &str,
        script: Script,
    ) -> Result<Self> {
        Self::over(Medium::Ethernet, (near, near_name), (far, far_name), script)
    }

    /// As [`between`](Self::between), over a medium of choice.
    ///
    /// # Errors
    /// See there.
    pub fn over(
        medium: Medium,
        (near, near_name): (&Namespace, &str),
        (far, far_name): (&Namespace, &str),
        script: Script,
    ) -> Result<Self> {
        let near_tap = Tap::new(near, near_name, medium, NEAR_MAC)?;
        let far_tap = Tap::new(far, far_name, medium, FAR_MAC)?;
        let state = State {
            judge: Judge::new(script),
            masquerade: None,
            to_far: Counters::default(),
            to_near: Counters::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), counted: Condvar::new() });
        let mut carrier = Carrier {
            near: End { tap: near_tap, gone: false },
            far: End { tap: far_tap, gone: false },
            medium,
            buffer: vec![0; FRAME_MAX],
            queue: BinaryHeap::new(),
            taken: 0,
            shared: Arc::clone(&shared),
        };
        let body = move |stop: &Stop| carrier.run(stop).expect("poll and timers work on descriptors it owns");
        let worker = Worker::spawn(&format!("wire {near_name}"), body)?;
        Ok(Self { shared, _carrier: worker })
    }

    /// Follows another script from the next frame on: chance and counts of occurrences start anew. Frames under
    /// way keep the delay that they were given.
    pub fn set_script(&self, script: Script) {
        self.shared.lock().judge = Judge::new(script);
    }

    /// From now on connections of the near side have this address and other ports at the far side, as behind NAT. TCP over
    /// IPv4 only, on [`Medium::Ethernet`]. Rules see the addresses of the near side.
    pub fn masquerade(&self, outside: Ipv4Addr) {
        self.shared.lock().masquerade = Some(Masquerade::new(outside));
    }

    /// What became of the frames of one direction so far.
    #[must_use]
    pub fn counters(&self, direction: Direction) -> Counters {
        *self.shared.lock().counters(direction)
    }

    /// Waits until the counters of one direction satisfy `enough`; `None` when they do not within `timeout`.
    #[must_use]
    pub fn wait_for(
        &self,
        direction: Direction,
        timeout: Duration,
        enough: impl Fn(&Counters) -> bool,
    ) -> Option<Counters> {
        let missing = |state: &mut State| !enough(state.counters(direction));
        let waited = self.shared.counted.wait_timeout_while(self.shared.lock(), timeout, missing);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        (!result.timed_out()).then(|| *state.counters(direction))
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    counted: Condvar,
}

impl Shared {
    /// A panic elsewhere leaves whole counters behind, so poisoning says nothing here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, direction: Direction, count: impl FnOnce(&mut Counters)) {
        count(self.lock().counters(direction));
        self.counted.notify_all();
    }
}

#[derive(Debug)]
struct State {
    judge: Judge,
    masquerade: Option<Masquerade>,
    to_far: Counters,
    to_near: Counters,
}

impl State {
    fn counters(&mut self, direction: Direction) -> &mut Counters {
        match direction {
            Direction::ToFar => &mut self.to_far,
            Direction::ToNear => &mut self.to_near,
        }
    }
}

/// One end of the wire.
#[derive(Debug)]
struct End {
    tap: Tap,
    /// The interface was deleted under the wire; polling it would spin.
    gone: bool,
}

/// A frame under way.
#[derive(Clone, Debug)]
struct UnderWay {
    due: Instant,
    /// Keeps frames that are due together in the order they came.
    number: u64,
    direction: Direction,
    tcp: bool,
    bytes: Vec<u8>,
}

/// The thread's side of the wire.
#[derive(Debug)]
struct Carrier {
    near: End,
    far: End,
    medium: Medium,
    buffer: Vec<u8>,
    queue: BinaryHeap<Reverse<UnderWay>>,
    taken: u64,
    shared: Arc<Shared>,
}

impl Carrier {
    fn run(&mut self, stop: &Stop) -> io::Result<()> {
        // Timers of a thread may be 50 microseconds late by default, so as to save power.
        prctl::set_timerslack(1)?;
        while !self.wait(stop)? {
            self.take(Direction::ToFar)?;
            self.take(Direction::ToNear)?;
            self.deliver_due();
        }
        Ok(())
    }

    /// Waits for a frame, for the next delivery or for the end; answers whether it is the end.
    fn wait(&self, stop: &Stop) -> io::Result<bool> {
        let next =
            self.queue.peek().map(|Reverse(frame)| frame.due.saturating_duration_since(Instant::now()));
        let mut sources = vec![readable(stop)];
        sources.extend([&self.near, &self.far].iter().filter(|end| !end.gone).map(|end| readable(&end.tap)));
        wait_any(&mut sources, next)?;
        Ok(is_ready(&sources[0]))
    }

    /// Takes what the sending interface has, at most a batch.
    fn take(&mut self, direction: Direction) -> io::Result<()> {
        for _ in 0..BATCH {
            let sender = match direction {
                Direction::ToFar => &mut self.near,
                Direction::ToNear => &mut self.far,
            };
            if sender.gone {
                return Ok(());
            }
            match sender.tap.read(&mut self.buffer) {
                // The clock is read after the frame: a delay must not begin before the frame left.
                Ok(length) => self.accept(direction, self.buffer[..length].to_vec(), Instant::now()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_deleted(&error) => sender.gone = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn accept(&mut self, direction: Direction, mut bytes: Vec<u8>, now: Instant) {
        if direction == Direction::ToNear {
            self.translate(direction, &mut bytes);
        }
        let read = bytes.get(self.medium.preamble_len()..);
        let Some(frame) = read.and_then(|frame| TcpFrame::of(frame, self.medium.link_layer())) else {
            self.shared.count(direction, |counters| counters.other += 1);
            self.send(direction, now, false, bytes);
            return;
        };
        let verdict = self.shared.lock().judge.judge(direction, &frame);
        match verdict {
            Verdict::Dropped => self.shared.count(direction, |counters| counters.dropped += 1),
            Verdict::Lost => self.shared.count(direction, |counters| counters.lost += 1),
            Verdict::Pass { delay, twice, held_back } => {
                if direction == Direction::ToFar {
                    self.translate(direction, &mut bytes);
                }
                self.shared.count(direction, |counters| {
                    counters.duplicated += u64::from(twice);
                    counters.reordered += u64::from(held_back);
                });
                if twice {
                    self.send(direction, now + delay, true, bytes.clone());
                }
                self.send(direction, now + delay, true, bytes);
            }
        }
    }

    fn translate(&self, direction: Direction, bytes: &mut [u8]) {
        if let Some(masquerade) = &mut self.shared.lock().masquerade {
            masquerade.translate(direction, bytes);
        }
    }

    fn send(&mut self, direction: Direction, due: Instant, tcp: bool, bytes: Vec<u8>) {
        self.taken += 1;
        self.queue.push(Reverse(UnderWay { due, number: self.taken, direction, tcp, bytes }));
    }

    fn deliver_due(&mut self) {
        while let Some(Reverse(frame)) = self.queue.peek()
            && frame.due <= Instant::now()
        {
            let receiver = match frame.direction {
                Direction::ToFar => &self.far,
                Direction::ToNear => &self.near,
            };
            let delivered = receiver.tap.write(&frame.bytes).is_ok();
            if frame.tcp {
                self.shared.count(frame.direction, |counters| {
                    counters.forwarded += u64::from(delivered);
                    counters.undeliverable += u64::from(!delivered);
                });
            }
            self.queue.pop();
        }
    }
}

/// What a read answers for ever once the interface behind the file is no more: EBADFD.
fn is_deleted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EBADFD)
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for UnderWay {}

//! One connection attempt, read off the packets of its stream without a state machine, which could have the same bugs
//! as tcptop's.

use std::net::SocketAddr;

use super::ours::Leg;
use super::tshark::{ACK, FIN, Frame, RST, SYN, Stream, completeness};

/// After this time, an attempt without an answer is unanswered, and an answer without an ACK half-open.
const FRESH_NS: u64 = 1_000_000_000;
/// Data at the beginning of a connection is less than this away from its initial sequence number. Numbers of another
/// connection are so close by chance once in 256 times; in both directions at once, once in 65,536.
const NEAR: u32 = 1 << 24;
/// Sequence numbers up to this far after the expected one belong to the handshake.
const FLIGHT: u32 = 1 << 16;

/// One connection attempt.
pub(super) struct Attempt<'s> {
    pub(super) stream: &'s Stream,
    pub(super) opener: SocketAddr,
    pub(super) listener: SocketAddr,
    /// At least one.
    pub(super) syns: Vec<&'s Frame>,
    pub(super) syn_acks: Vec<&'s Frame>,
    /// The first segment of the opener that acknowledges a SYN-ACK: a pure ACK, data or a FIN.
    pub(super) completion: Option<&'s Frame>,
    /// The RST that ended the handshake, if it was not completed.
    pub(super) rejection: Option<&'s Frame>,
    /// An earlier connection in the capture has the same ports.
    pub(super) follows: bool,
    /// Its ports were used again, so the attempt was given up if it was still open.
    pub(super) is_superseded: bool,
    /// End of the capture or of the attempt, in nanoseconds since 1970.
    pub(super) until_ns: u64,
}

/// How a connection ended.
pub(super) struct Ending<'s> {
    pub(super) outcome: &'static str,
    pub(super) closer: SocketAddr,
    pub(super) last: &'s Frame,
}

impl<'s> Attempt<'s> {
    /// Reads a stream that begins with a SYN. `until_ns` is the end of the capture, or the time when its ports were
    /// used again.
    pub(super) fn of(stream: &'s Stream, until_ns: u64) -> Option<Self> {
        let first = stream.frames.first().filter(|frame| frame.is_syn())?;
        let (opener, listener, offered) = (first.source, first.destination, first.seq.wrapping_add(1));
        let frames = &stream.frames;
        let syns = frames.iter().filter(|frame| frame.is_syn() && frame.source == opener).collect();
        let answers = |frame: &&Frame| frame.is_syn_ack() && frame.source == listener && frame.ack == offered;
        let syn_acks: Vec<&Frame> = frames.iter().filter(answers).collect();
        let answer = syn_acks.first();
        let completes = |frame: &&Frame| {
            let fits = answer.is_some_and(|answer| {
                answer.number < frame.number && frame.ack.wrapping_sub(answer.seq.wrapping_add(1)) < NEAR
            });
            fits && frame.source == opener && frame.has(ACK) && frame.lacks(SYN | RST)
        };
        let completion = frames.iter().find(completes);
        let rejects = |frame: &&Frame| {
            let answered = answer.filter(|answer| answer.number < frame.number);
            let in_sequence = |answer: &&&Frame| frame.seq.wrapping_sub(answer.seq.wrapping_add(1)) <= FLIGHT;
            let fits = if frame.source == opener {
                frame.seq.wrapping_sub(offered) <= if answered.is_some() { FLIGHT } else { 0 }
            } else {
                (frame.has(ACK) && frame.ack == offered) || answered.as_ref().is_some_and(in_sequence)
            };
            frame.has(RST) && fits
        };
        let rejection = frames.iter().find(rejects);
        // Whichever came first decides.
        let rejection =
            rejection.filter(|rst| completion.is_none_or(|completion| rst.number < completion.number));
        let completion = completion.filter(|_| rejection.is_none());
        let (follows, is_superseded) = (false, false);
        Some(Self {
            stream,
            opener,
            listener,
            syns,
            syn_acks,
            completion,
            rejection,
            follows,
            is_superseded,
            until_ns,
        })
    }

    /// The packet that decided the outcome, if there is one.
    pub(super) fn decision(&self) -> Option<&'s Frame> {
        self.completion.or(self.rejection)
    }

    pub(super) fn outcome(&self) -> &'static str {
        let fresh = |sent: &[&Frame]| {
            !self.is_superseded && sent.len() == 1 && self.until_ns < sent[0].time_ns + FRESH_NS
        };
        match (self.completion, self.rejection, self.answer()) {
            (Some(_), _, _) => "established",
            (None, Some(_), Some(_)) => "reset",
            (None, Some(rst), None) if rst.source == self.listener => "refused",
            (None, Some(_), None) => "unanswered",
            (None, None, Some(_)) => {
                if fresh(&self.syn_acks) {
                    "pending"
                } else {
                    "half_open"
                }
            }
            (None, None, None) => {
                if fresh(&self.syns) {
                    "pending"
                } else {
                    "unanswered"
                }
            }
        }
    }

    /// The first SYN-ACK, unless a RST was faster.
    fn answer(&self) -> Option<&'s Frame> {
        self.syn_acks.first().copied().filter(|answer| is_before(answer, self.rejection))
    }

    pub(super) fn server_leg(&self) -> Option<Leg> {
        let answer = self.answer()?;
        leg(&self.syns_before(Some(answer)), answer, true)
    }

    /// Whether this can be the opener's first ACK, by its numbers. A FIN, later data or an ACK of data come after
    /// another ACK.
    pub(super) fn is_first_ack(&self, frame: &Frame) -> bool {
        let acknowledges = |answer: &&Frame| frame.ack == answer.seq.wrapping_add(1);
        let begins = frame.seq == self.syns[0].seq.wrapping_add(1);
        frame.lacks(FIN) && begins && self.syn_acks.iter().any(acknowledges)
    }

    /// If the ACK itself was not seen, its time is not known, and there is no leg.
    pub(super) fn client_leg(&self) -> Option<Leg> {
        let ack = self.completion.filter(|ack| self.is_first_ack(ack))?;
        leg(&self.syn_acks_before(Some(ack)), ack, true)
    }

    pub(super) fn refusal(&self) -> Option<Leg> {
        let rst = self.rejection.filter(|_| self.outcome() == "refused")?;
        leg(&self.syns_before(Some(rst)), rst, false)
    }

    pub(super) fn setup_ns(&self) -> Option<u64> {
        let ack = self.completion.filter(|ack| self.is_first_ack(ack))?;
        Some(ack.time_ns.saturating_sub(self.syns[0].time_ns))
    }

    /// The SYNs before a packet, or all of them.
    pub(super) fn syns_before(&self, frame: Option<&Frame>) -> Vec<&'s Frame> {
        self.syns.iter().copied().filter(|syn| is_before(syn, frame)).collect()
    }

    /// The SYN-ACKs before a packet, or all of them.
    pub(super) fn syn_acks_before(&self, frame: Option<&Frame>) -> Vec<&'s Frame> {
        self.syn_acks.iter().copied().filter(|answer| is_before(answer, frame)).collect()
    }

    /// The packet that ends the handshake for tshark: the first with ACK and without SYN, from either end.
    pub(super) fn acknowledgement(&self) -> Option<&'s Frame> {
        self.stream.frames.iter().find(|frame| frame.has(ACK) && frame.lacks(SYN))
    }

    /// Whether the segment's numbers fit this connection, as opposed to an earlier one on the same ports.
    pub(super) fn owns(&self, frame: &Frame) -> bool {
        let fits = |number: u32, next: Option<u32>| next.is_some_and(|next| number.wrapping_sub(next) < NEAR);
        let offered = Some(self.syns[0].seq.wrapping_add(1));
        let answered = self.syn_acks.first().map(|answer| answer.seq.wrapping_add(1));
        let opens = frame.source == self.opener;
        let (own, other) = if opens { (offered, answered) } else { (answered, offered) };
        match (frame.has(SYN), frame.has(ACK)) {
            (true, false) => opens && frame.seq == self.syns[0].seq,
            (true, true) => !opens && Some(frame.ack) == offered,
            (false, false) => fits(frame.seq, own),
            // A RST that answers a SYN has no sequence number of its own.
            (false, true) => fits(frame.ack, other) && (!opens || fits(frame.seq, own)),
        }
    }

    /// `tcp.completeness` by its definition, for the connection's own segments or for all in the stream.
    pub(super) fn completeness(&self, own: bool) -> u8 {
        let counted = self.stream.frames.iter().filter(|frame| !own || self.owns(frame));
        counted.fold(0, |seen, frame| seen | completeness::of(frame))
    }

    /// `tcp.analysis.initial_rtt` by its definition: from the latest SYN before that packet to it.
    pub(super) fn initial_rtt_ns(&self) -> Option<u64> {
        let ack = self.acknowledgement()?;
        Some(ack.time_ns.saturating_sub(self.syns_before(Some(ack)).last()?.time_ns))
    }

    /// How an established connection ended: by a RST, or by the FIN of the second end to close.
    pub(super) fn ending(&self) -> Option<Ending<'s>> {
        let made = self.completion?;
        let mut first: Option<SocketAddr> = None;
        for frame in self.stream.frames.iter().filter(|frame| frame.number >= made.number) {
            if frame.has(RST) {
                return Some(Ending { outcome: "reset", closer: frame.source, last: frame });
            }
            if frame.has(FIN) {
                let closer = *first.get_or_insert(frame.source);
                if closer != frame.source {
                    return Some(Ending { outcome: "closed", closer, last: frame });
                }
            }
        }
        None
    }

    /// Packets that make a record although their headers are truncated.
    pub(super) fn cut(&self) -> usize {
        self.makes_record().filter(|frame| frame.is_cut()).count()
    }

    fn makes_record(&self) -> impl Iterator<Item = &'s Frame> {
        let completion = self.completion.map(|ack| ack.number);
        let frames = self.stream.frames.iter();
        frames.filter(move |frame| !frame.lacks(SYN | FIN | RST) || completion == Some(frame.number))
    }

    pub(super) fn name(&self) -> String {
        format!("{} to {}", self.opener, self.listener)
    }
}

fn is_before(frame: &Frame, other: Option<&Frame>) -> bool {
    other.is_none_or(|other| frame.number < other.number)
}

/// The time from the answered segment to its answer. Of several, it is the last if the echo names only that one.
/// Otherwise it lies between the last and the one that the echo names (or the first): Linux echoes the first SYN that
/// it accepted even if it answers a later one.
fn leg(sent: &[&Frame], answer: &Frame, echoes: bool) -> Option<Leg> {
    let echo = answer.timestamps.filter(|_| echoes).map(|(_, echo)| echo);
    let value = |frame: &Frame| frame.timestamps.map(|(value, _)| value);
    let named = sent.iter().find(|frame| echo.is_some() && value(frame) == echo).or(sent.first())?;
    let since = |frame: &Frame| answer.time_ns.saturating_sub(frame.time_ns);
    let last = sent.last()?;
    Some(if named.number == last.number {
        Leg::Exact(since(last))
    } else {
        Leg::Between(since(last), since(named))
    })
}

//! What tcptop reports for each connection of a capture.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use lab::Object;

/// A time between two segments, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    Exact(u64),
    /// It is not known which segment was answered: lower and upper bound.
    Between(u64, u64),
}

impl Leg {
    pub(super) fn exact(self) -> Option<u64> {
        match self {
            Self::Exact(ns) => Some(ns),
            Self::Between(..) => None,
        }
    }
}

/// One `handshake` object, and the `close` object of the same connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) role: String,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) outcome: String,
    /// When it was decided, in nanoseconds since 1970.
    pub(super) decided_ns: u64,
    pub(super) tries: Option<u64>,
    pub(super) server_leg: Option<Leg>,
    pub(super) client_leg: Option<Leg>,
    pub(super) refusal: Option<Leg>,
    pub(super) rtt_ns: Option<u64>,
    pub(super) turnaround_ns: Option<u64>,
    pub(super) setup_ns: Option<u64>,
    pub(super) ambiguous: bool,
    pub(super) close: Option<Close>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) outcome: String,
    /// Nanoseconds since 1970.
    pub(super) time_ns: u64,
    pub(super) lifetime_ns: Option<u64>,
    /// Who sent the RST, or the first FIN.
    pub(super) closer: SocketAddr,
    /// What the local end sent, and what the remote end sent.
    pub(super) volumes: [Volume; 2],
}

/// What one end sent until the connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    /// Packets with data, as they are in the capture.
    pub(super) segments: u64,
    pub(super) bytes: u64,
    /// How many of them were retransmits.
    pub(super) retransmits: u64,
}

/// One `retransmit` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retransmit {
    /// Nanoseconds since 1970.
    pub(super) time_ns: u64,
    pub(super) sender: SocketAddr,
    pub(super) receiver: SocketAddr,
    pub(super) seq: u32,
    /// Bytes of data.
    pub(super) len: u64,
    pub(super) kind: String,
    pub(super) after_ns: Option<u64>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// In the order in which their outcomes were reported.
    pub(super) flows: Vec<Flow>,
    pub(super) retransmits: Vec<Retransmit>,
    pub(super) summary: Summary,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) handshakes: u64,
    pub(super) established: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    pub(super) half_open: u64,
    pub(super) reset: u64,
    pub(super) pending: u64,
    pub(super) repeated_syns: u64,
    /// Packets whose headers are truncated in the capture.
    pub(super) truncated: u64,
    pub(super) lost: u64,
}

/// Replays a capture; `local` is passed on as the addresses of the host that it was made on.
pub(super) fn replay(file: &Path, local: &[&str]) -> Result<Run> {
    let mut tcptop = Command::new(lab::tcptop::binary()?);
    tcptop.arg("replay").arg(file).arg("--json").stdin(Stdio::null()).env("LC_ALL", "C");
    tcptop.args(local.iter().flat_map(|cidr| ["--local", cidr]));
    let output = tcptop.output().context("cannot start tcptop")?;
    ensure!(output.status.success(), "tcptop ended with {output:?}");
    let lines = String::from_utf8(output.stdout).context("tcptop writes what is no text")?;
    gather(lines.lines().map(Object::parse))
}

/// Collects the objects of a run.
pub(super) fn gather(objects: impl IntoIterator<Item = Object>) -> Result<Run> {
    let mut run = Run::default();
    let mut summaries = 0;
    for object in objects {
        match object.kind() {
            "handshake" if object.text("corrects").is_some() => correct(&mut run.flows, &object)?,
            "handshake" => run.flows.push(flow(&object)?),
            "close" => add_close(&mut run.flows, &object)?,
            "summary" => {
                run.summary = summary(&object)?;
                summaries += 1;
            }
            "retransmit" => run.retransmits.push(retransmit(&object)?),
            "peer" => {}
            other => bail!("an object of the unknown kind {other}"),
        }
    }
    ensure!(summaries == 1, "tcptop gave {summaries} summaries, not one");
    Ok(run)
}

/// A correction belongs to the last handshake that was reported on its ports.
fn correct(flows: &mut [Flow], object: &Object) -> Result<()> {
    let ends = (object.local(), object.remote());
    let known = flows.iter_mut().rev().find(|flow| (flow.local, flow.remote) == ends);
    *known.with_context(|| format!("a correction without a handshake: {object:?}"))? = flow(object)?;
    Ok(())
}

fn flow(object: &Object) -> Result<Flow> {
    Ok(Flow {
        role: word(object, "role")?,
        local: object.local(),
        remote: object.remote(),
        outcome: word(object, "outcome")?,
        decided_ns: time_ns(object)?,
        tries: object.number("tries"),
        server_leg: leg(object, "server_leg")?,
        client_leg: leg(object, "client_leg")?,
        refusal: leg(object, "refusal")?,
        rtt_ns: object.number("rtt_ns"),
        turnaround_ns: object.number("turnaround_ns"),
        setup_ns: object.number("setup_ns"),
        ambiguous: object.flag("ambiguous"),
        close: None,
    })
}

/// A close belongs to the last handshake that was reported on its ports.
fn add_close(flows: &mut [Flow], object: &Object) -> Result<()> {
    let (local, remote) = (object.local(), object.remote());
    let flow = flows.iter_mut().rev().find(|flow| (flow.local, flow.remote) == (local, remote));
    let flow = flow.with_context(|| format!("a close without a handshake: {object:?}"))?;
    let closer = match word(object, "closed_by")?.as_str() {
        "local" => local,
        "remote" => remote,
        other => bail!("closed by {other}"),
    };
    let (outcome, time_ns) = (word(object, "outcome")?, time_ns(object)?);
    let volumes = [volume(object, "sent")?, volume(object, "received")?];
    let close = Close { outcome, time_ns, lifetime_ns: object.number("lifetime_ns"), closer, volumes };
    ensure!(flow.close.replace(close).is_none(), "a connection that was closed twice: {object:?}");
    Ok(())
}

fn volume(object: &Object, way: &str) -> Result<Volume> {
    let count = |what: &str| count(object, &format!("{way}_{what}"));
    Ok(Volume {
        segments: count("data_segments")?,
        bytes: count("bytes")?,
        retransmits: count("data_retransmits")?,
    })
}

fn retransmit(object: &Object) -> Result<Retransmit> {
    let (local, remote) = (object.local(), object.remote());
    let (sender, receiver) = match word(object, "sent_by")?.as_str() {
        "local" => (local, remote),
        "remote" => (remote, local),
        other => bail!("sent again by {other}"),
    };
    Ok(Retransmit {
        time_ns: time_ns(object)?,
        sender,
        receiver,
        seq: count(object, "seq")?.try_into()?,
        len: count(object, "payload_bytes")?,
        kind: word(object, "kind")?,
        after_ns: object.number("after_ns"),
    })
}

fn leg(object: &Object, name: &str) -> Result<Option<Leg>> {
    let number = |suffix: &str| object.number(&format!("{name}{suffix}"));
    Ok(match (number("_ns"), number("_min_ns"), number("_max_ns")) {
        (None, None, None) => None,
        (Some(ns), None, None) => Some(Leg::Exact(ns)),
        (None, Some(min), Some(max)) => Some(Leg::Between(min, max)),
        _ => bail!("{name} is exact as well as not: {object:?}"),
    })
}

fn time_ns(object: &Object) -> Result<u64> {
    let time: Timestamp = word(object, "time")?.parse()?;
    Ok(time.as_nanosecond().try_into()?)
}

fn summary(object: &Object) -> Result<Summary> {
    let number = |field| count(object, field);
    Ok(Summary {
        handshakes: number("handshakes")?,
        established: number("established")?,
        refused: number("refused")?,
        unanswered: number("unanswered")?,
        half_open: number("half_open")?,
        reset: number("reset")?,
        pending: number("pending")?,
        repeated_syns: number("handshake_retransmits")?,
        truncated: number("missed_packets.truncated")?,
        lost: number("missed")?,
    })
}

fn count(object: &Object, field: &str) -> Result<u64> {
    object.number(field).with_context(|| format!("no {field}: {object:?}"))
}

fn word(object: &Object, field: &str) -> Result<String> {
    Ok(object.text(field).with_context(|| format!("no {field}: {object:?}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Leg, Object, gather};

    const ENDS: &str =
        r#""role":"client","local_ip":"10.9.0.1","local_port":4,"remote_ip":"fd09::11","remote_port":80"#;
    const SUMMARY: &str = r#"{"type":"summary","handshakes":2,"established":2,"refused":0,"unanswered":0,"half_open":0,
        "reset":0,"pending":0,"handshake_retransmits":0,"missed_packets":{"truncated":0},"missed":0}"#;

    /// A handshake whose server leg is exact, has bounds, or both.
    fn handshake(exact: &str, min: &str) -> String {
        let legs = format!(
            r#""server_leg_ns":{exact},"server_leg_min_ns":{min},"server_leg_max_ns":{min},"client_leg_ns":null,
            "client_leg_min_ns":null,"client_leg_max_ns":null,"refusal_ns":null,"refusal_min_ns":null,
            "refusal_max_ns":null,"rtt_ns":null,"turnaround_ns":null,"setup_ns":null,"ambiguous":false,
            "corrects":null"#
        );
        let time = "1970-01-01T00:00:01.000000002Z";
        format!(r#"{{"type":"handshake",{ENDS},"outcome":"established","time":"{time}","tries":1,{legs}}}"#)
    }

    fn close(by: &str) -> String {
        let time = "1970-01-01T00:00:02Z";
        format!(
            r#"{{"type":"close",{ENDS},"outcome":"closed","time":"{time}","lifetime_ns":7,"closed_by":{by},
            "sent_data_segments":1,"sent_bytes":2,"sent_data_retransmits":3,"received_data_segments":4,"received_bytes":5,
            "received_data_retransmits":6}}"#
        )
    }

    fn run(lines: &[&str]) -> anyhow::Result<super::Run> {
        gather(lines.iter().map(|line| Object::parse(line)))
    }

    #[test]
    fn a_close_belongs_to_the_handshake_before_it() {
        let (first, second, closed) = (handshake("5", "null"), handshake("null", "6"), close(r#""remote""#));
        let run = run(&[&first, &closed, &second, SUMMARY]).unwrap();
        let [first, second] = &run.flows[..] else { panic!("two flows") };
        assert_eq!((first.server_leg, first.decided_ns), (Some(Leg::Exact(5)), 1_000_000_002));
        let close = first.close.as_ref().unwrap();
        assert_eq!((close.closer, close.time_ns), (first.remote, 2_000_000_000));
        assert_eq!((second.server_leg, &second.close), (Some(Leg::Between(6, 6)), &None));
    }

    #[test]
    fn a_correction_replaces_what_it_corrects() {
        let (first, second) = (handshake("5", "null"), handshake("null", "6"));
        let correction = handshake("7", "null").replace(r#""corrects":null"#, r#""corrects":"unanswered""#);
        let run = run(&[&first, &second, &correction, SUMMARY]).unwrap();
        let legs: Vec<_> = run.flows.iter().map(|flow| flow.server_leg).collect();
        assert_eq!(legs, [Some(Leg::Exact(5)), Some(Leg::Exact(7))]);
        assert!(gather([&correction[..], SUMMARY].map(Object::parse)).is_err(), "nothing to correct");
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let (one, closed) = (handshake("5", "null"), close(r#""local""#));
        for lines in [
            &[&closed[..], SUMMARY][..],
            &[&one, &closed, &closed, SUMMARY],
            &[&one],
            &[&one, SUMMARY, SUMMARY],
            &[&handshake("5", "6"), SUMMARY],
            &[&one, &close("null"), SUMMARY],
        ] {
            assert!(run(lines).is_err(), "{lines:?}");
        }
    }
}

//! What tshark reports for each packet of a capture.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::copies;

pub(super) const FIN: u16 = 0x01;
pub(super) const SYN: u16 = 0x02;
pub(super) const RST: u16 = 0x04;
pub(super) const ACK: u16 = 0x10;

/// The bits of `tcp.completeness` that are compared.
pub(super) mod completeness {
    pub(crate) const SYN: u8 = 1;
    pub(crate) const SYN_ACK: u8 = 2;
    pub(crate) const ACK: u8 = 4;
    pub(crate) const DATA: u8 = 8;
    pub(crate) const FIN: u8 = 16;
    pub(crate) const RST: u8 = 32;

    /// The bits that one packet adds.
    pub(crate) fn of(frame: &super::Frame) -> u8 {
        let with = |is_so: bool, bit| if is_so { bit } else { 0 };
        let acknowledges = frame.has(super::ACK) && frame.lacks(super::SYN);
        with(frame.is_syn(), SYN)
            | with(frame.is_syn_ack(), SYN_ACK)
            | with(acknowledges && frame.payload == 0, ACK)
            | with(frame.has(super::FIN | super::ACK), FIN)
            | with(frame.has(super::RST), RST)
    }
}

const FIELDS: [&str; 26] = [
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "frame.cap_len",
    "ip.src",
    "ip.dst",
    "ip.id",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.stream",
    "tcp.flags",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.len",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
    "tcp.analysis.initial_rtt",
    "tcp.completeness",
    "tcp.analysis.spurious_retransmission",
    "tcp.analysis.fast_retransmission",
    "tcp.analysis.retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.keep_alive",
    "tcp.analysis.zero_window",
];

/// tshark's verdict on a packet that is not the next in sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Its bytes were acknowledged before.
    Spurious,
    /// Two or more duplicate ACKs have just asked for it.
    Fast,
    Retransmission,
    OutOfOrder,
    KeepAlive,
}

impl Verdict {
    pub(super) fn is_retransmit(self) -> bool {
        match self {
            Self::Spurious | Self::Fast | Self::Retransmission => true,
            Self::OutOfOrder | Self::KeepAlive => false,
        }
    }

    /// The most specific flag: a spurious or fast retransmission is also flagged as a retransmission.
    fn of(flagged: [bool; 5]) -> Option<Self> {
        let all = [Self::Spurious, Self::Fast, Self::Retransmission, Self::OutOfOrder, Self::KeepAlive];
        all.into_iter().zip(flagged).find(|(_, is_flagged)| *is_flagged).map(|(verdict, _)| verdict)
    }
}

/// One TCP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) number: u32,
    /// Nanoseconds since 1970.
    pub(super) time_ns: u64,
    /// Bytes on the wire.
    pub(super) len: u32,
    /// Bytes of it in the capture.
    pub(super) captured: u32,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) stream: u32,
    /// IPv4 identification, or 0.
    pub(super) ip_id: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// Bytes of data.
    pub(super) payload: u32,
    /// TSval and TSecr.
    pub(super) timestamps: Option<(u32, u32)>,
    /// tshark's figure for the stream, if it reports one.
    pub(super) initial_rtt_ns: Option<u64>,
    pub(super) completeness: u8,
    pub(super) verdict: Option<Verdict>,
    /// The sender's window is 0.
    pub(super) has_zero_window: bool,
    /// It is the same packet as an earlier one, duplicated on the way.
    pub(super) is_copy: bool,
}

impl Frame {
    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    pub(super) fn lacks(&self, flags: u16) -> bool {
        self.flags & flags == 0
    }

    /// A SYN without ACK, retransmits included.
    pub(super) fn is_syn(&self) -> bool {
        self.has(SYN) && self.lacks(ACK)
    }

    pub(super) fn is_syn_ack(&self) -> bool {
        self.has(SYN | ACK)
    }

    /// Whether the headers are truncated in the capture.
    pub(super) fn is_cut(&self) -> bool {
        self.captured < self.len.saturating_sub(self.payload)
    }
}

/// The packets that tshark assigns to one connection.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) frames: Vec<Frame>,
}

impl Stream {
    pub(super) fn initial_rtt_ns(&self) -> Option<u64> {
        self.frames.iter().find_map(|frame| frame.initial_rtt_ns)
    }

    /// The value of the last frame covers all of them. Whether there was data is not compared.
    pub(super) fn completeness(&self) -> u8 {
        self.frames.last().map_or(0, |frame| frame.completeness & !completeness::DATA)
    }
}

/// What a capture holds.
pub(super) struct Capture {
    /// In the order of their first packets.
    pub(super) streams: Vec<Stream>,
    pub(super) packets: u64,
    /// Time of the last packet, in nanoseconds since 1970.
    pub(super) end_ns: u64,
    /// The longest packet, in bytes.
    pub(super) longest: u32,
}

/// Reads a capture with tshark and its default settings: `empty` is an empty folder in place of the user's settings.
pub(super) fn read(file: &Path, empty: &Path) -> Result<Capture> {
    let mut tshark = command(empty);
    // Two passes, so that `tcp.completeness` is that of the whole stream.
    tshark.args(["-2", "-n", "-o", "tcp.relative_sequence_numbers:FALSE", "-Y", "tcp", "-r"]).arg(file);
    tshark.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]);
    tshark.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    gather(&output(tshark)?)
}

/// Returns the line with its version: the meaning of its fields may change.
pub(super) fn version() -> Result<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("--version").stdin(Stdio::null());
    Ok(output(tshark)?.lines().next().unwrap_or_default().to_owned())
}

/// Converts a capture to pcapng.
pub(super) fn to_pcapng(file: &Path, to: &Path, empty: &Path) -> Result<()> {
    let mut tshark = command(empty);
    tshark.args(["-n", "-F", "pcapng", "-r"]).arg(file).arg("-w").arg(to);
    output(tshark).map(drop)
}

fn command(empty: &Path) -> Command {
    let mut tshark = Command::new("tshark");
    for variable in ["HOME", "XDG_CONFIG_HOME", "WIRESHARK_CONFIG_DIR"] {
        tshark.env(variable, empty);
    }
    tshark.env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    tshark
}

/// Its output; warnings, for example about running as root, are shown only if it fails.
fn output(mut tshark: Command) -> Result<String> {
    let output = tshark.output().context("cannot start tshark")?;
    ensure!(output.status.success(), "tshark ended with {output:?}");
    String::from_utf8(output.stdout).context("tshark writes what is no text")
}

fn gather(lines: &str) -> Result<Capture> {
    let mut capture = Capture { streams: Vec::new(), packets: 0, end_ns: 0, longest: 0 };
    for line in lines.lines() {
        let frame = frame(line).with_context(|| format!("cannot read tshark's line {line:?}"))?;
        let index = usize::try_from(frame.stream)?;
        // Streams are numbered in the order of their first packets.
        ensure!(index <= capture.streams.len(), "tshark passes over stream {}", capture.streams.len());
        if index == capture.streams.len() {
            capture.streams.push(Stream { frames: Vec::new() });
        }
        capture.streams[index].frames.push(frame);
        capture.packets += 1;
        capture.end_ns = capture.end_ns.max(frame.time_ns);
        capture.longest = capture.longest.max(frame.len);
    }
    capture.streams.iter_mut().for_each(|stream| copies::mark(&mut stream.frames));
    Ok(capture)
}

fn frame(line: &str) -> Result<Frame> {
    let values: Vec<&str> = line.split('\t').collect();
    let values = <[&str; FIELDS.len()]>::try_from(values).ok().context("another number of fields")?;
    let [number, time, len, captured, source4, destination4, ip_id, source6, destination6, rest @ ..] =
        values;
    let [
        source_port,
        destination_port,
        stream,
        flags,
        seq,
        ack,
        payload,
        value,
        echo,
        rtt,
        complete,
        rest @ ..,
    ] = rest;
    let [verdicts @ .., zero_window] = rest;
    let end = |v4: &str, v6: &str, port: &str| -> Result<SocketAddr> {
        let address: IpAddr = if v4.is_empty() { v6 } else { v4 }.parse()?;
        Ok(SocketAddr::new(address, port.parse()?))
    };
    let hexadecimal = |text: &str| -> Result<u16> {
        let digits = text.strip_prefix("0x").with_context(|| format!("{text} is not hexadecimal"))?;
        Ok(u16::from_str_radix(digits, 16)?)
    };
    let timestamps =
        if value.is_empty() || echo.is_empty() { None } else { Some((value.parse()?, echo.parse()?)) };
    Ok(Frame {
        number: number.parse()?,
        time_ns: nanoseconds(time)?,
        len: len.parse()?,
        captured: captured.parse()?,
        source: end(source4, source6, source_port)?,
        destination: end(destination4, destination6, destination_port)?,
        stream: stream.parse()?,
        ip_id: if ip_id.is_empty() { 0 } else { hexadecimal(ip_id)? },
        flags: hexadecimal(flags)?,
        seq: seq.parse()?,
        ack: ack.parse()?,
        payload: payload.parse()?,
        timestamps,
        // Negative where the capture's stamps are out of order: that is no figure.
        initial_rtt_ns: if rtt.is_empty() || rtt.starts_with('-') { None } else { Some(nanoseconds(rtt)?) },
        completeness: complete.parse()?,
        verdict: Verdict::of(verdicts.map(|flag| !flag.is_empty())),
        has_zero_window: !zero_window.is_empty(),
        is_copy: false,
    })
}

/// Reads seconds with up to nine decimals as nanoseconds, without a floating-point number in between.
fn nanoseconds(seconds: &str) -> Result<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    ensure!(fraction.len() <= 9, "more than nanoseconds: {seconds}");
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(!whole.is_empty() && digits(whole) && digits(fraction), "no time: {seconds:?}");
    Ok(whole.parse::<u64>()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>()?)
}

#[cfg(test)]
mod tests {
    use super::{SYN, Verdict, gather, nanoseconds};

    const LINE: &str = "7\t1795325041.123456789\t74\t74\t10.9.0.1\t10.9.0.11\t0x00ff\t\t\t40000\t80\t0\t0x0002\t100\t0\t0\
                        \t9\t0\t0.040000001\t31\t\t1\t1\t\t\t";

    #[test]
    fn times_are_exact() {
        assert_eq!(nanoseconds("1795325041.123456789").unwrap(), 1_795_325_041_123_456_789);
        assert_eq!(nanoseconds("0.04").unwrap(), 40_000_000);
        assert_eq!(nanoseconds("3").unwrap(), 3_000_000_000);
        for text in ["", "-1", "1.0000000001", "1e3", ".5", "+1"] {
            assert!(nanoseconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_a_frame() {
        let capture = gather(LINE).unwrap();
        let [stream] = &capture.streams[..] else { panic!("one stream") };
        let frame = stream.frames[0];
        assert_eq!((frame.number, frame.time_ns), (7, 1_795_325_041_123_456_789));
        assert_eq!(frame.source, "10.9.0.1:40000".parse().unwrap());
        assert_eq!((frame.ip_id, frame.flags, frame.timestamps), (255, SYN, Some((9, 0))));
        assert_eq!((stream.initial_rtt_ns(), stream.completeness()), (Some(40_000_001), 23));
        assert!(!frame.is_cut());
        assert_eq!((frame.verdict, frame.has_zero_window), (Some(Verdict::Fast), false));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(gather(&LINE.replace("\t80\t", "\t")).is_err());
        assert!(gather(&LINE.replace("\t0\t0x0002", "\t5\t0x0002")).is_err(), "streams are missing");
    }
}

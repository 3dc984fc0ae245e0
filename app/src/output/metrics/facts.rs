//! What the kernel says of a connection, as metrics in base units.

use prometheus_client::registry::Unit;

use tcptop_core::{InfoField, TcpInfo};

/// Whether it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// The unit of a metric, and how the kernel's is converted into it.
#[derive(Clone, Copy, Debug)]
enum Base {
    /// Of microseconds.
    FromUs,
    /// Of milliseconds.
    FromMs,
    Bytes,
    Segments,
    BytesPerSecond,
}

/// A metric of each connection.
#[derive(Debug)]
pub(super) struct Fact {
    /// Without prefix, unit and `_total`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) meaning: &'static str,
    base: Base,
    field: InfoField,
}

impl Fact {
    /// The value; `None` if the kernel does not say it.
    #[allow(clippy::cast_precision_loss, reason = "a metric is a float for whoever scrapes it")]
    pub(super) fn value(&self, info: &TcpInfo) -> Option<f64> {
        let value = info.get(self.field)? as f64;
        Some(match self.base {
            Base::FromUs => value / 1e6,
            Base::FromMs => value / 1e3,
            Base::Bytes | Base::Segments | Base::BytesPerSecond => value,
        })
    }

    pub(super) fn unit(&self) -> Unit {
        match self.base {
            Base::FromUs | Base::FromMs => Unit::Seconds,
            Base::Bytes => Unit::Bytes,
            Base::Segments => Unit::Other("segments".to_owned()),
            Base::BytesPerSecond => Unit::Other("bytes_per_second".to_owned()),
        }
    }

    /// Its full name.
    fn full_name(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("tcptop_flow_{}_{}{total}", self.name, self.unit().as_str())
    }
}

/// Each metric of a connection: name, type, meaning, and the field of `struct tcp_info` that it is.
pub fn flow_metrics() -> impl Iterator<Item = (String, &'static str, &'static str, &'static str)> {
    FACTS.iter().map(|fact| {
        let kind = if fact.kind == Kind::Counter { "counter" } else { "gauge" };
        (fact.full_name(), kind, fact.meaning, fact.field.layout().kernel_name)
    })
}

const fn gauge(name: &'static str, base: Base, field: InfoField, meaning: &'static str) -> Fact {
    Fact { name, kind: Kind::Gauge, meaning, base, field }
}

const fn counter(name: &'static str, base: Base, field: InfoField, meaning: &'static str) -> Fact {
    Fact { name, kind: Kind::Counter, meaning, base, field }
}

/// All of them. The congestion control is one more, whose name is a label.
pub(super) const FACTS: [Fact; 30] = [
    counter("retransmitted", Base::Segments, InfoField::TotalRetrans, "Segments retransmitted"),
    gauge("rto", Base::FromUs, InfoField::Rto, "Retransmission timeout"),
    gauge("ato", Base::FromUs, InfoField::Ato, "Delayed-acknowledgment timeout"),
    gauge("rtt", Base::FromUs, InfoField::Rtt, "Smoothed round-trip time"),
    gauge("rtt_variation", Base::FromUs, InfoField::Rttvar, "Mean deviation of the round-trip time"),
    gauge("min_rtt", Base::FromUs, InfoField::MinRtt, "Shortest round-trip time of the last minutes"),
    gauge("path_mtu", Base::Bytes, InfoField::Pmtu, "MTU of the path, as far as it is known"),
    gauge("send_mss", Base::Bytes, InfoField::SndMss, "Largest segment that is sent"),
    gauge("receive_mss", Base::Bytes, InfoField::RcvMss, "Estimate of the largest segment that is received"),
    gauge("advertised_mss", Base::Bytes, InfoField::Advmss, "Largest segment that the peer is asked to send"),
    gauge("congestion_window", Base::Segments, InfoField::SndCwnd, "Congestion window"),
    gauge("slow_start_threshold", Base::Segments, InfoField::SndSsthresh, "Where slow start ends"),
    counter("sent", Base::Bytes, InfoField::BytesSent, "Bytes sent, with retransmits"),
    counter("acknowledged", Base::Bytes, InfoField::BytesAcked, "Bytes that the peer acknowledged"),
    counter("received", Base::Bytes, InfoField::BytesReceived, "Bytes received in order"),
    counter("sent", Base::Segments, InfoField::SegsOut, "Segments sent, with retransmits"),
    counter("received", Base::Segments, InfoField::SegsIn, "Segments received"),
    counter("sent_data", Base::Segments, InfoField::DataSegsOut, "Segments with data sent, with retransmits"),
    counter("received_data", Base::Segments, InfoField::DataSegsIn, "Segments with data received"),
    gauge("last_sent", Base::FromMs, InfoField::LastDataSent, "Time since data was sent"),
    gauge("last_received", Base::FromMs, InfoField::LastDataRecv, "Time since data was received"),
    gauge("last_ack_received", Base::FromMs, InfoField::LastAckRecv, "Time since an ACK was received"),
    gauge("pacing_rate", Base::BytesPerSecond, InfoField::PacingRate, "Rate at which data is sent at most"),
    gauge(
        "delivery_rate",
        Base::BytesPerSecond,
        InfoField::DeliveryRate,
        "Rate at which data was delivered lately",
    ),
    counter("delivered", Base::Segments, InfoField::Delivered, "Segments delivered to the peer"),
    counter(
        "busy",
        Base::FromUs,
        InfoField::BusyTime,
        "For how long data was in the send queue or in flight",
    ),
    counter(
        "receive_window_limited",
        Base::FromUs,
        InfoField::RwndLimited,
        "For how long of that the peer's window was the limit",
    ),
    gauge("receive_space", Base::Bytes, InfoField::RcvSpace, "Room for received data, as tuned"),
    gauge("receive_threshold", Base::Bytes, InfoField::RcvSsthresh, "Limit of the window that is advertised"),
    gauge("peer_window", Base::Bytes, InfoField::SndWnd, "The peer's window"),
];

//! Words and counts that are named in one place of the program, and so in the schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use probe_common::encapsulation::Encapsulation;
use probe_common::{RecordKind, SegmentKind};
use tcptop_core::{
    Evidence, IcmpReason, Missed, MissedCounts, NoLoss, Outcome, Party, Quality, ResetReason, ResetStage,
    RetransmitCause, RetransmitKind, Role, SocketState, TimerKind, Verdict,
};

/// Something that has one word for programs for each of its values.
pub trait Labelled: Copy {
    /// The name of the type in the schema.
    const NAME: &'static str;

    /// Every word.
    fn labels() -> Vec<&'static str>;

    /// The word for this value.
    fn label(self) -> &'static str;
}

/// A value that is written as its word.
#[derive(Clone, Copy, Debug)]
pub struct Label<T>(pub T);

impl<T: Labelled> Serialize for Label<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.label())
    }
}

impl<T: Labelled> JsonSchema for Label<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": T::labels() })
    }
}

macro_rules! labelled {
    ($($type:ty: $name:literal, $label:ident;)*) => {$(
        impl Labelled for $type {
            const NAME: &'static str = $name;

            fn labels() -> Vec<&'static str> {
                <$type>::ALL.map(<$type>::$label).to_vec()
            }

            fn label(self) -> &'static str {
                self.$label()
            }
        }
    )*};
}

labelled! {
    Role: "role", name;
    Outcome: "outcome", label;
    Party: "end", name;
    RetransmitKind: "segment_kind", label;
    NoLoss: "no_loss", label;
    RetransmitCause: "retransmit_cause", label;
    ResetReason: "reset_reason", label;
    ResetStage: "reset_stage", label;
    Verdict: "verdict", label;
    IcmpReason: "icmp_reason", label;
    Evidence: "evidence", name;
    Quality: "quality", name;
    SocketState: "socket_state", name;
    TimerKind: "timer_kind", name;
}

impl Labelled for Encapsulation {
    const NAME: &'static str = "encapsulation";

    fn labels() -> Vec<&'static str> {
        Self::ALL.into_iter().filter_map(Self::name).collect()
    }

    fn label(self) -> &'static str {
        self.name().unwrap_or("none")
    }
}

/// Records that are missing, by kind.
#[derive(Clone, Copy, Debug)]
pub struct MissedRecords<'a>(pub &'a MissedCounts);

/// Packets that are missing, by reason.
#[derive(Clone, Copy, Debug)]
pub struct MissedPackets<'a>(pub &'a MissedCounts);

const fn record(missed: Missed) -> Option<&'static str> {
    match missed {
        Missed::Record(kind) => Some(match kind {
            RecordKind::Segment(SegmentKind::Syn) => "syn",
            RecordKind::Segment(SegmentKind::SynAck) => "syn_ack",
            RecordKind::Segment(SegmentKind::Ack) => "ack",
            RecordKind::Segment(SegmentKind::Rst) => "rst",
            RecordKind::Segment(SegmentKind::Fin) => "fin",
            RecordKind::Segment(SegmentKind::Retransmit) => "retransmit",
            RecordKind::EvictedFlow => "evicted_flow",
            RecordKind::Icmp => "icmp",
            RecordKind::Owner => "owner",
            RecordKind::Reset => "reset_reason",
        }),
        Missed::Undecodable => Some("undecodable"),
        Missed::Packet(_)
        | Missed::Unreadable
        | Missed::KernelFlow
        | Missed::Flow
        | Missed::Peer
        | Missed::Line => None,
    }
}

const fn packet(missed: Missed) -> Option<&'static str> {
    match missed {
        Missed::Packet(why) => Some(why.name()),
        Missed::Unreadable => Some("unreadable"),
        Missed::Record(_)
        | Missed::Undecodable
        | Missed::KernelFlow
        | Missed::Flow
        | Missed::Peer
        | Missed::Line => None,
    }
}

impl Serialize for MissedRecords<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter_map(|(missed, count)| Some((record(missed)?, count))))
    }
}

impl Serialize for MissedPackets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter_map(|(missed, count)| Some((packet(missed)?, count))))
    }
}

impl JsonSchema for MissedRecords<'_> {
    fn schema_name() -> Cow<'static, str> {
        "missed_records".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        counts(record)
    }
}

impl JsonSchema for MissedPackets<'_> {
    fn schema_name() -> Cow<'static, str> {
        "missed_packets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        counts(packet)
    }
}

/// An object that has a count of everything that has a key.
fn counts(key: impl Fn(Missed) -> Option<&'static str>) -> Schema {
    let keys = || Missed::all().filter_map(|missed| Some((key(missed)?, missed)));
    let count = |missed: Missed| {
        let description = format!("{}s.", missed.noun());
        json!({ "description": description, "type": "integer", "format": "uint64", "minimum": 0 })
    };
    let properties: Map<String, Value> =
        keys().map(|(key, missed)| (key.to_owned(), count(missed))).collect();
    let required: Vec<&str> = keys().map(|(key, _)| key).collect();
    json_schema!({ "type": "object", "properties": properties, "required": required })
}

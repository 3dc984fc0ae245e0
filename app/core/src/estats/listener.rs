//! `tcpEStatsListenerTable`.

use super::{EstatsValue, Missing, Variable};

pub(super) static VARIABLES: [Variable; 15] = [
    Variable::missing("StartTime", "", Missing::Events),
    Variable::missing("SynRcvd", "segments", Missing::Segments),
    Variable::missing("Initial", "connections", Missing::Segments),
    Variable::missing("Established", "connections", Missing::Events),
    Variable::missing("Accepted", "connections", Missing::Events),
    Variable::missing("ExceedBacklog", "connections", Missing::Segments),
    Variable::missing("HCSynRcvd", "segments", Missing::Segments),
    Variable::missing("HCInitial", "connections", Missing::Segments),
    Variable::missing("HCEstablished", "connections", Missing::Events),
    Variable::missing("HCAccepted", "connections", Missing::Events),
    Variable::missing("HCExceedBacklog", "connections", Missing::Segments),
    Variable::approximate(
        "CurConns",
        "connections",
        "sockets in ESTABLISHED with an inode at its address and port, if it alone listens there",
        |facts| facts.accepted.map(|[accepted, _]| EstatsValue::Number(accepted)),
    ),
    Variable::exact("MaxBacklog", "connections", "idiag_wqueue", |facts| {
        Some(EstatsValue::Number(facts.socket.send_queue.into()))
    }),
    Variable::derived(
        "CurBacklog",
        "connections",
        "idiag_rqueue + sockets in SYN-RECEIVED at its address and port, if it alone listens there",
        |facts| {
            let [_, pending] = facts.accepted?;
            Some(EstatsValue::Number(u64::from(facts.socket.receive_queue) + pending))
        },
    ),
    Variable::exact("CurEstabBacklog", "connections", "idiag_rqueue", |facts| {
        Some(EstatsValue::Number(facts.socket.receive_queue.into()))
    }),
];

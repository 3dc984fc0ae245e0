//! Whether what the sources say agrees.

use std::fmt;

use anyhow::{Context, Result};

use crate::measure::Measured;

/// Two figures of the same, and how far apart they may be.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    scene: String,
    what: &'static str,
    ours: f64,
    theirs: f64,
    /// As a share of theirs.
    limit: f64,
}

impl Verdict {
    pub(crate) fn agrees(&self) -> bool {
        (self.ours - self.theirs).abs() <= self.theirs.abs() * self.limit + f64::EPSILON
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, what, ours, theirs, limit } = self;
        let mark = if self.agrees() { "agrees" } else { "DIFFERS" };
        write!(f, "{mark:<8} {scene:<16} {what:<44} {ours:>12.1} {theirs:>12.1} (limit {}%)", limit * 100.0)
    }
}

/// What is compared, of which two sources and figures, and how far apart they may be.
type Pair = (&'static str, [(&'static str, &'static str); 2], f64);

/// Compares what has to be equal, or nearly.
///
/// # Errors
/// When a source says nothing.
pub(crate) fn judge(scene: &str, measured: &Measured) -> Result<Vec<Verdict>> {
    let get = |source: &str, figure: &str| {
        let value = measured.totals.get(&(source, figure));
        value.copied().with_context(|| format!("{source} says no {figure}"))
    };
    let mut verdicts = Vec::new();
    let mut pairs: Vec<Pair> = vec![
        ("bytes sent: wire, sock_diag", [("wire", "bytes"), ("sock_diag", "bytes")], 0.01),
        ("bytes sent: ss, sock_diag", [("ss", "bytes"), ("sock_diag", "bytes with ss")], 0.01),
        ("bytes of the application: wire, iperf3", [("wire", "payload"), ("iperf3", "payload")], 0.01),
        ("segments with data: wire, sock_diag", [("wire", "segments"), ("sock_diag", "segments")], 0.01),
        ("retransmits: wire, kernel", [("wire", "retransmits"), ("kernel", "retransmits")], 0.0),
        ("retransmits: iperf3, kernel", [("iperf3", "retransmits"), ("kernel", "retransmits")], 0.01),
        ("RTT, mean in us: sock_ops, ss", [("sock_ops", "rtt"), ("ss", "rtt")], 0.1),
        ("RTT, mean in us: sock_diag, ss", [("sock_diag", "rtt"), ("ss", "rtt")], 0.1),
    ];
    if measured.totals.contains_key(&("iperf3", "rtt")) {
        pairs.push(("RTT, mean in us: sock_ops, iperf3", [("sock_ops", "rtt"), ("iperf3", "rtt")], 0.1));
        pairs.push(("RTT, mean in us: sock_diag, iperf3", [("sock_diag", "rtt"), ("iperf3", "rtt")], 0.1));
    }
    for (what, [ours, theirs], limit) in pairs {
        let [ours, theirs] = [get(ours.0, ours.1)?, get(theirs.0, theirs.1)?];
        verdicts.push(Verdict { scene: scene.to_owned(), what, ours, theirs, limit });
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_within_their_limit() {
        let agrees =
            |ours, limit| Verdict { scene: String::new(), what: "", ours, theirs: 100.0, limit }.agrees();
        assert!(agrees(101.0, 0.01) && agrees(99.0, 0.01) && agrees(100.0, 0.0));
        assert!(!agrees(101.1, 0.01) && !agrees(98.9, 0.01) && !agrees(101.0, 0.0));
    }
}

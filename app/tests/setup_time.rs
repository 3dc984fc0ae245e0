//! The setup time: what the application waits, from the first SYN to the ACK.

mod support;

use support::shown::{Shown, at};
use support::{Connection, MS, S, v4};
use tcptop_core::Span;

/// Nothing says which of several SYNs was answered, so that the RTT is not known; the setup time is.
#[test]
fn a_repeated_syn_has_a_setup_time_and_no_rtt() {
    let mut shown = Shown::new();
    for n in 0..9 {
        shown.establish(2, 20_000 + n, at(10 * u64::from(n)), 2 * MS);
    }
    let late = Connection::to(v4(10, 0, 0, 2, 443), 30_000);
    shown.watched.see([late.syn(at(100)), late.syn(at(1_124)), late.syn_ack(at(1_126)), late.ack(at(1_127))]);
    let snapshot = shown.take(at(1_200));
    let figures = &snapshot.rows[0].figures;
    let (rtt, setup) = (figures.rtt.unwrap(), figures.setup.unwrap());
    assert_eq!((rtt.samples, setup.samples), (9, 10));
    assert_eq!((rtt.max_ns, setup.max_ns), (2 * MS, 1_027 * MS));
    assert_eq!(setup.p99_ns, 1_027 * MS);
    assert!(setup.p90_ns < S);
    let selection = snapshot.selection.as_ref().unwrap();
    for total in [&snapshot.total, &snapshot.recent, &selection.total] {
        assert_eq!(total.setup.map(|setup| (setup.samples, setup.max_ns)), Some((10, 1_027 * MS)));
    }
    assert_eq!(selection.setup_bars.iter().map(|bar| bar.count).sum::<u64>(), 10);
    assert_eq!(shown.watched.snapshot(Span::SinceStart, at(1_200)).total.setup, snapshot.total.setup);
}

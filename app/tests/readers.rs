//! Several readers of one engine: what one does changes nothing for another.

mod support;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use support::{Connection, MS, S, START, config, v4};
use tcptop_core::{
    Engine, Event, Filter, Group, Input, Query, ReaderConfig, ReaderId, Snapshot, SnapshotRequest, Span,
};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A connection attempt to one of some peers: refused, unanswered, or established after so many milliseconds.
    Attempt {
        peer: u8,
        outcome: u8,
    },
    Pass {
        ms: u64,
    },
    /// What the person at the screen does.
    Reset,
    Window {
        seconds: u64,
    },
    Look {
        group: usize,
        filter: usize,
        span: Span,
    },
}

const FILTERS: [&str; 4] = ["", "port:443", "!peer:10.0.0.1", "outcome:refused"];

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![Just(Span::Window), Just(Span::SinceStart)];
    prop_oneof![
        8 => (0_u8..4, 0_u8..6).prop_map(|(peer, outcome)| Step::Attempt { peer, outcome }),
        4 => (1_u64..5_000).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Reset),
        1 => prop_oneof![1_u64..60, 60_u64..3_600].prop_map(|seconds| Step::Window { seconds }),
        2 => (0..Group::ALL.len(), 0..FILTERS.len(), span)
            .prop_map(|(group, filter, span)| Step::Look { group, filter, span }),
    ]
}

/// An engine with one of the readers or both.
struct Run {
    engine: Engine,
    output: Option<ReaderId>,
    screen: Option<ReaderId>,
    now_ns: u64,
    ports: u16,
}

impl Run {
    fn new(has_output: bool, has_screen: bool) -> Self {
        let mut engine = Engine::new(&config(1_000), START);
        let mut reader =
            |wanted: bool, events| wanted.then(|| engine.add_reader(ReaderConfig { events, log: true }));
        let output = reader(has_output, Some("!role:server".parse().expect("a filter")));
        let screen = reader(has_screen, None::<Filter>);
        Self { engine, output, screen, now_ns: START, ports: 1_024 }
    }

    fn take(&mut self, step: &Step) {
        match (step, self.screen) {
            (Step::Attempt { peer, outcome }, _) => self.attempt(*peer, *outcome),
            (Step::Pass { ms }, _) => {
                self.now_ns += ms * MS;
                self.engine.handle(Input::Time { now_ns: self.now_ns });
            }
            (Step::Reset, Some(screen)) => self.engine.reset(screen, self.now_ns),
            (Step::Window { seconds }, Some(screen)) => {
                self.engine.set_window(screen, seconds * S);
            }
            (Step::Look { group, filter, span }, Some(screen)) => {
                let filter = FILTERS[*filter].parse().expect("a filter");
                let query = Query { filter, group: Group::ALL[*group], ..Query::default() };
                drop(self.snapshot(screen, query, *span));
            }
            (_, None) => {}
        }
    }

    fn attempt(&mut self, peer: u8, outcome: u8) {
        self.ports += 1;
        let connection =
            Connection::to(v4(10, 0, 0, peer, if peer.is_multiple_of(2) { 443 } else { 80 }), self.ports);
        let answered_ns = self.now_ns + u64::from(outcome) * 40 * MS;
        let records = match outcome {
            0 => vec![connection.syn(self.now_ns)],
            1 => vec![connection.syn(self.now_ns), connection.rst_of_responder(answered_ns)],
            _ => vec![
                connection.syn(self.now_ns),
                connection.syn_ack(answered_ns),
                connection.ack(answered_ns + MS),
            ],
        };
        let records: Vec<_> = records.into_iter().map(Into::into).collect();
        self.engine.handle(Input::Records(&records));
    }

    fn snapshot(&mut self, reader: ReaderId, query: Query, span: Span) -> Snapshot {
        let totals = SnapshotRequest::totals(span);
        let request = SnapshotRequest {
            query,
            rows: 100,
            selected_flows: 100,
            flows: 100,
            log: 100,
            timeline: true,
            ..totals
        };
        self.engine.snapshot(reader, &request, self.now_ns)
    }

    /// Everything that the output can see.
    fn output(&mut self) -> (Vec<Event>, [Snapshot; 2]) {
        let output = self.output.expect("it has one");
        let events = self.engine.poll_events(output).cloned().collect();
        let snapshots = [Span::Window, Span::SinceStart];
        (events, snapshots.map(|span| self.snapshot(output, Query::default(), span)))
    }

    /// What the screen can see.
    fn screen(&mut self) -> Snapshot {
        let screen = self.screen.expect("it has one");
        self.snapshot(screen, Query::default(), Span::Window)
    }
}

fn hold(steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut both, mut output, mut screen) =
        (Run::new(true, true), Run::new(true, false), Run::new(false, true));
    for step in steps {
        for run in [&mut both, &mut output, &mut screen] {
            run.take(step);
        }
        prop_assert_eq!(both.output(), output.output(), "the output is as without a screen");
        prop_assert_eq!(both.screen(), screen.screen(), "the screen is as without another reader");
    }
    Ok(())
}

proptest! {
    #![proptest_config(support::properties(200))]

    #[test]
    fn a_reader_sees_what_it_would_see_alone(steps in vec(step(), 1..40)) {
        hold(&steps)?;
    }
}

/// A reader that polls late misses nothing, and one that polls nothing keeps nobody waiting.
#[test]
fn events_wait_for_each_reader() {
    let mut run = Run::new(true, true);
    let late = run.engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: false });
    let mut seen = 0;
    for _ in 0..10 {
        run.attempt(2, 1);
        let output = run.output.expect("it has one");
        seen += run.engine.poll_events(output).count();
    }
    assert_eq!(seen, 10, "each once");
    assert_eq!(run.engine.poll_events(late).count(), 10, "all of them");
    assert_eq!(run.engine.poll_events(late).count(), 0, "once");
}

/// What a reader is added to has begun: it counts since the start, too, but gets the events from then on.
#[test]
fn a_late_reader_counts_since_the_start() {
    let mut run = Run::new(true, false);
    run.attempt(2, 1);
    let late = run.engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: false });
    run.attempt(2, 1);
    assert_eq!(run.engine.poll_events(late).count(), 1);
    let snapshot = run.snapshot(late, Query::default(), Span::SinceStart);
    assert_eq!((snapshot.total.counts.opened, snapshot.reported, snapshot.counted_ns), (2, 2, START));
}

/// What only time shows is due when the engine says so, and not before.
#[test]
fn the_engine_says_when_it_needs_the_time() {
    let mut run = Run::new(true, false);
    assert_eq!(run.engine.poll_timeout(), None, "nothing is waited for");
    run.attempt(2, 0);
    let mut reported = Vec::new();
    while let Some(now_ns) = run.engine.poll_timeout()
        && reported.is_empty()
    {
        run.engine.handle(Input::Time { now_ns: now_ns - 1 });
        let output = run.output.expect("it has one");
        assert_eq!(run.engine.poll_events(output).count(), 0, "before {now_ns}");
        run.engine.handle(Input::Time { now_ns });
        reported.extend(run.engine.poll_events(output).map(Event::time_ns));
    }
    assert_eq!(reported, [START + 7 * S], "given up 7 s after a single SYN");
    assert_eq!(run.engine.poll_timeout(), Some(START + 67 * S), "forgotten a minute later");
    run.engine.handle(Input::Time { now_ns: START + 67 * S });
    assert_eq!(run.engine.poll_timeout(), None);
}

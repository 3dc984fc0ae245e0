//! How many bytes a frame of the screen sends: it may travel over SSH.

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use support::stage::{Stage, context};
use support::{Connection, MS, Watched, v4, v6};
use tcptop::tui::view;

/// Upper bound of a frame on average, in bytes.
const LIMIT: usize = 4 << 10;
const FRAMES: usize = 20;

#[derive(Clone, Default)]
struct Sent(Arc<Mutex<usize>>);

impl Sent {
    fn bytes(&self) -> usize {
        *self.0.lock().expect("nothing under it panics")
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0.lock().expect("nothing under it panics") += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 200 connections a second with twelve peers, so that every figure changes all the time.
fn go_on(stage: &mut Stage, port: &mut u16) {
    for n in 0..50 {
        *port += 1;
        let began_ns = stage.now_ns + n * 5 * MS;
        let peer = match n % 12 {
            host @ 0..8 => v4(10, 20, 1, u8::try_from(host).expect("below 8"), 443),
            host => v6(&format!("2001:db8::{host}"), 443),
        };
        let connection = Connection::to(peer, *port);
        if n % 10 == 3 {
            stage.watched.see([connection.syn(began_ns), connection.rst_of_responder(began_ns + MS)]);
        } else {
            let rtt_ns = (1 + u64::from(*port) * 7 % 90) * 900_000;
            let packets = [
                connection.syn(began_ns),
                connection.syn_ack(began_ns + rtt_ns),
                connection.ack(began_ns + rtt_ns + 9_000),
            ];
            stage.watched.see(packets);
        }
    }
    stage.now_ns += 250 * MS;
    stage.watched.expire(stage.now_ns);
    stage.refresh();
}

fn average(keys: &[&str]) -> usize {
    let mut stage = Stage::new(Watched::new());
    let mut port = 1_000;
    go_on(&mut stage, &mut port);
    stage = stage.keys(keys);
    let sent = Sent::default();
    let viewport = Viewport::Fixed(Rect::new(0, 0, 80, 24));
    let options = TerminalOptions { viewport };
    let mut terminal =
        Terminal::with_options(CrosstermBackend::new(sent.clone()), options).expect("a counter takes all");
    let mut first = 0;
    for frame in 0..=FRAMES {
        go_on(&mut stage, &mut port);
        let draw = |frame: &mut ratatui::Frame<'_>| {
            view::draw(frame, &stage.model, &context());
        };
        terminal.draw(draw).expect("a counter takes all");
        if frame == 0 {
            first = sent.bytes();
        }
    }
    (sent.bytes() - first) / FRAMES
}

#[test]
fn a_frame_is_small() {
    for keys in [&[][..], &["2"], &["3"], &["4"], &["Enter"]] {
        let bytes = average(keys);
        println!("{keys:?}: {bytes} bytes a frame");
        assert!(bytes > 0 && bytes < LIMIT, "{keys:?}: {bytes} bytes a frame");
    }
}

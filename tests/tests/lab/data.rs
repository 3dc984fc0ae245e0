//! Data sent over a wire arrives complete.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;
use lab::{Direction, Kind, Link, Match, Medium, Mode, Rule, Script, Server, connect, far_v6, near_v6};

use super::{MS, PATIENCE, at};

fn send_and_get_back(link: &Link, len: u32) -> Result<()> {
    let server = Server::bind(&link.far, at(far_v6(20), 7), Mode::Echo)?;
    let sent: Vec<u8> = (0..len / 4).flat_map(u32::to_le_bytes).collect();
    let mut stream = connect(&link.near, Some(at(near_v6(2), 0)), server.address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    let mut received = Vec::new();
    thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(&sent).and_then(|()| writer.shutdown(Shutdown::Write)));
        stream.read_to_end(&mut received)?;
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    assert!(sent == received, "the data that came back differs from what was sent");
    Ok(())
}

#[test]
fn long_frames_are_carried_whole() {
    lab::needs_root!();
    let link = Link::over(Medium::LongFrames, Script::default().delay(MS)).unwrap();
    let len = 1_200_000;
    send_and_get_back(&link, len).unwrap();
    for way in [Direction::ToFar, Direction::ToNear] {
        let counters = link.wire.counters(way);
        assert!(counters.forwarded < u64::from(len / 1_500), "no more than fits the MTU: {counters:?}");
    }
}

#[test]
fn data_survives_a_bad_wire_whole() {
    lab::needs_root!();
    let data = Match::kind(Kind::Data);
    let script = Script::seeded(3)
        .delay(MS)
        .with(Rule::lose(data, 0.01))
        .with(Rule::duplicate(data, 0.05))
        .with(Rule::reorder(data, 0.05, 2 * MS));
    let link = Link::new(script).unwrap();
    send_and_get_back(&link, 1_200_000).unwrap();
    let counters = link.wire.counters(Direction::ToFar);
    assert!(counters.lost > 0 && counters.duplicated > 0 && counters.reordered > 0, "{counters:?}");
}

//! Hard case `mtu-black-hole`: a wire that swallows long frames without a word, and one that loses frames at random.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{Link, Match, Medium, NEAR, Object, Rule, Script, Tcptop, connect, near_v4, near_v6};

const PATIENCE: Duration = Duration::from_secs(120);
const EACH_WAY: Duration = Duration::from_millis(5);
/// An IP packet of more bytes is lost on its way; the interfaces have an MTU of 1,500.
const LONGEST: usize = 1_400;

/// A connection that the far end opens to the near one.
fn open(link: &Link, server: SocketAddr) -> [TcpStream; 2] {
    let listener = link.near.run(|| TcpListener::bind(server)).expect("a free port");
    let client = connect(&link.far, None, server, PATIENCE).expect("a connection");
    let (accepted, _) = listener.accept().expect("the connection");
    [client, accepted]
}

fn watch(link: &Link) -> Tcptop {
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn stuck(one: &Object) -> Option<u64> {
    if one.kind() == "retransmit" { one.number("stuck_segment_bytes") } else { None }
}

/// The server answers a small request by a large response, of which nothing of full size arrives.
#[test]
fn long_frames_that_vanish_are_said_in_words() {
    if !lab::require_root() {
        return;
    }
    for medium in [Medium::Ethernet, Medium::LongFrames] {
        let script = Script::default().delay(EACH_WAY).with(Rule::drop(Match::any().longer_than(LONGEST)));
        let link = Link::over(medium, script).expect("a link");
        let tcptop = watch(&link);
        for server in [(near_v4(1), 80).into(), (near_v6(1), 80).into()] {
            let [mut client, mut accepted] = open(&link, server);
            client.write_all(&[0x5a; 200]).expect("it is open");
            accepted.read_exact(&mut [0; 200]).expect("the request arrives");
            accepted.write_all(&[0x5a; 20_000]).expect("there is room for it");
            // The third retransmit is due after 1.4 s.
            let of_it =
                |objects: &[Object]| objects.iter().any(|one| one.local() == server && stuck(one).is_some());
            let said = (1..200).any(|count| {
                tcptop.wait_objects("retransmit", count, PATIENCE).is_ok_and(|objects| of_it(&objects))
            });
            assert!(said, "{medium:?}, {server}");
        }
        let objects = tcptop.stop(PATIENCE).expect("it ends well");
        let summary = objects.last().expect("a summary");
        assert_eq!(summary.number("stuck_connections"), Some(2), "{summary:?}");
        let sizes: Vec<u64> = objects.iter().filter_map(stuck).collect();
        assert!(sizes.iter().all(|size| (1_400..1_460).contains(size)), "{sizes:?}");
        let peers = objects.iter().filter(|one| one.kind() == "peer");
        assert!(peers.clone().all(|peer| peer.number("stuck_connections") == Some(1)), "{objects:?}");
        assert_eq!(peers.count(), 2);
    }
}

/// Frames of all sizes are lost in both directions, and so are whole super-segments.
#[test]
fn random_loss_is_no_black_hole() {
    const BYTES: usize = 1_500_000;
    if !lab::require_root() {
        return;
    }
    for (medium, seed) in [(Medium::Ethernet, 5), (Medium::LongFrames, 6)] {
        let script = Script::seeded(seed).delay(EACH_WAY).with(Rule::lose(Match::any(), 0.05));
        let link = Link::over(medium, script).expect("a link");
        let tcptop = watch(&link);
        let servers = [(near_v4(1), 80).into(), (near_v6(1), 80).into(), (near_v4(2), 80).into()];
        let all: Vec<[TcpStream; 2]> = servers.into_iter().map(|server| open(&link, server)).collect();
        thread::scope(|scope| {
            for [client, accepted] in &all {
                scope.spawn(move || {
                    let mut accepted: &TcpStream = accepted;
                    accepted.write_all(&vec![0x5a; BYTES]).expect("it is open");
                });
                scope.spawn(move || {
                    let bytes = u64::try_from(BYTES).expect("few");
                    let received = io::copy(&mut client.take(bytes), &mut io::sink()).expect("it is open");
                    assert_eq!(received, bytes);
                });
            }
        });
        drop(all);
        let objects = tcptop.stop(PATIENCE).expect("it ends well");
        let summary = objects.last().expect("a summary");
        assert!(summary.number("data_retransmits").expect("a count") > 30, "{summary:?}");
        assert_eq!(summary.number("stuck_connections"), Some(0), "{summary:?}");
        assert_eq!(objects.iter().find_map(stuck), None);
    }
}

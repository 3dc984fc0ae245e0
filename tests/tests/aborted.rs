//! Hard case `reset-after-connect`, on real connections: which resets are told from which by the records of the kernel
//! programs.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lab::{
    Link, Mode, NEAR, Namespace, Object, Script, Server, Tcptop, connect, far_v4, far_v6, near_v4, near_v6,
    reset,
};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 5000;
/// Connections of each kind.
const EACH: usize = 4;

/// A service that closes what it accepts: `close` decides when.
fn service(namespace: &Namespace, address: IpAddr, close: fn(&TcpStream)) -> JoinHandle<()> {
    let listener = namespace.run(|| TcpListener::bind(SocketAddr::new(address, PORT))).expect("a listener");
    thread::spawn(move || {
        for stream in listener.incoming().take(EACH) {
            close(&stream.expect("it is accepted"));
        }
    })
}

/// Closes with the request unread: the kernel sends a RST.
fn leave_unread(stream: &TcpStream) {
    stream.peek(&mut [0]).expect("a request");
}

/// Closes at once. The request comes later: the kernel answers it by a RST.
const fn close_at_once(_: &TcpStream) {}

fn ask(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // The other end may have closed already.
    thread::sleep(Duration::from_millis(60));
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the first write after a FIN succeeds");
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).is_err() || rest.is_empty(), "{rest:?}");
}

fn watch(link: &Link) -> Tcptop {
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn link() -> Link {
    Link::new(Script::default().delay(Duration::from_millis(10))).expect("a link")
}

/// Ends the run. Returns the peer and the summary.
fn end(tcptop: Tcptop) -> [Object; 2] {
    let mut objects = tcptop.stop(PATIENCE).expect("it ends well");
    objects.retain(|object| ["peer", "summary"].contains(&object.kind()));
    <[Object; 2]>::try_from(objects).expect("one peer")
}

fn assert_aborted(
    from: (&Namespace, IpAddr),
    to: (&Namespace, IpAddr),
    link: &Link,
    close: fn(&TcpStream),
    by: &str,
) {
    let service = service(to.0, to.1, close);
    let tcptop = watch(link);
    for _ in 0..EACH {
        let local = SocketAddr::new(from.1, 0);
        ask(connect(from.0, Some(local), SocketAddr::new(to.1, PORT), PATIENCE).expect("it is accepted"));
    }
    let closes = tcptop.wait_objects("close", EACH, PATIENCE).expect("all are reset");
    for close in &closes {
        assert_eq!(close.text("closed_by"), Some(by), "{close:?}");
        // The opener may close, too, before the RST comes.
        assert_eq!(close.flag("aborted"), close.text("outcome") == Some("reset"), "{close:?}");
    }
    // The RST may come one way behind the last FIN.
    thread::sleep(Duration::from_millis(200));
    let [peer, summary] = end(tcptop);
    assert_eq!(peer.number("aborted"), Some(EACH as u64), "{peer:?}");
    assert_eq!(summary.number("aborted"), Some(EACH as u64), "{summary:?}");
    let verdicts = peer.list("verdicts");
    assert!(verdicts.iter().any(|verdict| verdict.text("verdict") == Some("aborted")), "{peer:?}");
    service.join().expect("it ends");
}

#[test]
fn a_peer_and_this_host_reset_what_they_accept() {
    lab::needs_root!();
    let link = link();
    let near = (&link.near, near_v4(1));
    let far = (&link.far, far_v4(11));
    let near_v6 = (&link.near, near_v6(1));
    let far_v6 = (&link.far, far_v6(11));
    assert_aborted(near, far, &link, leave_unread, "remote");
    assert_aborted(far, near, &link, leave_unread, "local");
    assert_aborted(near_v6, far_v6, &link, close_at_once, "remote");
    assert_aborted(far_v6, near_v6, &link, close_at_once, "local");
}

/// Clients that end with a RST, and health checks.
#[test]
fn resets_of_the_opener_abort_nothing() {
    lab::needs_root!();
    let link = link();
    let server = Server::bind(&link.far, SocketAddr::new(far_v4(11), PORT), Mode::Echo).unwrap();
    let tcptop = watch(&link);
    for n in 0..2 * EACH {
        let mut stream = connect(&link.near, None, server.address(), PATIENCE).unwrap();
        if n % 2 == 0 {
            stream.write_all(b"hello").unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
        }
        reset(stream).unwrap();
    }
    let closes = tcptop.wait_objects("close", 2 * EACH, PATIENCE).unwrap();
    assert!(closes.iter().all(|close| close.text("outcome") == Some("reset")), "{closes:?}");
    assert!(closes.iter().all(|close| !close.flag("aborted")), "{closes:?}");
    let [peer, summary] = end(tcptop);
    assert_eq!((peer.number("aborted"), summary.number("aborted")), (Some(0), Some(0)), "{peer:?}");
    assert!(peer.list("verdicts").is_empty(), "{peer:?}");
}

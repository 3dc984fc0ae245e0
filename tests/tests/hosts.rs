//! Three hosts, one of them behind NAT: what their lines say together, by the SQL that is installed for it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{
    Direction, IpNet, Link, Match, Mode, Namespace, Rule, Script, Server, Signal, Tcptop, Wire, connect,
    connect_many, far_v4,
};
use serde_json::Value;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// One way from each client to the server, in milliseconds.
const FROM_A: u64 = 10;
const FROM_C: u64 = 80;
const CONNECTIONS: usize = 30;
/// What the server sees instead of the address of A.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 5);
/// A port whose SYN-ACKs are lost, and one whose SYNs are.
const DEAF: u16 = 81;
const FAR_OFF: u16 = 82;

/// Runs the SQL over some lines, and prints the rows of views as JSON.
const QUERY: &str = r#"
import duckdb, json, sys
connection = duckdb.connect()
connection.execute("SET VARIABLE files = ?", [sys.argv[2]])
connection.execute(open(sys.argv[1]).read())
answers = {}
for view in sys.argv[3:]:
    rows = connection.execute(f"SELECT * FROM {view}")
    names = [column[0] for column in rows.description]
    answers[view] = [dict(zip(names, row)) for row in rows.fetchall()]
print(json.dumps(answers, default=str))
"#;

/// The interpreter that has DuckDB, where `.ci/run` has made one.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("DUCKDB_PYTHON").map(PathBuf::from);
    assert!(named.is_some() || std::env::var_os("CI").is_none(), "DUCKDB_PYTHON, which .ci/run sets");
    if named.is_none() {
        println!("skipped: DUCKDB_PYTHON names no interpreter with the module duckdb");
    }
    named
}

/// A folder that goes away with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tcptop-hosts-{}", std::process::id()));
        fs::create_dir(&path).expect("a folder of its own");
        Self(path)
    }

    fn watch(&self, namespace: &Namespace, host: &str, interfaces: &[&str]) -> Tcptop {
        let output = format!("--output={}", self.0.join(host).with_extension("json").display());
        let options = ["--listen=127.0.0.1:0", &output, "--host", host];
        let arguments = ["serve"].iter().chain(interfaces).chain(&options);
        let tcptop = Tcptop::spawn(namespace, arguments).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it watches");
        tcptop
    }
}

impl Folder {
    /// Waits until so many lines of a host say something.
    fn wait(&self, host: &str, said: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let text = || fs::read_to_string(self.0.join(host).with_extension("json")).unwrap_or_default();
        while text().lines().filter(|line| line.contains(said)).count() < count {
            assert!(Instant::now() < deadline, "{host} does not say {said}: {}", text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn net(address: [u8; 4]) -> IpNet {
    IpNet::new(address.into(), 24).expect("no longer than the address")
}

/// What the views say, after the three hosts have talked.
fn answers(python: &Path) -> Value {
    let drops = |port| Match::any().port(port);
    let script = Script::seeded(1)
        .delay(Duration::from_millis(FROM_A))
        .with(Rule::drop(drops(DEAF).direction(Direction::ToNear)))
        .with(Rule::drop(drops(FAR_OFF)));
    let link = Link::new(script).expect("a wire from A to B");
    link.wire.masquerade(OUTSIDE);
    let c = Namespace::new().expect("a namespace");
    let script = Script::seeded(2).delay(Duration::from_millis(FROM_C));
    let _wire = Wire::between(&c, "near1", &link.far, "far1", script).expect("a wire from C to B");
    c.add_address("near1", net([10, 8, 0, 1])).expect("an address");
    link.far.add_address("far1", net([10, 8, 0, 10])).expect("an address");
    let serve = |address: IpAddr, port| {
        Server::bind(&link.far, (address, port).into(), Mode::CloseAtOnce).expect("a server")
    };
    let servers = [serve(far_v4(11), 80), serve([10, 8, 0, 10].into(), 80), serve(far_v4(11), DEAF)];
    let folder = Folder::new();
    let watching = [
        folder.watch(&link.near, "a", &["near0"]),
        folder.watch(&link.far, "b", &["far0", "far1"]),
        folder.watch(&c, "c", &["near1"]),
    ];
    for (client, server) in [(&link.near, &servers[0]), (&c, &servers[1])] {
        assert_eq!(
            connect_many(client, server.address(), CONNECTIONS, PATIENCE).expect("they connect"),
            CONNECTIONS
        );
    }
    let patience = Duration::from_secs(2);
    for port in [DEAF, FAR_OFF] {
        let remote: SocketAddr = (far_v4(11), port).into();
        assert!(connect(&link.near, None, remote, patience).is_err(), "nothing answers");
    }
    folder.wait("a", r#""outcome":"unanswered""#, 2);
    folder.wait("b", r#""outcome":"half_open""#, 1);
    for tcptop in watching {
        tcptop.signal(Signal::SIGTERM).expect("it runs");
        let output = tcptop.wait(PATIENCE).expect("it ends");
        assert!(output.status.success(), "{}", output.stderr);
    }
    query(python, &folder)
}

/// What the views say of the lines in the folder.
fn query(python: &Path, folder: &Folder) -> Value {
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/sql/fleet.sql");
    let views = ["worst_peers", "service_hours", "both_ends", "network_time", "unanswered_attempts"];
    let output = Command::new(python)
        .args(["-c", QUERY])
        .arg(sql)
        .arg(folder.0.join("*.json*"))
        .args(views)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn both_ends_of_a_connection_are_joined_through_nat() {
    if !lab::require_root() {
        return;
    }
    let Some(python) = python() else { return };
    let answers = answers(&python);
    let rows = |view: &str| answers[view].as_array().expect("rows").clone();
    // Every connection of both clients, each once, and through NAT those that are.
    let both_ends = rows("both_ends");
    let of = |host: &str| both_ends.iter().filter(|row| row["client_host"] == host).collect::<Vec<_>>();
    assert_eq!((both_ends.len(), of("a").len(), of("c").len()), (2 * CONNECTIONS, CONNECTIONS, CONNECTIONS));
    for row in of("a") {
        assert_eq!(
            (&row["client_ip"], &row["seen_ip"]),
            (&"10.9.0.1".into(), &OUTSIDE.to_string().into()),
            "{row}"
        );
        assert_eq!((&row["is_translated"], &row["server_host"]), (&true.into(), &"b".into()), "{row}");
    }
    assert!(of("c").iter().all(|row| row["is_translated"] == false && row["client_ip"] == "10.8.0.1"));
    // The time in the network is what the wires were told, both ways, and what the machine adds.
    let network = |host: &str| {
        let time = rows("network_time").into_iter().find(|row| row["client_host"] == host).expect("a row");
        assert_eq!(time["connections"].as_u64(), Some(CONNECTIONS as u64), "{time}");
        time["network_min_ms"].as_f64().expect("a time")
    };
    let (from_a, from_c) = (network("a"), network("c"));
    assert!(from_a >= 2.0 * FROM_A as f64 && from_c >= 2.0 * FROM_C as f64, "{from_a} {from_c}");
    assert!(from_a < 2.0 * FROM_C as f64, "{from_a}");
    // Of both unanswered attempts it is known how far the SYN came.
    let unanswered = rows("unanswered_attempts");
    let seen = |port: u16| {
        let row =
            unanswered.iter().find(|row| row["port"] == port).unwrap_or_else(|| panic!("{unanswered:?}"));
        row["seen_by"].clone()
    };
    assert_eq!((seen(DEAF), seen(FAR_OFF)), ("b".into(), Value::Null));
    let worst = &rows("worst_peers")[0];
    assert_eq!((worst["failed"].as_u64(), worst["attempts"].as_u64()), (Some(1), Some(1)), "{worst}");
    let hours = rows("service_hours");
    let of_clients = hours.iter().filter(|row| row["role"] == "client" && row["port"] == 80);
    let attempts: u64 = of_clients.filter_map(|row| row["attempts"].as_u64()).sum();
    assert_eq!(attempts, 2 * CONNECTIONS as u64, "{hours:?}");
}

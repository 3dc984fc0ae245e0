//! `cargo xtask conform`: compares tcptop with tcpdump and tshark.
//!
//! Each scene makes connections in the lab while tcpdump captures them. The output of `tcptop replay` is then compared
//! with tshark's, flow by flow, to the nanosecond. Where the two differ by design, a [`reason::Reason`] says why, and
//! its condition is checked on the packets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use bench::Bench;
use capture::Capture;
use compare::{Ledger, View};
use repeats::Score;
use report::Outcome;
use scenes::Scene;

mod attempt;
mod bench;
mod capture;
mod compare;
#[cfg(test)]
mod compare_tests;
mod copies;
mod earlier;
mod live;
mod ours;
mod reason;
#[cfg(test)]
mod reason_tests;
mod repeats;
#[cfg(test)]
mod repeats_tests;
mod report;
mod scenes;
mod tally;
mod traffic;
mod tshark;

/// How many scenes run at the same time: they mostly wait.
const AT_ONCE: usize = 3;
/// Addresses of the near host, where captures are made, as far as the scenes use them.
const LOCAL: [&str; 2] = ["10.9.0.0/29", "fd09::/125"];
/// The minimum number of retransmits reported by both, for precision and recall to mean anything.
const LEAST_RETRANSMITS: u64 = 3_000;
/// The minimum precision and recall of retransmits, whatever the reasons for the differences: some scenes are made to differ.
const LEAST_SHARE: f64 = 0.98;
/// The minimum share of packets in which tcptop agrees with the counters of their senders.
const LEAST_RIGHT: f64 = 0.99;

/// Compare tcptop with tcpdump and tshark, on captures made in network namespaces, as root
#[derive(Parser)]
#[command(name = "conform", bin_name = "cargo xtask conform")]
struct Args {
    /// Keep the captures in this folder; otherwise they are removed unless the comparison fails
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Run only scenes whose name contains this
    #[arg(long, value_name = "WORDS", conflicts_with = "live")]
    only: Option<String>,

    /// Seed for the packets that are lost, duplicated or delayed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Compare times measured live by tcptop and tcpdump on one interface instead; needs an idle machine
    #[arg(long)]
    live: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| {
        lab::program::require(&["tshark", "tcpdump"])?;
        compare_all(&args)
    })
}

fn compare_all(args: &Args) -> Result<()> {
    let folder = args.keep.clone();
    let folder =
        folder.unwrap_or_else(|| std::env::temp_dir().join(format!("tcptop-conform-{}", process::id())));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("{}\n{}", tshark::version()?, capture::version()?);
    let result = if args.live { live::run(&folder) } else { run_scenes(args, &folder) };
    result.with_context(|| format!("the captures are in {}", folder.display()))?;
    if args.keep.is_none() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn run_scenes(args: &Args, folder: &Path) -> Result<()> {
    let wanted = |scene: &Scene| args.only.as_ref().is_none_or(|words| scene.name.contains(words));
    let scenes: Vec<Scene> = scenes::all(args.seed).into_iter().filter(wanted).collect();
    ensure!(!scenes.is_empty(), "no scene has that in its name");
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    println!("{}", report::head());
    let (all, bad) = thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (next, scenes, sender) = (&next, &scenes, sender.clone());
            scope.spawn(move || work(scenes, folder, next, &sender));
        }
        drop(sender);
        show(&scenes, results.into_iter(), folder)
    });
    let total = all.values().fold(Outcome::default(), Outcome::and);
    println!("{}", report::line("all", &total));
    let by_scene = all.iter().map(|(index, outcome)| (scenes[*index].name, outcome.score));
    print!("{}{}", report::scores(by_scene, total.score), report::reasons(&total.ledger));
    ensure!(bad == 0, "{bad} of {} scenes do not conform", scenes.len());
    // Meaningless for a single scene: some wires break the assumptions of tshark.
    if args.only.is_none() { judge(total.score) } else { Ok(()) }
}

fn judge(score: Score) -> Result<()> {
    let (both, precision, recall) = (score.both, score.precision(), score.recall());
    ensure!(
        both >= LEAST_RETRANSMITS,
        "no more than {both} retransmits that both tell, of {LEAST_RETRANSMITS}"
    );
    ensure!(
        precision >= LEAST_SHARE && recall >= LEAST_SHARE,
        "retransmits: precision {precision:.4} and recall {recall:.4}, of {LEAST_SHARE} each"
    );
    let [ours, _] = score.right();
    ensure!(ours >= LEAST_RIGHT, "by the senders' own counters right in {ours:.4}, of {LEAST_RIGHT}");
    Ok(())
}

/// Runs scenes until none is left.
fn work(scenes: &[Scene], folder: &Path, next: &AtomicUsize, sender: &Sender<(usize, Result<Outcome>)>) {
    while let index = next.fetch_add(1, Ordering::Relaxed)
        && let Some(scene) = scenes.get(index)
        && sender.send((index, play(scene, folder))).is_ok()
    {}
}

/// Prints results as they arrive; returns them by the scene's index, and how many scenes failed.
fn show(
    scenes: &[Scene],
    results: impl Iterator<Item = (usize, Result<Outcome>)>,
    folder: &Path,
) -> (BTreeMap<usize, Outcome>, usize) {
    let mut all = BTreeMap::new();
    let mut bad = 0;
    for (index, result) in results {
        let scene = &scenes[index];
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("{}: {error:#}", scene.name);
                bad += 1;
                continue;
            }
        };
        println!("{}", report::line(scene.name, &outcome));
        if !outcome.is_good() {
            print!("{}", report::trouble(&outcome, &file(scene, folder)));
            bad += 1;
        }
        all.insert(index, outcome);
    }
    (all, bad)
}

fn file(scene: &Scene, folder: &Path) -> PathBuf {
    let name = scene.name.replace([' ', ','], "-").replace("--", "-");
    folder.join(format!("{name}.{}", if scene.pcapng { "pcapng" } else { "pcap" }))
}

/// Makes the connections of a scene, captures and compares them.
fn play(scene: &Scene, folder: &Path) -> Result<Outcome> {
    let file = file(scene, folder);
    let raw = if scene.pcapng { file.with_extension("pcap") } else { file.clone() };
    let bench = Bench::new(scene.conditions.clone())?;
    let capture = Capture::start(&bench.near, scene.plan, &raw)?;
    (scene.traffic)(&bench).context("the traffic failed")?;
    let packets = capture.stop()?;
    let wire = bench.counters();
    drop(bench);
    let empty = folder.join("settings");
    fs::create_dir_all(&empty)?;
    if scene.pcapng {
        tshark::to_pcapng(&raw, &file, &empty)?;
    }
    let theirs = tshark::read(&file, &empty)?;
    ensure!(theirs.packets == packets, "tshark reads {} of {packets} packets", theirs.packets);
    // A cooked capture has the direction of each packet.
    let unaided = if scene.plan.interface == "any" { View::Host } else { View::Observer };
    let (mut ledger, mut score) = (Ledger::default(), Score::default());
    for (view, local) in [(unaided, &[][..]), (View::Host, &LOCAL[..])] {
        let run = ours::replay(&file, local)?;
        ledger.add(&compare::compare(&theirs, &run, view));
        // The packets are the same each time, so they count once.
        score = repeats::compare(&mut ledger, &theirs, &run);
    }
    let attempts = compare::attempts(&theirs);
    let mut seen = tally::tally(&theirs, &attempts);
    tally::add_wire(&mut seen, &wire);
    let shortfalls = shortfalls(scene, &seen, &ledger);
    Ok(Outcome { packets, flows: attempts.len() as u64, ledger, score, shortfalls })
}

fn shortfalls(scene: &Scene, seen: &BTreeMap<tally::Seen, u64>, ledger: &Ledger) -> Vec<String> {
    let count = |what| seen.get(what).copied().unwrap_or_default();
    let few = scene.least.iter().filter(|(what, least)| count(what) < *least);
    let few = few.map(|(what, least)| format!("{what:?}: {} seen, {least} wanted", count(what)));
    let many = scene.never.iter().filter(|what| count(what) > 0);
    let many = many.map(|what| format!("{what:?}: {} seen, none wanted", count(what)));
    let idle = scene.reasons.iter().filter(|reason| !ledger.differing.contains_key(reason));
    let idle = idle.map(|reason| format!("no difference by `{}`, which was to show", reason.name()));
    few.chain(many).chain(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::reason::{REASONS, Reason};
    use super::{Scene, scenes};
    use std::collections::BTreeSet;

    /// A reason that no scene has to show could be obsolete.
    #[test]
    fn every_reason_has_its_scene() {
        let scenes = scenes::all(1);
        let shown: BTreeSet<Reason> = scenes.iter().flat_map(|scene| scene.reasons).copied().collect();
        assert_eq!(shown, REASONS.iter().map(|(reason, ..)| *reason).collect());
        assert!(REASONS.iter().zip(0..).all(|((reason, ..), place)| *reason as usize == place));
    }

    #[test]
    fn every_scene_has_its_file_and_something_to_show() {
        let scenes = scenes::all(1);
        let file = |scene: &Scene| super::file(scene, "".as_ref()).with_extension("");
        let files: BTreeSet<_> = scenes.iter().map(file).collect();
        assert_eq!(files.len(), scenes.len());
        assert!(scenes.iter().all(|scene| !scene.least.is_empty()));
    }
}

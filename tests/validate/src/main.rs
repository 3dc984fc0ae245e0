//! `cargo xtask validate`: tcptop's figures of a connection beside those of iperf3 and `ss`, of the same one at the same time.
//!
//! The sender's host is watched: by the wire, by the kernel's list of sockets, by events, and by `ss`. What they say has to agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lab::{Direction, FAR, Kind, Link, Match, NEAR, Namespace, Rule, Script};

use judge::Verdict;
use measure::Measured;

mod chart;
mod judge;
mod measure;

/// One way.
const DELAY: Duration = Duration::from_millis(10);
/// How often a scene is measured until all agrees.
const ATTEMPTS: u32 = 3;
/// Share of the segments with data that the wire loses.
const LOSS: f64 = 0.003;

/// Compare tcptop's figures with those of iperf3 and ss, in network namespaces, as root
#[derive(Parser)]
#[command(name = "validate", bin_name = "cargo xtask validate")]
struct Args {
    /// Draw what all sources say over time into this folder: six pictures for each congestion control
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,

    /// Congestion controls, with commas between; those that the kernel lacks are left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "cubic,bbr")]
    congestion: Vec<String>,

    /// Megabytes that are sent in each direction
    #[arg(long, value_name = "N", default_value_t = 16)]
    megabytes: u32,
}

/// Who sends, and how.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) congestion: String,
    /// Whether the host that opens the connection sends.
    pub(crate) is_client_sender: bool,
    pub(crate) megabytes: u32,
}

impl Scene {
    fn name(&self) -> String {
        let way = if self.is_client_sender { "sent" } else { "received" };
        format!("{}, {way}", self.congestion)
    }

    /// The wire, which loses data on its way from the sender.
    fn link(&self) -> Result<Link> {
        let way = if self.is_client_sender { Direction::ToFar } else { Direction::ToNear };
        let script = Script::seeded(5).delay(DELAY);
        Link::new(script.with(Rule::lose(Match::kind(Kind::Data).direction(way), LOSS)))
    }

    /// The host whose sockets send, and its interface.
    pub(crate) fn sender<'a>(&self, link: &'a Link) -> (&'a Namespace, &'static str) {
        if self.is_client_sender { (&link.near, NEAR) } else { (&link.far, FAR) }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| {
        lab::program::require(&["iperf3", "ss"])?;
        validate(&args)
    })
}

fn validate(args: &Args) -> Result<()> {
    let known = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .context("cannot read which congestion controls there are")?;
    let mut verdicts = Vec::new();
    for congestion in &args.congestion {
        if !known.split_whitespace().any(|name| name == congestion) {
            println!("skipped: this kernel has no {congestion}");
            continue;
        }
        for is_client_sender in [true, false] {
            let scene = Scene { congestion: congestion.clone(), is_client_sender, megabytes: args.megabytes };
            let (measured, judged) = measure(&scene)?;
            verdicts.extend(judged);
            if let Some(folder) = args.pictures.as_ref().filter(|_| is_client_sender) {
                draw(folder, congestion, &measured)?;
            }
        }
    }
    ensure!(!verdicts.is_empty(), "nothing was measured");
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    let wrong: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.agrees()).collect();
    ensure!(wrong.is_empty(), "{} of {} comparisons do not agree", wrong.len(), verdicts.len());
    println!("all {} comparisons agree", verdicts.len());
    Ok(())
}

/// Measures a scene, again where something differs: on a busy machine the last list may be long before the end.
fn measure(scene: &Scene) -> Result<(Measured, Vec<Verdict>)> {
    let mut attempt = 1;
    loop {
        let measured = measure::run(scene).with_context(|| scene.name())?;
        let judged = judge::judge(&scene.name(), &measured)?;
        if attempt == ATTEMPTS || judged.iter().all(Verdict::agrees) {
            return Ok((measured, judged));
        }
        let differing = judged.iter().filter(|verdict| !verdict.agrees());
        differing.for_each(|verdict| println!("attempt {attempt}: {verdict}"));
        attempt += 1;
    }
}

/// Six pictures: what each source says over time.
fn draw(folder: &Path, congestion: &str, measured: &Measured) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, title, unit) in measure::FIGURES {
        let lines: BTreeMap<&str, _> = measured
            .series
            .iter()
            .filter_map(|(source, figures)| Some((*source, figures.get(name)?)))
            .collect();
        let picture = chart::svg(&format!("{title} ({congestion})"), unit, &lines);
        let path = folder.join(format!("{congestion}-{name}.svg"));
        fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

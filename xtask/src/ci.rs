//! `cargo xtask ci`: what CI checks, from the cheapest step to the dearest.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{ebpf, screenshots, shell, test};

/// A step with the path of this program, which building the workspace may replace while it runs.
type Step = fn(&Path) -> Result<()>;

const STEPS: &[(&str, Step)] = &[
    ("fmt", |_| shell::call(&mut shell::cargo(["fmt", "--all", "--check"]))),
    ("clippy", |_| {
        let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        shell::call(&mut shell::cargo(clippy))
    }),
    ("deny", |_| deny()),
    ("ebpf --check", |_| ebpf::run(&ebpf::Args { check: true })),
    ("docs", |_| {
        let doc = ["doc", "--workspace", "--no-deps"];
        shell::call(shell::cargo(doc).env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("test", |_| test::run(&test::Args::default())),
    ("screenshots --check", |_| screenshots::run(&screenshots::Args::check())),
    // Processes of their own: where this is not root, they go on as sudo. Machines of CI are too noisy for limits.
    ("bench probe", |this| {
        shell::call(Command::new(this).args(["bench", "probe", "--rounds", "1", "--no-limits"]))
    }),
    ("bench ring", |this| {
        let once = ["bench", "ring", "--rounds", "1", "--seconds", "1", "--no-limits"];
        shell::call(Command::new(this).args(once))
    }),
    ("bench table", |this| {
        shell::call(Command::new(this).args(["bench", "table", "--rounds", "1", "--no-limits"]))
    }),
    ("bench tui", |this| {
        let few = ["--flows", "100000", "--rounds", "1", "--frames", "20", "--no-limits"];
        shell::call(Command::new(this).args(["bench", "tui"]).args(few))
    }),
    ("conform", |this| shell::call(Command::new(this).arg("conform"))),
    ("demo", demo),
    // That it runs: machines of CI are too busy for limits.
    ("bench host", |this| {
        let once = ["bench", "host", "--rounds", "1", "--seconds", "0.1", "--no-limits"];
        shell::call(Command::new(this).args(once))
    }),
];

pub(crate) fn run() -> Result<()> {
    let this = env::current_exe().context("cannot tell where xtask is; is /proc mounted?")?;
    let start = Instant::now();
    for (name, step) in STEPS {
        println!("==> {name}");
        let begin = Instant::now();
        step(&this).with_context(|| format!("ci stopped at step `{name}`"))?;
        println!("<== {name}: {:.1} s", begin.elapsed().as_secs_f32());
    }
    println!("ci: all {} steps passed in {:.0} s", STEPS.len(), start.elapsed().as_secs_f32());
    Ok(())
}

fn deny() -> Result<()> {
    let installed = shell::ask(&mut shell::cargo(["deny", "--version"])).is_some();
    match (installed, shell::in_ci()) {
        // Without `advisories`: that database is fetched from a git host, which CI does not reach. Run
        // `cargo deny check` by hand before a release.
        (true, _) => shell::call(&mut shell::cargo(["deny", "check", "bans", "licenses", "sources"])),
        (false, true) => bail!("cargo-deny is missing; .ci/run should have installed it"),
        (false, false) => {
            println!("skipped: no cargo-deny here; `cargo install --locked cargo-deny` gets it");
            Ok(())
        }
    }
}

/// The demo as it runs without a terminal, whoever started this.
fn demo(this: &Path) -> Result<()> {
    let mut demo = Command::new(this);
    let mut child = demo.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("the demo's output was not piped")?;
    io::copy(&mut output, &mut io::stdout())?;
    io::stdout().flush()?;
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo xtask demo` ended with {status}");
    }
    Ok(())
}

//! `cargo xtask ci`: what every change has to pass, cheapest steps first; and `cargo xtask nightly`: what takes too
//! long for that or needs an idle machine.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

/// A command in a process of its own: the lab's programs replace the xtask that starts them.
enum Step {
    Cargo(&'static str),
    Xtask(&'static str),
    /// The tests of properties, with many new cases.
    Properties,
}

use Step::{Cargo, Properties, Xtask};

/// CI machines are too noisy for limits, so benchmarks only have to run.
const CI: &[Step] = &[
    Cargo("fmt --all --check"),
    Cargo("clippy --workspace --all-targets -- -D warnings"),
    // Without `advisories`: that database is fetched from a git host, which CI does not reach. Run `cargo deny check` by
    // hand before a release.
    Cargo("deny check bans licenses sources"),
    Xtask("ebpf --check"),
    // That they can be published; what is packaged is built at night.
    Cargo(
        "package --allow-dirty --no-verify --quiet -p probe-common -p probe-host -p probe-ebpf -p tcptop-core -p tcptop",
    ),
    Cargo("doc --workspace --no-deps"),
    // Twice: a machine that others use, too, may starve a test of real traffic. Nightly runs have no second try.
    Xtask("test --twice"),
    Cargo("clippy --package tcptop --features otlp --lib --bins --test otlp -- -D warnings"),
    Cargo("test --package tcptop --features otlp --test otlp"),
    Xtask("screenshots --check"),
    Xtask("bench probe --rounds 1 --no-limits"),
    Xtask("bench ring --rounds 1 --seconds 1 --no-limits"),
    Xtask("bench table --rounds 1 --no-limits"),
    Xtask("bench tui --flows 100000 --rounds 1 --frames 20 --no-limits"),
    Xtask("bench host --rounds 1 --seconds 0.1 --no-limits"),
    Xtask("conform"),
    Xtask("demo --duration 10s -- --text --report"),
    Xtask("chaos --short --picture target/chaos.svg"),
    Xtask("vm"),
];

/// How many times in a row the tests have to pass.
const TIMES: usize = 10;

const CASES: &str = "20000";
const PROPERTIES: &str =
    "test --package tcptop --test properties --test readers --test windows --test snapshotter --test filter";

const NIGHTLY: &[Step] = &[
    Properties,
    Xtask("conform --seed 2"),
    Xtask("conform --seed 3"),
    Xtask("conform --seed 4"),
    Xtask("conform --live"),
    Xtask("bench probe"),
    Xtask("bench ring"),
    Xtask("bench table"),
    Xtask("bench tui"),
    Xtask("bench host"),
    Xtask("bench replay"),
    Xtask("dist"),
    Cargo(
        "package --allow-dirty --quiet -p probe-common -p probe-host -p probe-ebpf -p tcptop-core -p tcptop",
    ),
];

pub(crate) fn ci() -> Result<()> {
    run("ci", CI.iter())
}

pub(crate) fn nightly() -> Result<()> {
    run("nightly", [&Xtask("test"); TIMES].into_iter().chain(NIGHTLY))
}

fn run<'s>(name: &str, steps: impl Iterator<Item = &'s Step>) -> Result<()> {
    // Determined now: building the workspace may replace the file while this runs.
    let this = env::current_exe().context("cannot tell where xtask is; is /proc mounted?")?;
    let start = Instant::now();
    let mut passed = 0;
    for step in steps {
        let what = step.name();
        println!("==> {what}");
        let begin = Instant::now();
        step.run(&this).with_context(|| format!("{name} stopped at step `{what}`"))?;
        println!("<== {what}: {:.1} s", begin.elapsed().as_secs_f32());
        passed += 1;
    }
    println!("{name}: all {passed} steps passed in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

impl Step {
    fn name(&self) -> String {
        match self {
            Cargo(words) => format!("cargo {words}"),
            Xtask(words) => format!("cargo xtask {words}"),
            Properties => format!("TCPTOP_CASES={CASES} cargo {PROPERTIES}"),
        }
    }

    fn run(&self, this: &Path) -> Result<()> {
        match self {
            Cargo(words) if words.starts_with("deny") && !has_deny()? => Ok(()),
            Cargo(words) => {
                let mut cargo = shell::cargo(words.split(' '));
                shell::call(cargo.env("RUSTDOCFLAGS", "-D warnings").stdin(Stdio::null()))
            }
            Properties => {
                let mut cargo = shell::cargo(PROPERTIES.split(' '));
                shell::call(cargo.env("TCPTOP_CASES", CASES).stdin(Stdio::null()))
            }
            Xtask(words) => shell::call(Command::new(this).args(words.split(' ')).stdin(Stdio::null())),
        }
    }
}

fn has_deny() -> Result<bool> {
    let installed = shell::ask(&mut shell::cargo(["deny", "--version"])).is_some();
    if !installed && shell::in_ci() {
        bail!("cargo-deny is missing; .ci/run should have installed it");
    }
    if !installed {
        println!("skipped: no cargo-deny here; `cargo install --locked cargo-deny` gets it");
    }
    Ok(installed)
}

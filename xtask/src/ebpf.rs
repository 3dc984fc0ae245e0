//! `cargo xtask ebpf`: the kernel object that is committed beside its source.
//!
//! Building or testing tcptop needs no eBPF toolchain, because the object is committed. This command builds it, with
//! the same bytes in any folder; `--check` verifies that the committed object comes from the committed source.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{shell, test};
use stamp::Stamp;
use toolchain::Toolchain;

mod stamp;
mod strip;
mod toolchain;

const OBJECT: &str = "probe-ebpf/object/tcptop.bpf.o";
const STAMP: &str = "probe-ebpf/object/BUILD";
const TARGET: &str = "bpfel-unknown-none";

/// Variables of the calling cargo and of the user that must not reach this build: they would change its compiler, flags
/// or profile.
const DISTURBING: &[&str] = &[
    "AYA_BPF_TARGET_ARCH",
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build it elsewhere and fail if the committed object does not come from the committed source
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = shell::root();
    let sources = stamp::hash_sources(&root)?;
    if args.check {
        return check(&root, &sources);
    }

    let toolchain = toolchain::find()?;
    let fresh = build(&root, &toolchain)?;
    let object = root.join(OBJECT);
    if let Some(folder) = object.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let bytes = fs::copy(&fresh, &object).with_context(|| format!("cannot write {OBJECT}"))?;
    let stamp = Stamp::new(&toolchain, &sources, &object)?;
    fs::write(root.join(STAMP), stamp.to_string()).with_context(|| format!("cannot write {STAMP}"))?;
    println!("{OBJECT}: {bytes} bytes, by {}", stamp.toolchain());
    Ok(())
}

fn check(root: &Path, sources: &str) -> Result<()> {
    let text = fs::read_to_string(root.join(STAMP));
    let text =
        text.with_context(|| format!("cannot read {STAMP}; run `cargo xtask ebpf` and commit both files"))?;
    let committed = Stamp::parse(&text).with_context(|| format!("{STAMP}; run `cargo xtask ebpf`"))?;
    if committed.sources != sources {
        bail!(
            "{OBJECT} was built from other sources than those here ({STAMP} says {}, they are {sources}); \
             run `cargo xtask ebpf` and commit what it writes",
            committed.sources
        );
    }

    let sha256 = stamp::sha256(&root.join(OBJECT))?;
    if committed.sha256 != sha256 {
        bail!(
            "{OBJECT} is not the object that {STAMP} is about: sha256 {sha256}, not {}; run `cargo xtask ebpf` and \
             commit what it writes",
            committed.sha256
        );
    }

    let toolchain = toolchain::find()?;
    let fresh = build(root, &toolchain)?;
    let used = Stamp::new(&toolchain, sources, &fresh)?;
    if used.toolchain() == committed.toolchain() {
        return compare(&root.join(OBJECT), &fresh);
    }
    println!("The committed object was built by {}; here is {}.", committed.toolchain(), used.toolchain());
    println!("Their bytes need not be equal, so the probe's tests run on a fresh object instead.");
    let mut probe = test::command(["--package", "lab", "--test", "probe"])?;
    shell::call(probe.env("TCPTOP_PROBE_OBJECT", &fresh))
}

fn compare(committed: &Path, fresh: &Path) -> Result<()> {
    let old = fs::read(committed).with_context(|| format!("cannot read {OBJECT}; run `cargo xtask ebpf`"))?;
    let new = fs::read(fresh).with_context(|| format!("cannot read {}", fresh.display()))?;
    if old != new {
        let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        bail!(
            "{OBJECT} is not what its source gives by the same toolchain: {} bytes here, {} built, first \
             difference at byte {at}; run `cargo xtask ebpf` and commit what it writes",
            old.len(),
            new.len()
        );
    }
    println!("{OBJECT} is what its source gives, byte for byte.");
    Ok(())
}

/// Builds the object and returns its path. It has a folder of its own, because it needs another compiler than the rest
/// of the target directory.
fn build(root: &Path, toolchain: &Toolchain) -> Result<PathBuf> {
    let target = shell::target_dir()?.join("bpf");
    let mut cargo = toolchain.cargo();
    for (name, _) in env::vars_os() {
        let disturbs = |text: &str| DISTURBING.iter().any(|prefix| text.starts_with(prefix));
        if name.to_str().is_some_and(disturbs) {
            cargo.env_remove(&name);
        }
    }
    toolchain.choose(&mut cargo);
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--package", "probe-ebpf", "--bin", "tcptop-probe"])
        .args(["--features", "kernel", "--profile", "bpf", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root, toolchain)?.join("\u{1f}"));
    shell::call(&mut cargo)
        .with_context(|| format!("cannot build the kernel object by {}", toolchain.rustc_version))?;
    let object = target.join("tcptop.bpf.o");
    strip::strip(&target.join(TARGET).join("bpf/tcptop-probe"), &object, toolchain)?;
    Ok(object)
}

/// Compiler flags. Paths of this machine are replaced, because they end up in the debug information.
fn flags(root: &Path, toolchain: &Toolchain) -> Result<Vec<String>> {
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // By default aya-ebpf takes the host's architecture, on which the object must not depend.
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
    ];
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    // The last match wins: the workspace may be inside of the home folder.
    for index in registries()? {
        remap(&index, "/registry");
    }
    remap(&toolchain.sysroot.join("lib/rustlib/src/rust"), "/rust");
    remap(root, "tcptop");
    remap(&fs::canonicalize(root)?, "tcptop");
    Ok(flags)
}

/// Where cargo unpacks crates: one folder per index, whose name depends on the registry's URL.
fn registries() -> Result<Vec<PathBuf>> {
    let Some(sources) = toolchain::cargo_home().map(|home| home.join("registry/src")) else {
        return Ok(Vec::new());
    };
    let entries = fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    let mut indexes = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    indexes.sort();
    Ok(indexes)
}

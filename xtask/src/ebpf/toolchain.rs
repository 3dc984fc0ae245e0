//! Finds a compiler and linker that can build for the kernel.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

use super::TARGET;

const HOW_TO_GET_ONE: &str = "\
no toolchain for the kernel object was found. Two ways to get one:

  Debian's packages, which bring a core library for BPF:
    apt-get install rustc-web cargo-web libstd-rust-web-dev-bpf
  or a nightly that compiles the core library itself:
    rustup toolchain install nightly --component rust-src

Only `cargo xtask ebpf` needs this: plain `cargo build` uses the committed object.";

const HOW_TO_GET_LINKER: &str = "\
bpf-linker was found neither on PATH nor among cargo's programs. Its LLVM must be as new as the compiler's:

  with Debian's LLVM 22:
    apt-get install llvm-22-dev libpolly-22-dev libzstd-dev zlib1g-dev libxml2-dev
    LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22
  or, with an LLVM inside:
    cargo install bpf-linker";

/// A compiler and a linker for the kernel's target.
pub(super) struct Toolchain {
    rustc: PathBuf,
    pub(super) sysroot: PathBuf,
    /// Whether cargo has to compile the core library, because there is none for the target.
    build_core: bool,
    pub(super) rustc_version: String,
    pub(super) linker: PathBuf,
    pub(super) linker_version: String,
    /// Where the LLVM is installed that the linker loads, unless it is linked statically.
    pub(super) llvm: Option<PathBuf>,
}

/// Finds a compiler with a core library for the target, or else a nightly that can compile it.
pub(super) fn find() -> Result<Toolchain> {
    let linker = shell::on_path("bpf-linker").into_iter().next();
    let linker =
        linker.or_else(|| cargo_home().map(|home| home.join("bin/bpf-linker")).filter(|file| file.is_file()));
    let Some((rustc, build_core)) =
        with_core().map(|rustc| (rustc, false)).or_else(|| Some((nightly()?, true)))
    else {
        bail!(HOW_TO_GET_ONE);
    };
    let linker = linker.context(HOW_TO_GET_LINKER)?;
    let llvm = loaded_llvm(&linker);
    let linker_version =
        linker_version(&linker, llvm.as_deref()).context("`bpf-linker --version` fails; install it again")?;
    let sysroot = sysroot(&rustc).context("`rustc --print sysroot` fails")?;
    let rustc_version = shell::ask(command(&rustc).arg("--version")).context("`rustc --version` fails")?;
    Ok(Toolchain { rustc, sysroot, build_core, rustc_version, linker, linker_version, llvm })
}

impl Toolchain {
    /// The cargo next to the compiler.
    pub(super) fn cargo(&self) -> Command {
        Command::new(self.rustc.with_file_name("cargo"))
    }

    /// Makes cargo and its child processes use this compiler.
    pub(super) fn choose(&self, cargo: &mut Command) {
        let mut path = OsString::from(self.rustc.parent().unwrap_or(Path::new("")));
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        cargo.env("PATH", path).env("RUSTC", &self.rustc);
        // Lets a stable compiler accept unstable options.
        cargo.env("RUSTC_BOOTSTRAP", "1");
        if self.build_core {
            cargo.args(["-Z", "build-std=core"]);
        }
    }
}

/// Cargo's home folder.
pub(super) fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn with_core() -> Option<PathBuf> {
    let mut candidates = shell::on_path("rustc");
    candidates.push(PathBuf::from("/usr/bin/rustc"));
    candidates.into_iter().find_map(|rustc| {
        let sysroot = sysroot(&rustc)?;
        let libraries = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")).ok()?;
        let is_core = |name: OsString| name.to_string_lossy().starts_with("libcore-");
        if !libraries.flatten().any(|entry| is_core(entry.file_name())) {
            return None;
        }
        beside_cargo(&rustc, &sysroot)
    })
}

fn nightly() -> Option<PathBuf> {
    let toolchains = shell::ask(Command::new("rustup").args(["toolchain", "list"]))?;
    let names = toolchains.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).find_map(|name| {
        let sysroot = shell::ask(Command::new("rustup").args(["run", name, "rustc", "--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot);
        let source = sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        let rustc = sysroot.join("bin/rustc");
        if source.is_file() { beside_cargo(&rustc, &sysroot) } else { None }
    })
}

/// The compiler's binary in its sysroot: rustup's proxy depends on the environment, and has no cargo next to it.
fn beside_cargo(rustc: &Path, sysroot: &Path) -> Option<PathBuf> {
    let own = sysroot.join("bin/rustc");
    [own, rustc.to_path_buf()]
        .into_iter()
        .find(|rustc| rustc.is_file() && rustc.with_file_name("cargo").is_file())
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    shell::ask(command(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// A command without the calling cargo's library path, which is for another compiler.
fn command(rustc: &Path) -> Command {
    let mut command = Command::new(rustc);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// The versions of the linker and of the LLVM that it loads, which affects the bytes as much and is updated separately.
fn linker_version(linker: &Path, llvm: Option<&Path>) -> Option<String> {
    let own = shell::ask(command(linker).arg("--version"))?;
    let llvm = llvm.and_then(|llvm| shell::ask(Command::new(llvm.join("bin/llvm-config")).arg("--version")));
    Some(match llvm {
        Some(llvm) => format!("{own}, LLVM {llvm}"),
        None => own,
    })
}

fn loaded_llvm(linker: &Path) -> Option<PathBuf> {
    let libraries = shell::ask(Command::new("ldd").arg(linker).env_remove("LD_LIBRARY_PATH"))?;
    let library = libraries.lines().find(|line| line.contains("libLLVM"))?.split_whitespace().nth(2)?;
    Some(Path::new(library).parent()?.parent()?.to_path_buf())
}

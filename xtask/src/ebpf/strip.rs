//! Strips the debug information that only a debugger reads.
//!
//! The linker makes BTF from the compiler's debug information, and keeps both. BTF is what the kernel reads, and has
//! the source lines for the verifier's log; DWARF would be five sixths of the committed object.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

use super::toolchain::Toolchain;

const HOW_TO_GET_ONE: &str = "\
no objcopy that knows BPF was found. rustup's toolchains bring one (rust-objcopy), Debian has it in llvm-22:
    apt-get install llvm-22";

pub(super) fn strip(linked: &Path, stripped: &Path, toolchain: &Toolchain) -> Result<()> {
    let mut objcopy = find(toolchain).context(HOW_TO_GET_ONE)?;
    shell::call(objcopy.arg("--strip-debug").arg(linked).arg(stripped))
}

/// Finds the objcopy of the LLVM in use, or else any: their output does not differ.
fn find(toolchain: &Toolchain) -> Option<Command> {
    let beside_linker = toolchain.llvm.as_ref().map(|llvm| llvm.join("bin/llvm-objcopy"));
    let llvm = beside_linker.filter(|file| file.is_file());
    if let Some(file) = llvm.or_else(|| shell::on_path("llvm-objcopy").into_iter().next()) {
        let mut command = Command::new(file);
        command.env_remove("LD_LIBRARY_PATH");
        return Some(command);
    }
    let default = shell::ask(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from);
    [Some(toolchain.sysroot.clone()), default].into_iter().flatten().find_map(|sysroot| in_sysroot(&sysroot))
}

/// rustup's objcopy is in a folder named after the host, and its library in the sysroot.
fn in_sysroot(sysroot: &Path) -> Option<Command> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    let mut files = hosts.flatten().map(|host| host.path().join("bin/rust-objcopy"));
    let mut command = Command::new(files.find(|file| file.is_file())?);
    command.env("LD_LIBRARY_PATH", sysroot.join("lib"));
    Some(command)
}

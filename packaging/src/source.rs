//! What is built: where it lies, which version it is, and when it was committed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::output;

/// Seconds since 1970 of a source that has no commit: 1980, the first year that every archive can hold.
const NO_COMMIT: u64 = 315_532_800;

/// The source and its build folder.
pub(crate) struct Source {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) version: &'static str,
    /// When it was committed, in seconds since 1970: the time of every file that is made (`SOURCE_DATE_EPOCH`).
    pub(crate) epoch: u64,
}

impl Source {
    pub(crate) fn new() -> Result<Self> {
        let root = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = root.parent().context("the workspace has no folder")?.to_path_buf();
        let this = env::current_exe().context("cannot tell where this program is")?;
        let target = this.parent().and_then(Path::parent).context("this program is in no build folder")?;
        let target = target.to_path_buf();
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch.parse().context("SOURCE_DATE_EPOCH is no number of seconds")?,
            Err(_) => committed(&root).unwrap_or(NO_COMMIT),
        };
        Ok(Self { root, target, version: env!("CARGO_PKG_VERSION"), epoch })
    }
}

fn committed(root: &Path) -> Option<u64> {
    let mut git = Command::new("git");
    output(git.args(["log", "-1", "--format=%ct"]).current_dir(root)).ok()?.trim().parse().ok()
}

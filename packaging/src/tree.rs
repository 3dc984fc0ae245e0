//! The files of an installation, as they lie under the root folder.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use crate::binary::Target;
use crate::source::Source;
use crate::{call, completions, manual};

const LICENSES: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "LICENSE-GPL-2.0", "README.md"];

/// The service: its unit, and where its options stand.
const SERVICE: [(&str, &str); 2] = [
    ("packaging/systemd/tcptop.service", "usr/lib/systemd/system/tcptop.service"),
    ("packaging/systemd/tcptop.default", "etc/default/tcptop"),
];

/// Lays the files of an installation under `root`, which is emptied before.
pub(crate) fn lay(root: &Path, binary: &Path, source: &Source) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    write(root, "usr/bin/tcptop", &bytes, 0o755, source)?;
    for name in LICENSES {
        let bytes = fs::read(source.root.join(name)).with_context(|| format!("cannot read {name}"))?;
        write(root, &format!("usr/share/doc/tcptop/{name}"), &bytes, 0o644, source)?;
    }
    for (from, to) in SERVICE {
        let bytes = fs::read(source.root.join(from)).with_context(|| format!("cannot read {from}"))?;
        write(root, to, &bytes, 0o644, source)?;
    }
    write(root, "etc/tcptop.toml", tcptop::config_file::template().as_bytes(), 0o644, source)?;
    documents(root, source)
}

/// The man page and the completions.
pub(crate) fn documents(root: &Path, source: &Source) -> Result<()> {
    write(root, "usr/share/man/man8/tcptop.8.gz", &compressed(&manual::page()?)?, 0o644, source)?;
    for (shell, path) in completions::SHELLS {
        write(root, path, &completions::text(shell), 0o644, source)?;
    }
    Ok(())
}

/// Packs the tree as it is, for hosts without a package manager. The same tree gives the same bytes.
pub(crate) fn archive(tree: &Path, out: &Path, target: Target, source: &Source) -> Result<PathBuf> {
    let file = out.join(format!("tcptop-{}-linux-{}.tar.gz", source.version, target.name()));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"]);
    // gzip writes the time of packing into its header, unless it is told not to.
    tar.arg(format!("--mtime=@{}", source.epoch)).args(["--use-compress-program=gzip --no-name", "--create"]);
    call(tar.arg("--file").arg(&file).arg("--directory").arg(tree).args(["etc", "usr"]))?;
    Ok(file)
}

/// Writes a file, as old as the commit.
fn write(root: &Path, path: &str, bytes: &[u8], mode: u32, source: &Source) -> Result<()> {
    let path = root.join(path);
    let folder = path.parent().context("a file in no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).context("cannot set permissions")?;
    let committed = SystemTime::UNIX_EPOCH + Duration::from_secs(source.epoch);
    File::open(&path).and_then(|file| file.set_modified(committed)).context("cannot set times")
}

/// gzip without name and time.
fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes).context("cannot compress")?;
    gzip.finish().context("cannot compress")
}

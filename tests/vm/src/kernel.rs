//! Kernels: as files, or as packages of Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// Suites of Debian that have a kernel of this version.
const SUITES: [(&str, &str); 4] =
    [("6.1", "bookworm"), ("6.12", "trixie"), ("6.18", "trixie-backports"), ("7.3", "trixie-backports")];

/// A kernel, and its modules where it has any.
pub(crate) struct Kernel {
    /// A bzImage.
    pub(crate) image: PathBuf,
    /// A folder with `lib/modules`.
    pub(crate) folder: Option<PathBuf>,
}

impl Kernel {
    /// The kernel at this path, or Debian's of this version, which is downloaded into `folder` once.
    pub(crate) fn find(name: &str, folder: &Path) -> Result<Self> {
        let path = Path::new(name);
        if path.is_file() {
            return Ok(Self { image: path.to_owned(), folder: None });
        }
        if path.is_dir() {
            return Self::in_folder(path);
        }
        let unpacked = folder.join("kernels").join(name);
        if !unpacked.is_dir() {
            download(name, &unpacked, folder).with_context(|| format!("cannot get a kernel {name}"))?;
        }
        Self::in_folder(&unpacked)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let images = [folder.to_owned(), folder.join("boot")].into_iter().flat_map(entries);
        let image = images
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")));
        let image = image.with_context(|| format!("no vmlinuz in {}", folder.display()))?;
        Ok(Self { image, folder: Some(folder.to_owned()) })
    }

    /// The files of these modules and of what they need, in the order to load them. What is built in is left out.
    pub(crate) fn modules(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let modules = entries(folder.join("lib/modules")).pop().context("no modules in lib/modules")?;
        let version = modules.file_name().context("a version")?.to_string_lossy().into_owned();
        let mut files = Vec::new();
        for module in wanted {
            let mut modprobe = Command::new(shell::on_path("modprobe").context("kmod is not installed")?);
            modprobe.arg("--dirname").arg(folder).args(["--set-version", &version, "--show-depends", module]);
            // It fails for what is no module of this kernel; then a test says what is missing.
            let said = shell::output(&mut modprobe).unwrap_or_default();
            let paths = said.lines().filter_map(|line| line.strip_prefix("insmod "));
            let paths = paths.filter_map(|path| path.split_whitespace().next()).map(PathBuf::from);
            for path in paths {
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }
}

fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Downloads Debian's packages by apt, with a configuration of its own, and unpacks them.
fn download(name: &str, unpacked: &Path, folder: &Path) -> Result<()> {
    let suite = SUITES.iter().find(|(version, _)| *version == name).map(|(_, suite)| *suite);
    let known = SUITES.map(|(version, _)| version).join(", ");
    let suite = suite.with_context(|| format!("known are {known}, and paths"))?;
    let apt = folder.join("apt").join(suite);
    let config = configure(&apt, suite)?;
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &config).current_dir(&apt).args(words);
        shell::output(&mut command)
    };
    run("apt-get", &["--quiet=2", "update"])?;
    let pattern = format!("^linux-(image|binary|modules)-{}\\..*-cloud-amd64$", name.replace('.', "\\."));
    let listed = run("apt-cache", &["search", "--names-only", &pattern])?;
    let packages = newest(listed.lines().filter_map(|line| line.split_whitespace().next()));
    ensure!(!packages.is_empty(), "{suite} has none");
    // Where the image is in a package of its own, that of its name only refers to it.
    for package in packages {
        println!("downloading {package}");
        run("apt-get", &["--quiet=2", "download", package])?;
        let files = entries(apt.clone()).into_iter().filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        });
        let partial = unpacked.with_extension("partial");
        fs::create_dir_all(&partial)?;
        for file in files {
            shell::output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&partial))?;
        }
    }
    let partial = unpacked.with_extension("partial");
    // Newer packages have their modules below usr.
    if !partial.join("lib").is_dir() {
        fs::rename(partial.join("usr/lib"), partial.join("lib"))?;
    }
    let modules = entries(partial.join("lib/modules")).pop().context("no modules in the packages")?;
    let version = modules.file_name().context("a version")?;
    let depmod = shell::on_path("depmod").context("kmod is not installed")?;
    shell::output(Command::new(depmod).arg("--basedir").arg(&partial).arg(version))?;
    fs::rename(&partial, unpacked)?;
    Ok(())
}

/// Of all versions the packages of the newest.
fn newest<'p>(packages: impl Iterator<Item = &'p str>) -> Vec<&'p str> {
    let version = |package: &str| -> Vec<u32> {
        package.split(|sign: char| !sign.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let packages: Vec<_> = packages.collect();
    let newest = packages.iter().map(|package| version(package)).max();
    packages.into_iter().filter(|package| Some(version(package)) == newest).collect()
}

/// Writes the configuration, with one suite, and nothing of this machine but the keys of Debian's archive.
fn configure(apt: &Path, suite: &str) -> Result<PathBuf> {
    for folder in ["etc", "state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={key}] http://deb.debian.org/debian {suite} main\n");
    fs::write(apt.join("sources.list"), source)?;
    let (config, apt) = (apt.join("apt.conf"), apt.display());
    let text = format!(
        "Dir::Etc \"{apt}/etc\";\nDir::Etc::SourceList \"{apt}/sources.list\";\nDir::Etc::SourceParts \"-\";\n\
         Dir::State \"{apt}/state\";\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{apt}/cache\";\n\
         APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n"
    );
    fs::write(&config, text)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_packages_are_chosen() {
        let listed = ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64"];
        assert_eq!(newest(listed.into_iter()), ["linux-image-6.1.0-50-cloud-amd64"]);
        let split = ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"];
        assert_eq!(newest(split.into_iter()), split);
    }
}

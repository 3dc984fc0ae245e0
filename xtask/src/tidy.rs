//! `cargo xtask tidy`: what the compiler does not check about the shape of the source.
//!
//! Long functions and `unwrap` are not looked for here: clippy does it, set up in `Cargo.toml`.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

mod imports;
mod manifest;
mod rules;

/// Above this, a file has more than one subject.
const MOST_LINES: usize = 400;

/// Something to mend, and where.
struct Finding {
    file: PathBuf,
    line: usize,
    text: String,
}

impl Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let mut files = Vec::new();
    rust_files(&root, Path::new(""), &mut files)?;
    files.sort();

    let workspace = read(&root, Path::new("Cargo.toml"))?;
    let mut findings = check_manifests(&root, &workspace)?;
    findings.extend(check_sources(&root, &files, &manifest::crates(&workspace))?);
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing found", files.len());
            Ok(())
        }
        1 => bail!("1 finding in {} files", files.len()),
        count => bail!("{count} findings in {} files", files.len()),
    }
}

fn check_manifests(root: &Path, workspace: &str) -> Result<Vec<Finding>> {
    let members = manifest::members(workspace);
    let members = members.iter().map(|member| read(root, &Path::new(member).join("Cargo.toml")));
    let unused = manifest::unused(workspace, &members.collect::<Result<Vec<_>>>()?);
    let finding = |(line, name)| Finding {
        file: "Cargo.toml".into(),
        line,
        text: format!("{name}: no member uses this dependency of the workspace"),
    };
    Ok(unused.into_iter().map(finding).collect())
}

fn check_sources(root: &Path, files: &[PathBuf], crates: &[String]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut scans = Vec::new();
    for file in files {
        let source = read(root, file)?;
        let lines = source.lines().count();
        if lines > MOST_LINES {
            let text = format!("{lines} lines, at most {MOST_LINES} are allowed: split it by subject");
            findings.push(Finding { file: file.clone(), line: MOST_LINES + 1, text });
        }
        if rules::concern(file) {
            scans.push((file, imports::scan(file, &source, crates)?));
        }
    }

    // That a file is for tests is written in the file above it.
    let test_modules: Vec<PathBuf> = scans.iter().flat_map(|(_, scan)| scan.test_modules.clone()).collect();
    for (file, scan) in &mut scans {
        let module = file.with_extension("");
        if test_modules.iter().any(|test| module.starts_with(test)) {
            scan.imports.iter_mut().for_each(|import| import.in_test = true);
        }
        findings.extend(rules::check(file, &scan.imports));
    }
    Ok(findings)
}

fn rust_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let full = root.join(folder);
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = folder.join(&name);
        if entry.file_type()?.is_dir() {
            // Each folder with this tag is made by cargo and may hold generated source.
            let made_by_cargo = root.join(&path).join("CACHEDIR.TAG").exists();
            if !made_by_cargo && name != "target" && !name.to_string_lossy().starts_with('.') {
                rust_files(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))
}

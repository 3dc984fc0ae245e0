//! The bill of materials: what is compiled into the binary, in CycloneDX.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::output;
use crate::source::Source;

/// What `cargo metadata` says of all packages that could be compiled.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for the crates of this workspace.
    source: Option<String>,
}

/// Writes it.
pub(crate) fn write(source: &Source, out: &Path) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let compiled = output(Command::new(&cargo).current_dir(&source.root).args([
        "tree",
        "--locked",
        "--package",
        "tcptop",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let metadata = output(Command::new(&cargo).current_dir(&source.root).args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
    ]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata is not as expected")?;
    let file = out.join(format!("tcptop-{}.cdx.json", source.version));
    let bill = bill(source.version, &compiled_packages(&compiled), &metadata);
    fs::write(&file, serde_json::to_string_pretty(&bill)? + "\n")
        .context("cannot write the bill of materials")?;
    Ok(file)
}

/// Names and versions in lines such as `clap v4.6.0 (*)`.
fn compiled_packages(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines().filter_map(name_and_version).collect()
}

fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" v")?;
    Some((name, rest.split(' ').next()?))
}

fn bill(version: &str, compiled: &BTreeSet<(&str, &str)>, metadata: &Metadata) -> Value {
    let is_compiled =
        |package: &&Package| compiled.contains(&(package.name.as_str(), package.version.as_str()));
    let mut packages: Vec<&Package> =
        metadata.packages.iter().filter(|package| package.source.is_some()).filter(is_compiled).collect();
    packages.sort_by_key(|package| (&package.name, &package.version));
    let component = |package: &&Package| {
        let purl = format!("pkg:cargo/{}@{}", package.name, package.version);
        json!({
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "licenses": package.license.iter().map(|license| json!({ "expression": license })).collect::<Vec<_>>(),
            "purl": purl,
        })
    };
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "name": "tcptop", "version": version } },
        "components": packages.iter().map(component).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_names_what_is_compiled_and_nothing_else() {
        let tree = "tcptop v0.1.0 (/tcptop/app)\nclap v4.6.0\nlibc v0.2.1 (*)\n\n";
        let compiled = compiled_packages(tree);
        assert_eq!(compiled, BTreeSet::from([("tcptop", "0.1.0"), ("clap", "4.6.0"), ("libc", "0.2.1")]));
        let package = |name: &str, version: &str, source: Option<&str>| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some("MIT".to_owned()),
            source: source.map(str::to_owned),
        };
        let packages = vec![
            package("libc", "0.2.1", Some("registry")),
            package("clap", "3.0.0", Some("registry")),
            package("clap", "4.6.0", Some("registry")),
            package("tcptop", "0.1.0", None),
        ];
        let bill = bill("0.1.0", &compiled, &Metadata { packages });
        let names: Vec<&Value> =
            bill["components"].as_array().unwrap().iter().map(|component| &component["purl"]).collect();
        assert_eq!(names, ["pkg:cargo/clap@4.6.0", "pkg:cargo/libc@0.2.1"]);
    }
}

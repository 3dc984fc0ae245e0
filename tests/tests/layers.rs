//! What neither Cargo nor clippy checks about the shape of the workspace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Records come from `source`, `output` writes and `tui` shows them; they meet in `live.rs` and `replay.rs`. What is written
/// does not depend on options or on the screen.
const LAYERS: [(&str, &[&str]); 3] = [
    ("source", &["output", "tui", "session", "live", "replay"]),
    ("output", &["source", "session", "live", "replay", "config", "tui"]),
    ("tui", &["source", "session", "live", "replay"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the lab is in the workspace").to_path_buf()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = paths.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn sources_and_readers_do_not_import_each_other() {
    for (layer, forbidden) in LAYERS {
        let files = rust_files(&root().join("app/src").join(layer));
        assert!(!files.is_empty(), "no file in {layer}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            // Imports of several modules in one `use` would hide from the search below.
            assert!(!text.contains("crate::{"), "{}: import each module by itself", file.display());
            for module in forbidden {
                let import = format!("crate::{module}");
                assert!(!text.contains(&import), "{}: {layer} must not use {import}", file.display());
            }
        }
    }
}

/// The modules of a flat crate that a file uses, comments aside.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let name = |rest: &str| {
        rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default().to_owned()
    };
    code.flat_map(|line| line.split("crate::").skip(1).map(name)).filter(|name| !name.is_empty()).collect()
}

/// The kernel programs are made of `probe-common`: whoever reads one of its modules can stop at those that it uses.
#[test]
fn modules_of_probe_common_depend_in_one_direction() {
    let mut modules: Vec<(String, BTreeSet<String>)> = rust_files(&root().join("probe-common/src"))
        .into_iter()
        .map(|file| {
            (file.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(file).unwrap())
        })
        .map(|(name, text)| (name, used_modules(&text)))
        .collect();
    assert!(modules.iter().any(|(name, used)| name == "record" && used.contains("process")), "{modules:?}");
    while !modules.is_empty() {
        let free: Vec<String> =
            modules.iter().filter(|(_, used)| used.is_empty()).map(|(name, _)| name.clone()).collect();
        assert!(!free.is_empty(), "these use each other: {modules:?}");
        modules.retain(|(name, _)| !free.contains(name));
        modules.iter_mut().for_each(|(_, used)| used.retain(|name| !free.contains(name)));
    }
}

/// The names in a table of dependencies.
fn names(table: Option<&Value>) -> impl Iterator<Item = String> + '_ {
    table.and_then(Value::as_table).into_iter().flat_map(Table::keys).cloned()
}

#[test]
fn every_dependency_of_the_workspace_is_used_by_a_member() {
    let manifest = |folder: PathBuf| -> Table {
        fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
    };
    let all = manifest(root());
    let workspace = all["workspace"].as_table().unwrap();
    let mut unused: BTreeSet<String> = names(workspace.get("dependencies")).collect();
    for member in workspace["members"].as_array().unwrap() {
        let member = manifest(root().join(member.as_str().unwrap()));
        let targets = member.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
        let tables = targets.filter_map(Value::as_table).chain([&member]);
        for table in tables {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                unused.retain(|name| !names(table.get(kind)).any(|used| used == *name));
            }
        }
    }
    assert_eq!(unused, BTreeSet::new());
}

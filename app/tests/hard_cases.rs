//! `docs/hard-cases.md` is complete: every name that is cited is there, and every test that it names exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lab::scenario;

/// A case of the list.
#[derive(Debug, Default)]
struct Case {
    /// Folders of scenarios, files of tests that cite it, and `file: test`.
    held_by: Vec<String>,
    open: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cases() -> BTreeMap<String, Case> {
    let text = fs::read_to_string(root().join("docs/hard-cases.md")).expect("the list");
    let sections = text.split("\n### ").skip(1).map(|section| {
        let (name, body) = section.split_once('\n').expect("a body");
        let body = body.split("\n## ").next().expect("one at least");
        assert!(body.contains("- Wrong: ") && body.contains("- Right: "), "{name}");
        let holders = body.split_once("- Held by: ").map_or("", |(_, holders)| holders);
        let held_by = holders.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.to_owned(), Case { held_by, open: body.contains("- Open") })
    });
    sections.collect()
}

#[test]
fn every_case_is_held_by_tests_that_exist_or_is_open() {
    let cases = cases();
    assert!(cases.len() > 50, "{cases:?}");
    for (name, case) in &cases {
        assert_ne!(case.open, !case.held_by.is_empty(), "{name}: either open, or held by tests");
        for holder in &case.held_by {
            let (path, test) = holder.split_once(": ").unwrap_or((holder, ""));
            let path = root().join(path);
            if holder.ends_with('/') {
                assert!(path.is_dir() && path.ends_with(name), "{name}: no scenarios in {holder}");
                continue;
            }
            let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{holder}: {error}"));
            if test.is_empty() {
                assert!(citations(&source).contains(&name.as_str()), "{holder} does not cite {name}");
            } else {
                assert!(source.contains(&format!("fn {test}(")), "{name}: no test {holder}");
            }
        }
    }
}

#[test]
fn scenarios_are_about_cases_that_name_them() {
    let cases = cases();
    for scenario in scenario::all().expect("well-formed") {
        for case in scenario.hard_cases() {
            assert!(cases.contains_key(case), "{}: `{case}` is not in the list", scenario.name);
        }
        let folder = scenario.hard_cases().next().expect("its folder");
        let held_by = format!("tests/scenarios/{folder}/");
        assert!(cases[folder].held_by.contains(&held_by), "{folder}: held by {held_by}");
    }
}

/// A comment cites a case by "hard case" and its name in backticks; "and" and commas join several.
#[test]
fn cited_cases_exist_and_are_not_open() {
    let cases = cases();
    let mut cited = 0;
    for path in ["app", "probe-common", "probe-ebpf", "tests", "xtask"].map(|part| root().join(part)) {
        for file in rust_files(&path) {
            let source = fs::read_to_string(&file).expect("a source file");
            for name in citations(&source) {
                let case = cases.get(name);
                let case = case.unwrap_or_else(|| panic!("{}: `{name}` is not in the list", file.display()));
                assert!(!case.open, "{}: cites `{name}`, which is open in the list", file.display());
                cited += 1;
            }
        }
    }
    assert!(cited > 40, "{cited}");
}

fn citations(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (at, words) in source.match_indices("ard case") {
        let mut rest =
            source[at + words.len()..].trim_start_matches('s').trim_start_matches([' ', '\n', '/']);
        assert!(!rest.starts_with(|next: char| next.is_ascii_digit()), "cite it by its name: {rest:.40}");
        while let Some((name, after)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
            names.push(name);
            rest = after.strip_prefix(" and ").or_else(|| after.strip_prefix(", ")).unwrap_or_default();
        }
    }
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true if path.ends_with("target") => Vec::new(),
            true => rust_files(&path),
            false => vec![path]
                .into_iter()
                .filter(|path| path.extension().is_some_and(|end| end == "rs"))
                .collect(),
        })
        .collect()
}

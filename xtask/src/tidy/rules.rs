//! Who may use what. The table is the architecture: imports point only to the left in
//! `probe-common → flow → snapshot → sinks`, and what stands left of the sinks is pure.

use std::path::Path;

use super::Finding;
use super::imports::Import;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "probe-common stands alone",
        files: &["probe-common/src"],
        limit: Limit::OnlyCrates(&["core"]),
        tests_too: false,
        why: "probe-common also runs in the kernel: nothing but core",
    },
    Rule {
        name: "flow's modules",
        files: &["app/src/flow"],
        limit: Limit::OnlyModules(&["flow"]),
        tests_too: true,
        why: "imports point to the left: flow uses nothing of the app but itself",
    },
    Rule {
        name: "flow's crates",
        files: &["app/src/flow"],
        limit: Limit::OnlyCrates(&[
            "alloc",
            "core",
            "fnv",
            "hashbrown",
            "hdrhistogram",
            "probe_common",
            "std",
        ]),
        tests_too: false,
        why: "flow is pure: probe_common, hash tables and histograms are all it needs",
    },
    Rule {
        name: "snapshot's modules",
        files: &["app/src/snapshot"],
        limit: Limit::OnlyModules(&["flow", "snapshot"]),
        tests_too: true,
        why: "imports point to the left: of the app, snapshot uses only flow",
    },
    Rule {
        name: "purity",
        files: &["app/src/flow", "app/src/snapshot"],
        limit: Limit::Not(IMPURE),
        tests_too: false,
        why: "flow and snapshot are pure: time and data are passed in, results are handed back",
    },
    Rule {
        name: "sink's modules",
        files: &["app/src/sink"],
        limit: Limit::Not(&["crate::pipeline", "crate::replay", "crate::session", "crate::source"]),
        tests_too: true,
        why: "imports point to the left: sinks are given snapshots, wherever the records come from",
    },
    Rule {
        name: "source's modules",
        files: &["app/src/source"],
        limit: Limit::Not(&["crate::pipeline", "crate::replay", "crate::session", "crate::output"]),
        tests_too: true,
        why: "imports point to the left: a source hands out records, whoever shows them",
    },
    Rule {
        name: "wiring",
        files: &["app/src"],
        limit: Limit::NotTogether(&["crate::source", "crate::output"]),
        tests_too: true,
        why: "sources and sinks meet only in main.rs, lib.rs, pipeline.rs and replay.rs",
    },
];

/// Where sources and sinks are put together.
const WIRING: &[&str] = &["app/src/main", "app/src/lib", "app/src/pipeline", "app/src/replay"];

/// Clocks, files, sockets, terminals, threads and locks. Of `std::net`, the address types are plain data.
const IMPURE: &[&str] = &[
    "aya",
    "crossterm",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "nix",
    "ratatui",
    "std::dbg",
    "std::env",
    "std::eprint",
    "std::eprintln",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::print",
    "std::println",
    "std::process",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "tokio",
];

pub(super) struct Rule {
    name: &'static str,
    /// Folders and files from the root on; `x` stands for `x.rs` and for everything in `x/`.
    files: &'static [&'static str],
    limit: Limit,
    /// Whether it holds in `#[cfg(test)]` too: what only tests use is not part of the program.
    tests_too: bool,
    why: &'static str,
}

enum Limit {
    /// Of the modules of the same crate, these.
    OnlyModules(&'static [&'static str]),
    /// Of other crates, these.
    OnlyCrates(&'static [&'static str]),
    /// Everything but these and what is in them.
    Not(&'static [&'static str]),
    /// One of these in a file, unless it is in [`WIRING`].
    NotTogether(&'static [&'static str]),
}

/// Whether any rule is for this file.
pub(super) fn concern(file: &Path) -> bool {
    RULES.iter().any(|rule| rule.is_for(file))
}

/// What the imports of one file break.
pub(super) fn check(file: &Path, imports: &[Import]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.is_for(file)) {
        let imports: Vec<&Import> =
            imports.iter().filter(|import| rule.tests_too || !import.in_test).collect();
        for import in rule.broken_by(file, &imports) {
            let text = format!("{}: {} [{}]", import.path.join("::"), rule.why, rule.name);
            findings.push(Finding { file: file.to_path_buf(), line: import.line, text });
        }
    }
    findings
}

impl Rule {
    fn is_for(&self, file: &Path) -> bool {
        self.files.iter().any(|place| is_in(file, place))
    }

    fn broken_by<'a>(&self, file: &Path, imports: &[&'a Import]) -> Vec<&'a Import> {
        let all = imports.iter().copied();
        match self.limit {
            Limit::OnlyModules(modules) => all.filter(|import| !allows_module(import, modules)).collect(),
            Limit::OnlyCrates(crates) => all.filter(|import| !allows_crate(import, crates)).collect(),
            Limit::Not(paths) => {
                all.filter(|import| paths.iter().any(|path| touches(import, path))).collect()
            }
            Limit::NotTogether(_) if WIRING.iter().any(|place| is_in(file, place)) => Vec::new(),
            Limit::NotTogether(paths) => {
                let firsts = paths.iter().map(|path| all.clone().find(|import| touches(import, path)));
                let firsts: Option<Vec<_>> = firsts.collect();
                firsts.unwrap_or_default().into_iter().max_by_key(|import| import.line).into_iter().collect()
            }
        }
    }
}

fn is_in(file: &Path, place: &str) -> bool {
    file.with_extension("").starts_with(place)
}

fn allows_module(import: &Import, modules: &[&str]) -> bool {
    match import.path.as_slice() {
        [first, second, ..] if first == "crate" => modules.contains(&second.as_str()),
        [first] if first == "crate" => !import.is_use,
        _ => true,
    }
}

fn allows_crate(import: &Import, crates: &[&str]) -> bool {
    import.path.first().is_none_or(|first| first == "crate" || crates.contains(&first.as_str()))
}

/// Whether an import is a path or lies in it. A `use` of what the path lies in counts as well: with
/// `use std::time` at hand, `time::Instant` is a word away, in this file or in the next one.
fn touches(import: &Import, path: &str) -> bool {
    let path: Vec<&str> = path.split("::").collect();
    let import_path = import.path.iter().enumerate().map(|(at, name)| match (at, name.as_str()) {
        (0, "core" | "alloc") => "std",
        (_, name) => name,
    });
    let common = import_path.zip(&path).take_while(|(import, path)| import == *path).count();
    common == path.len() || (import.is_use && common == import.path.len())
}

#[cfg(test)]
mod tests {
    use super::super::imports;
    use super::*;

    /// A rule's name, a file it is for, what breaks it there, and what does not.
    const CASES: &[(&str, &str, &str, &str)] = &[
        (
            "probe-common stands alone",
            "probe-common/src/a.rs",
            "use std::vec::Vec;",
            "use core::mem::size_of;",
        ),
        (
            "probe-common stands alone",
            "probe-common/src/a/b.rs",
            "fn f(x: fnv::FnvHasher) {}",
            "use super::c::D;",
        ),
        (
            "flow's modules",
            "app/src/flow/a.rs",
            "use tcptop_core::snapshot::Row;",
            "use tcptop_core::table::b::C;",
        ),
        ("flow's modules", "app/src/flow/a.rs", "use super::super::config;", "use super::b::C;"),
        ("flow's modules", "app/src/flow.rs", "use super::*;", "use self::a::*;"),
        (
            "flow's modules",
            "app/src/flow/a.rs",
            "fn f() { crate::output::x() }",
            "fn f() { tcptop_core::table::x() }",
        ),
        ("flow's crates", "app/src/flow/a.rs", "use serde::Serialize;", "use hashbrown::HashTable;"),
        (
            "flow's crates",
            "app/src/flow/a.rs",
            "#[derive(serde::Serialize)] struct A;",
            "#[derive(Clone)] struct A;",
        ),
        ("flow's crates", "app/src/flow/a.rs", "use serde::X;", "#[cfg(test)] mod tests { use insta::X; }"),
        (
            "snapshot's modules",
            "app/src/snapshot/a.rs",
            "use crate::output;",
            "use tcptop_core::table::Flow;",
        ),
        ("purity", "app/src/flow/a.rs", "use std::time::{Duration, Instant};", "use std::time::Duration;"),
        (
            "purity",
            "app/src/flow/a.rs",
            "fn f() { std::time::Instant::now(); }",
            "fn f() { a::Instant::now(); }",
        ),
        ("purity", "app/src/flow/a.rs", "use std::time;", "use std::collections;"),
        ("purity", "app/src/flow/a.rs", "use std::net::*;", "use std::net::{IpAddr, Ipv4Addr};"),
        ("purity", "app/src/flow/a.rs", "fn f() { println!() }", "fn f() { assert!(true) }"),
        (
            "purity",
            "app/src/flow/a.rs",
            "fn f() { m!(a, std::fs::read(x)) }",
            "fn f() { m!(a, b::fs::read(x)) }",
        ),
        ("purity", "app/src/snapshot/a.rs", "use tokio::sync::watch;", "use std::sync::Arc;"),
        ("purity", "app/src/snapshot/a.rs", "use std::io;", "#[cfg(test)] mod tests { use std::fs; }"),
        (
            "purity",
            "app/src/snapshot/a.rs",
            "use std as s; type T = s::fs::File;",
            "use std::fmt as f; type T = f::X;",
        ),
        (
            "sink's modules",
            "app/src/sink/text.rs",
            "use crate::{flow, source::X};",
            "use crate::{flow, snapshot};",
        ),
        ("source's modules", "app/src/source/a.rs", "use crate::output::X;", "use probe_common::Record;"),
        ("sink's modules", "app/src/sink/tui/a.rs", "use crate::pipeline::X;", "use crate::config::Output;"),
        ("source's modules", "app/src/source/a.rs", "use crate::pipeline::X;", "use crate::error::Error;"),
        ("wiring", "app/src/cli.rs", "use crate::{sink::A, source::B};", "use crate::output::A;"),
        ("wiring", "app/src/cli.rs", "use crate::output; use tcptop::source;", "use crate::source::{A, B};"),
    ];

    fn scan(file: &Path, source: &str) -> Vec<Import> {
        let crates = ["std", "core", "fnv", "serde", "tokio"].map(str::to_owned);
        imports::scan(file, source, &crates).unwrap().imports
    }

    fn broken_rules(file: &str, source: &str) -> Vec<&'static str> {
        let file = Path::new(file);
        let found = scan(file, source);
        let found: Vec<&Import> = found.iter().collect();
        let broken = RULES.iter().filter(|rule| rule.is_for(file)).filter(|rule| {
            let kept: Vec<&Import> = found.iter().copied().filter(|i| rule.tests_too || !i.in_test).collect();
            !rule.broken_by(file, &kept).is_empty()
        });
        broken.map(|rule| rule.name).collect()
    }

    #[test]
    fn every_rule_is_told_when_broken_and_only_then() {
        for (rule, file, bad, clean) in CASES {
            assert!(broken_rules(file, bad).contains(rule), "{rule}: not reported in {file}: {bad}");
            assert_eq!(broken_rules(file, clean), Vec::<&str>::new(), "{rule}: reported in {file}: {clean}");
        }
    }

    #[test]
    fn every_rule_has_a_case() {
        for rule in RULES {
            assert!(CASES.iter().any(|(name, ..)| *name == rule.name), "no case for {}", rule.name);
        }
    }

    #[test]
    fn layers_hold_in_tests_too() {
        let source = "#[cfg(test)] mod tests { use crate::output::X; }";
        assert_eq!(broken_rules("app/src/flow/a.rs", source), ["flow's modules"]);
    }

    #[test]
    fn sources_and_sinks_meet_in_the_pipeline() {
        for file in ["app/src/main.rs", "app/src/lib.rs", "app/src/pipeline.rs", "app/src/replay.rs"] {
            assert_eq!(broken_rules(file, "use crate::{sink::A, source::B};"), Vec::<&str>::new());
        }
    }

    #[test]
    fn a_finding_names_place_path_and_reason() {
        let file = Path::new("app/src/flow/a.rs");
        let found = scan(file, "\n\nuse std::fs::File;");
        let text: Vec<String> = check(file, &found).iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 1);
        assert!(
            text[0].starts_with("app/src/flow/a.rs:3: std::fs::File: flow and snapshot are pure"),
            "{text:?}"
        );
    }
}

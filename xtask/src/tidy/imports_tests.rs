use std::path::{Path, PathBuf};

use super::{Import, Scan};

fn scan(file: &Path, source: &str) -> anyhow::Result<Scan> {
    super::scan(file, source, &["std", "nix"].map(str::to_owned))
}

fn paths(file: &str, source: &str) -> Vec<String> {
    let scan = scan(Path::new(file), source).unwrap();
    scan.imports.iter().map(|import| import.path.join("::")).collect()
}

#[test]
fn a_tree_of_uses_is_taken_apart() {
    let source = "use std::{fmt::{self, Write as _}, net::*};";
    assert_eq!(paths("app/src/a.rs", source), ["std::fmt", "std::fmt::Write", "std::net"]);
}

#[test]
fn relative_paths_start_at_the_crate() {
    let source = "use self::x::A; use super::B; mod c { use super::super::D; use super::E; }";
    let found = [
        "tcptop_core::table::key::x::A",
        "tcptop_core::table::B",
        "tcptop_core::table::D",
        "tcptop_core::table::key::E",
    ];
    assert_eq!(paths("app/src/flow/key.rs", source), found);
    assert_eq!(paths("app/src/flow/mod.rs", "use super::sink;"), ["crate::output"]);
    assert_eq!(paths("app/src/main.rs", "use tcptop::output;"), ["crate::output"]);
}

#[test]
fn child_modules_are_not_other_crates() {
    let source = "mod key; mod nix; use key::Key; fn f() { nix::g() }";
    assert_eq!(
        paths("app/src/flow/mod.rs", source),
        ["tcptop_core::table::key::Key", "tcptop_core::table::nix::g"]
    );
}

#[test]
fn names_given_by_use_are_followed() {
    let source = "use std::time as t; use t::Instant as Now; fn f() { Now::now(); }";
    let found = ["std::time", "std::time::Instant", "std::time::Instant::now"];
    assert_eq!(paths("app/src/a.rs", source), found);
    let source = "use std::time; mod inner { use super::*; fn f() { time::Instant::now(); } }";
    assert_eq!(paths("app/src/a.rs", source), ["std::time", "crate::a", "std::time::Instant::now"]);
}

#[test]
fn names_that_circle_end() {
    assert!(paths("app/src/a.rs", "use b::c; use c::b; fn f() { b::d() }").len() <= 2);
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let places = [
        "type T = Vec<std::fs::File>;",
        "fn f(x: &dyn std::fs::File) {}",
        "fn f() where u8: std::fs::File {}",
        "impl std::fs::File for u8 {}",
        "fn f() { if let std::fs::File(x) = y {} }",
        "fn f() { <u8 as std::fs::File>::g() }",
        "fn f() { ::std::fs::File }",
        "#[std::fs::File] fn f() {}",
        "#[derive(std::fs::File)] struct A;",
        "macro_rules! m { () => { std::fs::File } }",
        "fn f() { vec![g(a, &std::fs::File)] }",
    ];
    for source in places {
        let found = paths("app/src/a.rs", source);
        assert!(found.iter().any(|path| path.starts_with("std::fs::File")), "{source}: {found:?}");
    }
}

#[test]
fn printing_is_found_without_its_home() {
    assert_eq!(paths("app/src/a.rs", "fn f() { println!(\"{}\", 1) }"), ["std::println"]);
    assert_eq!(paths("app/src/a.rs", "fn f() { m! { x => dbg!(y) } }"), ["std::dbg"]);
}

#[test]
fn tokens_that_are_no_paths_are_left() {
    assert_eq!(paths("app/src/a.rs", "fn f() { m!(a: std, b ? c : d, 'x', \"std::fs\", e != f) }"), [""; 0]);
}

#[test]
fn code_for_tests_is_marked() {
    let marked = |source: &str| {
        let scan = scan(Path::new("app/src/a.rs"), source).unwrap();
        scan.imports.iter().map(|import| import.in_test).collect::<Vec<_>>()
    };
    assert_eq!(
        marked("use std::a; #[cfg(test)] mod tests { use std::b; } use std::c;"),
        [false, true, false]
    );
    assert_eq!(marked("#[cfg(all(test, unix))] use std::a; #[test] fn f() { std::b() }"), [true, true]);
    assert_eq!(
        marked("#[cfg(test)] extern crate std; impl A { #[cfg(test)] fn f() { std::b() } }"),
        [true, true]
    );
    assert_eq!(marked("#[cfg(not(test))] use std::a; #[cfg(any(test, unix))] use std::b;"), [false, false]);
}

#[test]
fn test_modules_in_files_are_told() {
    let scan = scan(Path::new("app/src/flow/key.rs"), "#[cfg(test)] mod tests; mod other;").unwrap();
    assert_eq!(scan.test_modules, [PathBuf::from("app/src/flow/key/tests")]);
}

#[test]
fn lines_are_counted_from_one() {
    let scan = scan(Path::new("app/src/a.rs"), "use std::a;\n\nuse std::{\n    b,\n};\n").unwrap();
    let lines: Vec<usize> = scan.imports.iter().map(|import: &Import| import.line).collect();
    assert_eq!(lines, [1, 4]);
}

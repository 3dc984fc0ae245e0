//! Dependencies that the workspace offers and no member takes.
//!
//! Read line by line, as cargo's own formatting has them: a TOML parser would cost every `cargo xtask` more
//! than this is worth.

/// Lines and names of the entries of `[workspace.dependencies]` that no member's manifest mentions.
pub(super) fn unused(workspace: &str, members: &[String]) -> Vec<(usize, String)> {
    let taken: Vec<(usize, String)> =
        members.iter().flat_map(|member| entries(member, is_dependencies)).collect();
    let mut offered = offered(workspace);
    offered.retain(|(_, name)| !taken.iter().any(|(_, taken)| taken == name));
    offered
}

/// The folders of the members.
pub(super) fn members(workspace: &str) -> Vec<String> {
    let list = workspace.lines().find(|line| line.starts_with("members"));
    let quoted = list.unwrap_or_default().split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The crates that code of this workspace can name.
pub(super) fn crates(workspace: &str) -> Vec<String> {
    let built_in = ["alloc", "core", "std"].map(|name| name.to_owned());
    let offered = offered(workspace).into_iter().map(|(_, name)| name.replace('-', "_"));
    built_in.into_iter().chain(offered).collect()
}

fn offered(workspace: &str) -> Vec<(usize, String)> {
    entries(workspace, |section| section == "workspace.dependencies")
}

fn is_dependencies(section: &str) -> bool {
    let kind = section.rsplit('.').next().unwrap_or_default();
    matches!(kind, "dependencies" | "dev-dependencies" | "build-dependencies")
}

fn entries(manifest: &str, wanted: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (at, line) in manifest.lines().enumerate() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            inside = wanted(section);
            // `[dependencies.name]` is an entry by itself.
            if let Some((_, name)) = section.rsplit_once('.').filter(|(section, _)| wanted(section)) {
                found.push((at + 1, name.to_owned()));
            }
        } else if inside && line.contains('=') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if !name.is_empty() && !name.starts_with('#') {
                found.push((at + 1, name.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "\
[workspace]
members = [\"a\", \"b-c\"]

[workspace.dependencies]
# why = this
one = \"1\"
two-three = { version = \"2\", features = [
    \"x\",
] }
four.path = \"4\"

[workspace.lints.rust]
five = \"warn\"
";

    fn names(members: &[&str]) -> Vec<(usize, String)> {
        unused(WORKSPACE, &members.iter().map(|&member| member.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_no_member_takes_is_named_with_its_line() {
        let member = "[package]\none = 1\n[dependencies]\ntwo-three.workspace = true\n";
        assert_eq!(names(&[member]), [(6, "one".to_owned()), (10, "four".to_owned())]);
    }

    #[test]
    fn every_kind_of_dependency_counts() {
        let first =
            "[dev-dependencies]\none = { workspace = true }\n[build-dependencies.four]\nworkspace = true\n";
        let second = "[target.'cfg(unix)'.dependencies]\ntwo-three.workspace = true\n";
        assert_eq!(names(&[first, second]), []);
    }

    #[test]
    fn crates_have_the_names_that_code_uses() {
        assert_eq!(crates(WORKSPACE)[3..], ["one", "two_three", "four"]);
    }

    #[test]
    fn members_are_listed() {
        assert_eq!(members(WORKSPACE), ["a", "b-c"]);
    }
}

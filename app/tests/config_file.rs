//! Configuration files, read by the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcptop-config-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join(".config/tcptop")).expect("it can be made");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("it can be written");
        path
    }

    /// Runs the command with this folder as the user's home.
    fn run(&self, arguments: &[&str], config: Option<&Path>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
        command.args(arguments).env("HOME", &self.0).env_remove("XDG_CONFIG_HOME");
        match config {
            Some(path) => command.env("TCPTOP_CONFIG", path),
            None => command.env_remove("TCPTOP_CONFIG"),
        };
        command.output().expect("it starts")
    }

    fn printed(&self, arguments: &[&str], config: Option<&Path>) -> String {
        let output = self.run(arguments, config);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it is text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it is there");
    }
}

fn capture() -> String {
    format!("{}/../screenshots/capture.pcap.gz", env!("CARGO_MANIFEST_DIR"))
}

/// How many peers are slow in the report of a capture.
fn slow_peers(folder: &Folder, more: &[&str], config: Option<&Path>) -> usize {
    let capture = capture();
    let arguments = [&["replay", &capture, "--report=json", "--local", "10.20.0.5"], more].concat();
    folder.printed(&arguments, config).matches("\"slow\"").count()
}

#[test]
fn a_users_file_decides_where_the_command_line_says_nothing() {
    let folder = Folder::new("user");
    let without = slow_peers(&folder, &[], None);
    folder.write(".config/tcptop/config.toml", "slow = \"1us\"\n");
    let with = slow_peers(&folder, &[], None);
    assert!(with > without, "{with} of {without}");
    assert_eq!(slow_peers(&folder, &["--slow", "100ms"], None), without, "the command line goes first");
    assert_eq!(slow_peers(&folder, &[], Some(Path::new(""))), without, "no file is read");
    let other = folder.write("other.toml", "slow = \"100ms\"\n");
    assert_eq!(slow_peers(&folder, &[], Some(&other)), without, "another file is read");
}

#[test]
fn what_is_in_force_is_printed_with_its_origin() {
    let folder = Folder::new("print");
    let path = folder.write(".config/tcptop/config.toml", "theme = \"light\"\n");
    let printed = folder.printed(&["config"], None);
    assert!(printed.starts_with("# /etc/tcptop.toml: "), "{printed}");
    assert!(printed.contains(&format!("# {}: read\n", path.display())), "{printed}");
    assert!(printed.contains(&format!("\ntheme = \"light\"  # {}\n", path.display())), "{printed}");
    let again = folder.write("again.toml", &printed);
    assert!(folder.printed(&["config"], Some(&again)).contains("\ntheme = \"light\"  # "));
}

#[test]
fn a_wrong_file_is_an_error_and_help_is_still_there() {
    let folder = Folder::new("wrong");
    let path = folder.write(".config/tcptop/config.toml", "thme = \"li\x1bght\"\n");
    let output = folder.run(&["replay", &capture()], None);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&path.display().to_string()) && !said.contains('\x1b'), "{said}");
    assert!(folder.run(&["--help"], None).status.success());
    folder.write(".config/tcptop/config.toml", "slow = \"\\u001b[0m\"\n");
    let output = folder.run(&["config"], None);
    assert!(!String::from_utf8_lossy(&output.stderr).contains('\x1b'), "{output:?}");
    let output = folder.run(&["config"], Some(Path::new("/nowhere.toml")));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nowhere.toml: No such file"), "{said}");
}

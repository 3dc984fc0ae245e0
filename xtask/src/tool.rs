//! The programs of the lab: built here, and run as root where they need it.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::shell;

/// Passed on to the program unchanged.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

/// A program of the lab.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Bench,
    Chaos,
    Conform,
    Demo,
    Dist,
    Vm,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Chaos => "chaos",
            Self::Conform => "conform",
            Self::Demo => "demo",
            Self::Dist => "packaging",
            Self::Vm => "vm",
        }
    }

    /// The profile of the tcptop that it starts, if it starts one: measured and shown as users get it.
    const fn profile(self) -> Option<&'static str> {
        match self {
            Self::Bench | Self::Demo => Some("release"),
            Self::Chaos | Self::Conform | Self::Vm => Some("debug"),
            Self::Dist => None,
        }
    }

    /// Whether the program will only print its help.
    fn asks_for_help(self, words: &[OsString]) -> bool {
        let mut own = words.iter().take_while(|word| *word != "--");
        own.any(|word| word == "-h" || word == "--help") || (self == Self::Bench && words.is_empty())
    }

    /// What needs root with these arguments, if anything.
    fn needs_root(self, words: &[OsString]) -> Option<&'static str> {
        let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
        match self {
            _ if self.asks_for_help(words) => None,
            Self::Bench => matches!(first, "host" | "probe" | "ring").then_some("measuring in the kernel"),
            Self::Chaos => Some("making a network for it"),
            Self::Conform => Some("capturing in network namespaces"),
            Self::Demo => Some("making a network for the demo"),
            Self::Dist | Self::Vm => None,
        }
    }

    /// Builds tcptop and the program, and replaces this process with the program: the terminal, signals and the exit
    /// code are then its own. Returns only on failure.
    pub(crate) fn run(self) -> Result<()> {
        let words: Vec<OsString> = env::args_os().skip(2).collect();
        let why_root = self.needs_root(&words).filter(|_| !shell::is_root());
        if let Some(why) = why_root {
            shell::need_sudo(why)?;
        }
        let target = shell::target_dir()?;
        let program = target.join("debug").join(self.name());
        shell::call(&mut shell::cargo(["build", "--quiet", "--package", self.name()]))?;
        let mut setting = OsString::from("TCPTOP_BIN=");
        if let Some(profile) = self.profile() {
            setting.push(target.join(profile).join("tcptop"));
            if !self.asks_for_help(&words) {
                self.build_tcptop(profile)?;
            }
        }
        let mut command = Command::new("env");
        if why_root.is_some() {
            eprintln!("{}: this needs root: going on with sudo", self.name());
            command = Command::new("sudo");
            command.args(["-E", "env"]);
        }
        let error = command.arg(setting).arg(&program).args(words).exec();
        Err(anyhow!(error).context(format!("cannot start {}", program.display())))
    }

    fn build_tcptop(self, profile: &str) -> Result<()> {
        if self == Self::Demo {
            eprintln!("demo: building tcptop (release; the first time takes a minute or two)");
        }
        let mut build = shell::cargo(["build", "--package", "tcptop"]);
        if profile == "release" {
            build.arg("--release");
        }
        shell::call(&mut build)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_for_what_needs_it() {
        let needs = |tool: Tool, words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            tool.needs_root(&words).is_some()
        };
        assert!(needs(Tool::Chaos, &["--short"]) && !needs(Tool::Chaos, &["--help"]));
        assert!(needs(Tool::Conform, &["--seed", "1"]) && needs(Tool::Demo, &["--", "--help"]));
        assert!(needs(Tool::Bench, &["host"]) && needs(Tool::Bench, &["ring", "--rounds", "1"]));
        assert!(!needs(Tool::Bench, &["table"]) && !needs(Tool::Bench, &[]) && !needs(Tool::Demo, &["-h"]));
    }
}

//! Completions for shells, from the definitions that the command line is parsed by.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use tcptop::cli::Cli;

/// Each shell, and the folder and name that its completions have.
pub(crate) const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "usr/share/bash-completion/completions/tcptop"),
    (Shell::Zsh, "usr/share/zsh/vendor-completions/_tcptop"),
    (Shell::Fish, "usr/share/fish/vendor_completions.d/tcptop.fish"),
];

/// The completions of one shell.
pub(crate) fn text(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), "tcptop", &mut text);
    text
}

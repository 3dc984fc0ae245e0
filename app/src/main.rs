//! The command.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use tcptop::cli::Cli;
use tcptop::config::{self, Config, Source};
use tcptop::config_file::ConfigFiles;
use tcptop::error::Error;
use tcptop::live;
use tcptop::retransmits;
use tcptop::stats;
use tcptop::tui::terminal_guard;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == terminal_guard::ARGUMENT) {
        return terminal_guard::run().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // In the form of those that the parser finds.
        Err(Error::Usage(message)) => Cli::command().error(ErrorKind::ArgumentConflict, message).exit(),
        Err(error) => {
            // Standard error may be closed or full; the exit code says it, too.
            let _ = writeln!(std::io::stderr(), "tcptop: {error}");
            error.exit_code()
        }
    }
}

/// Returns whether all is well.
fn run() -> Result<bool, Error> {
    let variable = |name: &str| std::env::var_os(name);
    let typed: Vec<OsString> = std::env::args_os().collect();
    // Help and usage are to be had whatever the files say.
    Cli::parse_with_hints(typed.clone()).unwrap_or_else(|error| error.exit());
    let files = ConfigFiles::read(variable)?;
    let command = config::command_line(typed.clone());
    let cli = Cli::parse_with_hints(files.complete(typed)).unwrap_or_else(|error| error.exit());
    let config = Config::new(&cli, can_show_screen(), &command, variable)?;
    let done = match Source::new(&cli) {
        Source::Doctor(arguments) => return tcptop::doctor::run(&arguments),
        Source::Interfaces(interfaces) => live::run(&config, &interfaces),
        Source::Replay(replay) => tcptop::replay::run(&config, &replay),
        Source::Sockets(arguments) => stats::run(&arguments),
        Source::Retransmits(arguments) => retransmits::run(&arguments),
        Source::List(names, namespace) => tcptop::interfaces::run(&names, namespace.as_ref()),
        Source::Nothing => {
            let text = files.in_force("tcptop".into()).unwrap_or_else(|error| error.exit());
            let failed = |source| Error::Output { target: "standard output".to_owned(), source };
            std::io::stdout().write_all(text.as_bytes()).map_err(failed)
        }
    };
    done.map(|()| true)
}

fn can_show_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !dumb
}

//! The command.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use tcptop::cli::Cli;
use tcptop::config::{self, Config, Source};
use tcptop::error::Error;
use tcptop::live;
use tcptop::stats;
use tcptop::tui::terminal_guard;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == terminal_guard::ARGUMENT) {
        return terminal_guard::run().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let cli = Cli::parse_with_hints(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // In the form of those that the parser finds.
        Err(Error::Usage(message)) => Cli::command().error(ErrorKind::ArgumentConflict, message).exit(),
        Err(error) => {
            // Standard error may be closed or full; the exit code says it, too.
            let _ = writeln!(std::io::stderr(), "tcptop: {error}");
            error.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    let command = config::command_line(std::env::args_os());
    let config = Config::new(cli, can_show_screen(), &command, |name| std::env::var_os(name))?;
    match Source::new(cli) {
        Source::Interfaces(interfaces) => live::run(&config, &interfaces),
        Source::Replay(replay) => tcptop::replay::run(&config, &replay),
        Source::Sockets(arguments) => stats::run(&arguments),
        Source::List(names) => tcptop::interfaces::run(&names),
    }
}

fn can_show_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !dumb
}

//! The man page, from the definitions that the command line is parsed by, so that it cannot differ from `--help`.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use tcptop::cli::Cli;

const SECTION: &str = "8";
const SEE_ALSO: &str = "ss(8), tcpdump(8), tshark(1), tc(8), bpftool(8). Debian's package bpfcc-tools has another tool of this name, \
    which counts bytes: tcptop-bpfcc(8).";

/// The page, in roff.
pub(crate) fn page() -> Result<Vec<u8>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut page = Vec::new();
    let man = manual(command.clone());
    man.render_title(&mut page).context("cannot write the title")?;
    man.render_name_section(&mut page)?;
    synopsis(&command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for own in command.get_subcommands() {
        subcommand(&command, own, &mut page)?;
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    after_help(&help).to_writer(&mut page)?;
    let mut last = Roff::new();
    last.control("SH", ["SEE ALSO"]).text([roman(SEE_ALSO)]);
    last.to_writer(&mut page)?;
    Ok(page)
}

fn manual(command: Command) -> Man {
    // Without the commit, which is no news to the reader, and without a date, which would be that of the build.
    let source = concat!("tcptop ", env!("CARGO_PKG_VERSION"));
    Man::new(command).title("TCPTOP").section(SECTION).date("").source(source).manual("System administration")
}

fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("tcptop"), roman(" [OPTION]... [INTERFACE]...")]);
    for own in command.get_subcommands() {
        let operands: String = own.get_positionals().map(operand).collect();
        roff.control("br", []);
        roff.text([bold(format!("tcptop {}", own.get_name())), roman(format!(" [OPTION]...{operands}"))]);
    }
    roff
}

fn operand(argument: &Arg) -> String {
    let name = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    if argument.is_required_set() { format!(" {name}") } else { format!(" [{name}]") }
}

/// What a subcommand is for, and the options that it alone has.
fn subcommand(command: &Command, own: &Command, page: &mut Vec<u8>) -> Result<()> {
    let common = command
        .get_arguments()
        .filter(|argument| same(own, argument))
        .map(|argument| argument.get_id().clone());
    let common: BTreeSet<_> = common.collect();
    let mut roff = Roff::new();
    roff.control("SH", [format!("COMMAND {}", own.get_name().to_uppercase()).as_str()]);
    roff.text([roman(
        own.get_long_about().or_else(|| own.get_about()).map(ToString::to_string).unwrap_or_default(),
    )]);
    if !common.is_empty() {
        roff.control("PP", []).text([roman("Besides the options above, where they apply:")]);
    }
    roff.to_writer(page)?;
    let mut alone = own.clone().disable_help_flag(true);
    for id in common {
        alone = alone.mut_arg(id.as_str(), |argument| argument.hide(true));
    }
    // Its options belong under its own heading.
    let mut options = Vec::new();
    manual(alone).render_options_section(&mut options)?;
    page.extend(String::from_utf8(options)?.replace(".SH ", ".SS ").bytes());
    Ok(())
}

/// Whether the subcommand has this argument with the same meaning.
fn same(own: &Command, argument: &Arg) -> bool {
    let other = own.get_arguments().find(|other| other.get_id() == argument.get_id());
    let meaning = |argument: &Arg| {
        let help = argument.get_long_help().or_else(|| argument.get_help());
        (help.map(ToString::to_string), argument.get_default_values().to_vec())
    };
    other.is_some_and(|other| meaning(other) == meaning(argument))
}

/// The lines after the options: those that end with a colon are headings, the rest is as it stands.
fn after_help(help: &str) -> Roff {
    let mut roff = Roff::new();
    for line in help.lines() {
        match line.split_once(':') {
            Some((heading, "")) => {
                roff.control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
            }
            Some((heading, text)) if !line.starts_with(' ') => {
                roff.control("fi", [])
                    .control("SH", [heading.to_uppercase().as_str()])
                    .text([roman(text.trim())]);
            }
            _ if line.is_empty() => {}
            _ => {
                roff.text([roman(line)]);
            }
        }
    }
    roff.control("fi", []);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        String::from_utf8(page().unwrap()).unwrap().replace("\\-", "-")
    }

    #[test]
    fn the_page_has_every_command_and_option() {
        let text = text();
        let mut command = Cli::command();
        command.build();
        let mut options = 0;
        for command in [&command].into_iter().chain(command.get_subcommands()) {
            for long in command.get_arguments().filter_map(Arg::get_long) {
                assert!(text.contains(&format!("--{long}")), "{long}");
                options += 1;
            }
        }
        assert!(options > 40);
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            assert!(text.contains(&format!("COMMAND {}", command.get_name().to_uppercase())));
        }
    }

    #[test]
    fn an_option_that_a_command_shares_is_described_once() {
        assert_eq!(text().matches("--max-flows").count(), 1);
        assert_eq!(text().matches("--speed").count(), 1);
    }

    #[test]
    fn examples_keep_their_lines() {
        let text = text();
        let (_, examples) = text.split_once("EXAMPLES").unwrap();
        assert!(examples.starts_with("\"\n.nf\n") || examples.starts_with("\n.nf\n"), "{}", &examples[..40]);
        assert!(text.contains("EXIT CODES"));
    }
}

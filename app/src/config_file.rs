//! Configuration files: long options and their values, as TOML. The command line goes before them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, Parser};
use toml::{Table, Value};

use crate::cli::{Cli, FILTER_AND_SORT, INPUT, LIMITS, METRICS, OUTPUT};
use crate::error::Error;

/// Names a file that is read instead of the others; empty for none.
const VARIABLE: &str = "TCPTOP_CONFIG";
/// For the whole host.
const OF_HOST: &str = "/etc/tcptop.toml";
/// Within the folder of a user's configuration.
const OF_USER: &str = "tcptop/config.toml";
/// The key of the interfaces, which have no option on the command line.
const INTERFACES: &str = "interfaces";
/// The key of the address that metrics are served on.
const LISTEN: &str = "listen";
/// Options in the groups of a file that are about a single run.
const OF_ONE_RUN: [&str; 4] = ["filter", "pid", "duration", "count"];
/// What begins the file that [`template`] makes.
const HEAD: &str = "\
# Configuration of tcptop: long options and their values. What the command line says goes before this.
# `tcptop config` prints what is in force, and from where.
";

/// What the files say.
#[derive(Debug, Default)]
pub struct ConfigFiles {
    /// In the order in which they are read, and what has become of each.
    files: Vec<(PathBuf, State)>,
    settings: Vec<Setting>,
}

/// What has become of a file.
#[derive(Clone, Copy, Debug)]
enum State {
    Read,
    Absent,
    /// `HOME` may still be that of another user.
    Denied,
}

/// One option that is set.
#[derive(Debug)]
struct Setting {
    key: String,
    /// As words of a command line.
    words: Vec<String>,
    /// By its place in the list.
    file: usize,
}

impl ConfigFiles {
    /// Reads the files that these environment variables lead to: `/etc/tcptop.toml`, then `tcptop/config.toml` in
    /// `XDG_CONFIG_HOME` or in `.config` of `HOME`, or only the one that `TCPTOP_CONFIG` names.
    ///
    /// # Errors
    /// [`Error::ConfigFile`] where one cannot be read, or has a key or a value that tcptop does not accept.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let asked = variable(VARIABLE);
        let mut all = Self::default();
        for path in asked.as_deref().map_or_else(|| paths(&variable), of_one) {
            let failed = |reason: String| Error::ConfigFile { path: shown(&path), reason: escaped(&reason) };
            let (text, state) = match fs::read_to_string(&path) {
                Ok(text) => (Some(text), State::Read),
                Err(error) if asked.is_some() => return Err(failed(error.to_string())),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound => (None, State::Absent),
                    io::ErrorKind::PermissionDenied => (None, State::Denied),
                    _ => return Err(failed(error.to_string())),
                },
            };
            let file = all.files.len();
            for (key, words) in text.as_deref().map_or(Ok(Vec::new()), settings).map_err(failed)? {
                // The later file replaces the earlier one.
                all.settings.retain(|known| known.key != key);
                all.settings.push(Setting { key, words, file });
            }
            all.files.push((path, state));
        }
        Ok(all)
    }

    /// A command line with what the files say and it does not: as options of the command that it names.
    #[must_use]
    pub fn complete(&self, arguments: Vec<OsString>) -> Vec<OsString> {
        // Of a wrong one, the error is about what was typed.
        let Ok(matches) = Cli::command().try_get_matches_from(&arguments) else { return arguments };
        let (command, given, at) = match matches.subcommand() {
            Some((name, given)) => (name, given, 2),
            None => ("", &matches, 1),
        };
        let accepted = accepted_by(command);
        let is_set = |key: &str| self.settings.iter().any(|setting| setting.key == key);
        let has_metrics = command == "serve"
            || is_set(LISTEN)
            || accepted.iter().any(|argument| key_of(argument) == LISTEN && is_typed(given, argument));
        // How metrics are is for runs that have some.
        let applies = |argument: &Arg| {
            !is_typed(given, argument) && (has_metrics || argument.get_help_heading() != Some(METRICS))
        };
        let is_new = |setting: &&Setting| {
            accepted.iter().any(|argument| key_of(argument) == setting.key && applies(argument))
        };
        let (mut completed, mut interfaces) = (arguments, Vec::new());
        let mut options = Vec::new();
        for setting in self.settings.iter().filter(is_new) {
            let words = setting.words.iter().map(OsString::from);
            if setting.key == INTERFACES { interfaces.extend(words) } else { options.extend(words) }
        }
        completed.splice(at..at, options);
        if !interfaces.is_empty() {
            completed.push("--".into());
            completed.extend(interfaces);
        }
        completed
    }

    /// Every option that a file can set, with what is in force, and from where: itself a configuration file.
    ///
    /// # Errors
    /// Those of clap.
    pub fn in_force(&self, program: OsString) -> Result<String, clap::Error> {
        let mut text = String::new();
        for (path, state) in &self.files {
            let state = match state {
                State::Read => "read",
                State::Absent => "not there",
                State::Denied => "cannot be read by this user",
            };
            _ = writeln!(text, "# {}: {state}", shown(path));
        }
        let matches = Cli::command().try_get_matches_from(self.complete(vec![program]))?;
        for argument in accepted_by("") {
            let key = key_of(&argument);
            let values: Vec<String> = matches
                .get_raw(argument.get_id().as_str())
                .into_iter()
                .flatten()
                .map(|value| value.to_string_lossy().into_owned())
                .collect();
            let setting = self.settings.iter().find(|setting| setting.key == key);
            // Defaults as comments: a newer version may have others.
            let (mark, origin) = match setting {
                Some(setting) => ("", shown(&self.files[setting.file].0)),
                None => ("# ", "default".to_owned()),
            };
            _ = match &values[..] {
                [] => writeln!(text, "# {key} is not set"),
                [only] if key != INTERFACES => writeln!(text, "{mark}{key} = {}  # {origin}", as_toml(only)),
                several => {
                    let list: Vec<String> = several.iter().map(|value| as_toml(value)).collect();
                    writeln!(text, "{mark}{key} = [{}]  # {origin}", list.join(", "))
                }
            };
        }
        Ok(text)
    }
}

/// A configuration file that sets nothing: each option with its help and its default, as comments.
#[must_use]
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    let command = Cli::command();
    for argument in command.get_arguments().filter(|argument| can_be_set("", argument)) {
        let help = argument.get_help().map(StyledStr::to_string).unwrap_or_default();
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let defaults: Vec<String> = defaults.map(|value| as_toml(&value)).collect();
        let default = if key_of(argument) == INTERFACES { "[]".to_owned() } else { defaults.join(", ") };
        _ = write!(text, "\n# {help}\n# {} = {default}\n", key_of(argument));
    }
    text
}

/// The files that are looked for where none is asked for.
fn paths(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || folder("HOME").map(|home| home.join(".config"));
    let of_user = folder("XDG_CONFIG_HOME").or_else(home).map(|folder| folder.join(OF_USER));
    [PathBuf::from(OF_HOST)].into_iter().chain(of_user).collect()
}

fn of_one(path: &OsStr) -> Vec<PathBuf> {
    if path.is_empty() { Vec::new() } else { vec![path.into()] }
}

/// What a file sets: keys, and the words of a command line that do the same.
fn settings(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let table: Table = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    table.into_iter().map(|(key, value)| Ok((key.clone(), words(&key, &value)?))).collect()
}

/// The words that set an option to this value. They are parsed as if they had been typed.
fn words(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let escaped = key.escape_debug();
    let is_wrong = || format!("`{escaped}` takes a text, a number, true, false or a list of them");
    let values = match value {
        Value::Array(values) => values.iter().map(plain).collect::<Option<Vec<_>>>(),
        single => plain(single).map(|value| vec![value]),
    };
    let values = values.ok_or_else(is_wrong)?;
    if key == INTERFACES {
        return match values.iter().find(|name| name.starts_with('-')) {
            Some(name) => Err(format!("`{}` is no interface", name.escape_debug())),
            None => Ok(values),
        };
    }
    let command = Cli::command();
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(key));
    let argument = argument.ok_or_else(|| unknown(key))?;
    if !can_be_set("", argument) {
        return Err(format!("`{escaped}` is about a single run: only the command line has it"));
    }
    let words: Vec<String> = match (argument.get_action().takes_values(), value) {
        (false, Value::Boolean(is_on)) => is_on.then(|| format!("--{key}")).into_iter().collect(),
        (false, _) => return Err(format!("`{escaped}` is true or false")),
        (true, Value::Boolean(is_on)) => vec![format!("--{key}={}", if *is_on { "on" } else { "off" })],
        (true, _) => values.iter().map(|value| format!("--{key}={value}")).collect(),
    };
    check(&words).map(|()| words)
}

/// Whether the command line takes these words.
fn check(words: &[String]) -> Result<(), String> {
    let typed = ["tcptop"].into_iter().chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(typed) {
        // Another option, which another line may have, is needed with it.
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) => {
            let message = error.render().to_string();
            let first = message.split("\n\nFor more").next().unwrap_or_default();
            Err(first.trim_start_matches("error: ").trim_end().to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// The error for a key that is no option.
fn unknown(key: &str) -> String {
    let escaped = key.escape_debug();
    let hint = Cli::try_parse_from(["tcptop", &format!("--{key}=1")]).err().and_then(|error| {
        match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(option) => Some(option.trim_start_matches('-').to_owned()),
            _ => None,
        }
    });
    let hint = hint.map_or_else(String::new, |option| format!(": do you mean `{option}`?"));
    format!("`{escaped}` is no option{hint}")
}

/// The text of a value that is one.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(is_true) => Some(is_true.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// A value as TOML has it: numbers and truth values as they are, all else as text.
fn as_toml(value: &str) -> String {
    let is_plain = value.parse::<i64>().is_ok() || matches!(value, "true" | "false");
    if is_plain { value.to_owned() } else { Value::from(value).to_string() }
}

/// The options of a command that files set.
fn accepted_by(command: &str) -> Vec<Arg> {
    let root = Cli::command();
    let found = if command.is_empty() { Some(&root) } else { root.find_subcommand(command) };
    let arguments = found.into_iter().flat_map(Command::get_arguments);
    arguments.filter(|argument| can_be_set(command, argument)).cloned().collect()
}

/// Whether a file can set an option of a command: it is about how things are judged and shown; of interfaces also what is
/// watched, and how.
fn can_be_set(command: &str, argument: &Arg) -> bool {
    let key = key_of(argument);
    // `--interfaces=list` watches nothing: the key has the names of those that are watched.
    if argument.get_long() == Some(INTERFACES) {
        return false;
    }
    let is_about_files = command == "replay" && argument.get_help_heading() == Some(INPUT);
    let is_about_screens = matches!(command, "" | "replay" | "serve");
    match argument.get_help_heading() {
        None | Some(OUTPUT) => false,
        Some(FILTER_AND_SORT | LIMITS) if OF_ONE_RUN.contains(&key.as_str()) => false,
        Some(_) => is_about_screens && !is_about_files,
    }
}

fn key_of(argument: &Arg) -> String {
    argument.get_long().unwrap_or(INTERFACES).to_owned()
}

fn is_typed(matches: &ArgMatches, argument: &Arg) -> bool {
    matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// A message of several lines, with what else controls a terminal escaped: it quotes the file.
fn escaped(message: &str) -> String {
    let one = |letter: char| match letter {
        '\n' => "\n".to_owned(),
        _ if letter.is_control() => letter.escape_default().to_string(),
        _ => letter.to_string(),
    };
    message.chars().map(one).collect()
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Result<ConfigFiles, String> {
        let mut files = ConfigFiles::default();
        for (file, text) in texts.iter().enumerate() {
            for (key, words) in settings(text)? {
                files.settings.retain(|known| known.key != key);
                files.settings.push(Setting { key, words, file });
            }
            files.files.push((PathBuf::from(format!("/file{file}")), State::Read));
        }
        Ok(files)
    }

    fn completed(texts: &[&str], typed: &[&str]) -> String {
        let typed = ["tcptop"].iter().chain(typed).map(OsString::from).collect();
        let words = all(texts).unwrap().complete(typed);
        words.iter().skip(1).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_goes_before_files_and_the_later_file_before_the_earlier() {
        let host = "slow = \"50ms\"\nunanswered = \"5%\"\ninterfaces = [\"eth0\", \"wg0\"]\n";
        assert_eq!(completed(&[host], &[]), "--slow=50ms --unanswered=5% -- eth0 wg0");
        assert_eq!(completed(&[host], &["--slow=1s"]), "--unanswered=5% --slow=1s -- eth0 wg0");
        assert_eq!(completed(&[host], &["lo"]), "--slow=50ms --unanswered=5% lo");
        assert_eq!(completed(&[host, "slow = \"3x\""], &["lo"]), "--unanswered=5% --slow=3x lo");
        assert_eq!(completed(&[host], &["--nonsense"]), "--nonsense", "the error is about what was typed");
    }

    #[test]
    fn only_commands_that_have_an_option_get_it() {
        let text = "slow = \"50ms\"\ndecap = \"off\"\ninterfaces = [\"eth0\"]\nascii = true\nmouse = false\n";
        assert_eq!(completed(&[text], &["replay", "x.pcap"]), "replay --ascii --slow=50ms x.pcap");
        assert_eq!(completed(&[text], &["stats"]), "stats");
        assert_eq!(completed(&[text], &[]), "--ascii --decap=off --slow=50ms -- eth0");
    }

    #[test]
    fn how_metrics_are_is_for_runs_that_have_some() {
        let text = "metric-ports = 5\n";
        assert_eq!(completed(&[text], &["lo"]), "lo");
        assert_eq!(completed(&[text], &["lo", "--listen=[::1]:1"]), "--metric-ports=5 lo --listen=[::1]:1");
        assert_eq!(completed(&[text, "listen = \"[::1]:1\""], &[]), "--metric-ports=5 --listen=[::1]:1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("slwo = 1", "`slwo` is no option: do you mean `slow`?"),
            ("slow = \"50\"", "'--slow <TIME|Nx>'"),
            ("filter = \"port:443\"", "`filter` is about a single run"),
            ("json = true", "`json` is about a single run"),
            ("ascii = 1", "`ascii` is true or false"),
            ("slow = { a = 1 }", "`slow` takes a text"),
            ("interfaces = [\"-x\"]", "`-x` is no interface"),
            ("slow", "TOML"),
        ] {
            let error = all(&[text]).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_in_force_is_a_file_of_the_same_meaning() {
        let text = "slow = \"50ms\"\nmin-attempts = 7\ndrops = false\ninterfaces = [\"lo\"]\nmouse = true\n";
        let printed = all(&[text]).unwrap().in_force("tcptop".into()).unwrap();
        for line in [
            "slow = \"50ms\"  # /file0",
            "min-attempts = 7  # /file0",
            "drops = \"off\"  # /file0",
            "interfaces = [\"lo\"]  # /file0",
            "mouse = true  # /file0",
            "# refused = \"10%\"  # default",
            "# columns is not set",
        ] {
            assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
        }
        let again = all(&[&printed]).unwrap().in_force("tcptop".into()).unwrap();
        let values = |text: &str| {
            text.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values(&again), values(&printed));
    }

    #[test]
    fn the_template_sets_nothing_and_every_line_of_it_can_be_used() {
        assert!(all(&[&template()]).unwrap().settings.is_empty());
        let lines = template();
        let used: Vec<&str> = lines
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| {
                let key = line.split(" = ").next().unwrap_or_default();
                line.contains(" = ")
                    && !line.ends_with("= ")
                    && accepted_by("").iter().any(|known| key_of(known) == key)
            })
            .collect();
        assert!(used.len() > 15, "{used:?}");
        for line in used {
            assert!(all(&[line]).is_ok(), "{line}: {:?}", all(&[line]));
        }
    }
}

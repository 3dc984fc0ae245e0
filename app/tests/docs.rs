//! The documents say what the program does: texts that code has are generated from it, and links and command lines are
//! checked.
//!
//! After a change of such a text, `UPDATE_DOCS=1 cargo test --package tcptop --test docs` writes it into the documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory, Parser};
use serde_json::Value;
use tcptop::cli::Cli;
use tcptop::output::json::objects::{Connection, Figures, Head, Object};
use tcptop::output::json::schema::{schema, types};
use tcptop::tui::columns::{Column, events, flows, peers};
use tcptop::tui::keys::BINDINGS;
use tcptop::tui::model::Place;
use tcptop_core::{EstatsTable, Filter, Group, Quality, RowOrder, Source, Thresholds, Verdict};

/// What a first page may ask of its reader.
const MOST_WORDS: usize = 1_000;

/// A text between `<!-- generated: NAME -->` and `<!-- end -->`.
type Generated = (&'static str, &'static str, fn() -> String);

const GENERATED: [Generated; 17] = [
    ("README.md", "verdicts", verdicts),
    ("docs/columns.md", "verdicts", verdicts),
    ("docs/columns.md", "peer-columns", || columns(&peers::COLUMNS)),
    ("docs/columns.md", "flow-columns", || columns(&flows::COLUMNS)),
    ("docs/columns.md", "event-columns", || columns(&events::COLUMNS)),
    ("docs/usage.md", "orders", orders),
    ("docs/usage.md", "keys", keys),
    ("docs/usage.md", "exit-codes", exit_codes),
    ("docs/usage.md", "options", options),
    ("docs/usage.md", "replay-options", || new_options("replay")),
    ("docs/usage.md", "doctor-options", || new_options("doctor")),
    ("docs/metrics.md", "flow-metrics", flow_metrics),
    ("docs/usage.md", "stats-options", || new_options("stats")),
    ("docs/rfc4898.md", "counts", estats_counts),
    ("docs/rfc4898.md", "variables", estats_variables),
    ("docs/json.md", "objects", json_objects),
    ("docs/json.md", "fields", json_fields),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Every page of the repository, by its path.
fn pages() -> Vec<String> {
    let in_folder = |folder: &str| {
        let files = fs::read_dir(root().join(folder)).expect("a folder of the repository");
        let names = files.map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned());
        let pages = names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}{name}"));
        pages.collect::<Vec<_>>()
    };
    ["", "docs/"].into_iter().flat_map(in_folder).collect()
}

fn verdicts() -> String {
    let row = |verdict: Verdict| {
        let definition = verdict.definition(&Thresholds::default());
        format!("| `{}` | {} | {definition} |\n", verdict.letter(), verdict.name())
    };
    table(["letter", "verdict", "raised when"], Verdict::ALL.map(row))
}

fn columns<Row, Order>(columns: &[Column<Row, Order>]) -> String {
    let rows = columns.iter().map(|column| {
        format!("| `{}` | {} | {} |\n", column.name, column.title, column.meaning.replace('|', "\\|"))
    });
    table(["name", "title", "meaning"], rows)
}

/// A table for each kind of place: its keys, each once.
fn keys() -> String {
    use Place::{Details, Events, FlowPane, Flows, Help, Latency, Order, Prompt, Rows};
    let kinds: [(&str, &[Place]); 3] = [
        ("In a view", &[Rows, FlowPane, Flows, Latency, Events]),
        ("In details, help and the choice of an order", &[Details, Help, Order]),
        ("While a filter is typed", &[Prompt]),
    ];
    let tables = kinds.map(|(title, places)| {
        let mut rows: Vec<String> = Vec::new();
        for binding in BINDINGS.iter().filter(|one| one.places.iter().any(|place| places.contains(place))) {
            let keys: Vec<String> = binding.label.split(' ').map(|key| format!("`{key}`")).collect();
            let row = format!("| {} | {} |\n", keys.join(", "), binding.help);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        format!("{title}:\n\n{}", table(["key", "does"], rows))
    });
    tables.join("\n")
}

fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = String>) -> String {
    let head = format!("| {} |\n|{}\n", titles.join(" | "), " --- |".repeat(N));
    rows.into_iter().fold(head, |table, row| table + &row)
}

fn orders() -> String {
    let quoted =
        |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!(
        "- `--sort` takes {}; a `-` in front reverses the order, as in `--sort=-peer`.\n- `--group` takes {}.\n",
        quoted(RowOrder::ALL.map(RowOrder::name).to_vec()),
        quoted(Group::ALL.map(Group::name).to_vec()),
    )
}

fn exit_codes() -> String {
    let help = Cli::command().get_after_help().expect("it says the exit codes").to_string();
    let codes = help.split_once("Exit codes: ").expect("they are there").1.lines().next().expect("a line");
    let rows = codes.trim_end_matches('.').split(", ").map(|code| {
        let (code, meaning) = code.split_once(' ').expect("a code and its meaning");
        format!("| {code} | {meaning} |\n")
    });
    table(["code", "meaning"], rows)
}

fn options() -> String {
    let command = Cli::command();
    arguments(command.get_arguments())
}

/// Those that only this subcommand has.
fn new_options(subcommand: &str) -> String {
    let command = Cli::command();
    let subcommand = command.find_subcommand(subcommand).expect("there is one");
    let is_new = |one: &&Arg| command.get_arguments().all(|other| other.get_id() != one.get_id());
    arguments(subcommand.get_arguments().filter(is_new))
}

/// How many variables of each table are had, and how well.
fn estats_counts() -> String {
    let row = |table: EstatsTable| {
        let count = |quality: Option<Quality>| {
            let all = table.variables().iter().map(|variable| match variable.source {
                Source::Listed { quality, .. } => Some(quality),
                Source::Missing(_) => None,
            });
            all.filter(|is| *is == quality).count().to_string()
        };
        let qualities = Quality::ALL.map(|quality| count(Some(quality))).join(" | ");
        format!("| {} | {} | {qualities} | {} |\n", table.name(), table.variables().len(), count(None))
    };
    table(["table", "variables", "exact", "derived", "approximate", "missing"], EstatsTable::ALL.map(row))
}

/// Every variable of RFC 4898, and how it is had or why not.
fn estats_variables() -> String {
    let tables = EstatsTable::ALL.map(|one| {
        let rows = one.variables().iter().map(|variable| {
            let (quality, how) = match variable.source {
                Source::Listed { quality, how, .. } => (quality.name(), how),
                Source::Missing(why) => ("-", why.reason()),
            };
            format!("| `{}` | {} | {quality} | {how} |\n", variable.name, variable.unit)
        });
        format!(
            "### tcpEStats{}\n\n{}",
            one.name(),
            table(["variable", "unit", "quality", "how, or why not"], rows)
        )
    });
    tables.join("\n")
}

/// The metrics of single connections.
fn flow_metrics() -> String {
    let rows = tcptop::output::metrics::flow_metrics()
        .map(|(name, kind, meaning, field)| format!("| `{name}` | {kind} | {meaning} | `{field}` |\n"));
    table(["metric", "type", "meaning", "of `struct tcp_info`"], rows)
}

fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows = arguments.filter(|one| !one.is_hide_set()).map(|one| {
        let values: Vec<&str> =
            one.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
        let takes = if takes_value(one) { values.join(" ") } else { String::new() };
        // A value that may be left out is joined by `=`.
        let is_optional = one.get_num_args().is_some_and(|count| count.min_values() == 0);
        let takes = if takes_value(one) && is_optional { format!("[={takes}]") } else { takes };
        let name = match (one.get_short(), one.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long} {takes}"),
            (None, Some(long)) => format!("--{long} {takes}").replace(" [", "["),
            (Some(short), None) => format!("-{short} {takes}"),
            (None, None) => takes,
        };
        let defaults: Vec<_> = one.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let help = one.get_help().map(ToString::to_string).unwrap_or_default();
        let default = if takes_value(one) { defaults.join(" ") } else { String::new() };
        let cells = [format!("`{}`", name.trim()), default, help].map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    });
    table(["option", "default", "does"], rows)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The objects of the JSON output, by their types.
fn json_objects() -> String {
    let schema = schema().to_value();
    let rows = schema["oneOf"].as_array().into_iter().flatten().map(|object| {
        format!("| `{}` | {} |\n", text(&object["properties"]["type"]["const"]), text(&object["description"]))
    });
    table(["type", "what it is"], rows)
}

/// The fields of the JSON output. What several objects have stands once.
fn json_fields() -> String {
    let parts = [
        ("Every object", vec!["Head"]),
        ("`handshake`, `retransmit` and `close`", vec!["Connection", "Head"]),
        ("`handshake`", vec!["Handshake", "Connection"]),
        ("`retransmit`", vec!["Retransmit", "Connection"]),
        ("`close`", vec!["Close", "Connection"]),
        ("`peer` and `summary`", vec!["Figures"]),
        ("`peer`", vec!["Peer", "Head", "Figures"]),
        ("Each of `verdicts`", vec!["PeerVerdict"]),
        ("`accept_queue`", vec!["AcceptQueue"]),
        ("`socket`", vec!["Socket"]),
        ("`timer`", vec!["Timer"]),
        ("`memory`", vec!["Memory"]),
        ("`tcp_info`", vec!["tcp_info"]),
        ("`bbr`", vec!["Bbr"]),
        ("`vegas`", vec!["Vegas"]),
        ("`dctcp`", vec!["Dctcp"]),
        ("`stats`, whose `tables` are in [rfc4898.md](rfc4898.md)", vec!["Stats", "Head"]),
        ("`stats_variables`", vec!["StatsVariables"]),
        ("`kernel_retransmit`", vec!["KernelRetransmit", "Head"]),
        ("`kernel_retransmits`", vec!["KernelRetransmits", "Head"]),
        ("Each of `variables`", vec!["VariableObject"]),
        ("`summary`", vec!["Summary", "Head", "Figures"]),
        ("`thresholds`", vec!["Thresholds"]),
        ("`missed_records`", vec!["missed_records"]),
        ("`missed_packets`", vec!["missed_packets"]),
        ("`report`", vec!["Report"]),
    ];
    let schema = types::<(Object<'_>, Connection<'_>, Head<'_>, Figures)>();
    let fields = |part: &str| schema[part]["properties"].as_object().expect("an object").clone();
    let tables = parts.map(|(title, of)| {
        let (of, besides) = of.split_first().expect("one at the least");
        let besides: Vec<_> = besides.iter().map(|part| fields(part)).collect();
        let own =
            fields(of).into_iter().filter(|(name, _)| besides.iter().all(|part| !part.contains_key(name)));
        let rows = own.map(|(name, field)| {
            format!("| `{name}` | {} | {} |\n", words(&field, &schema), text(&field["description"]))
        });
        format!("### {title}\n\n{}", table(["field", "type", "meaning"], rows))
    });
    tables.join("\n")
}

/// What a field can be.
fn words(field: &Value, types: &Value) -> String {
    if let Some(name) = field["$ref"].as_str() {
        return words(&types[name.trim_start_matches("#/$defs/")], types);
    }
    if let Some(value) = field.get("const") {
        return format!("`{}`", value.to_string().trim_matches('"'));
    }
    if let Some(values) = field["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(", ");
    }
    let choice = field["anyOf"].as_array().or_else(|| field["oneOf"].as_array());
    match (&field["type"], choice) {
        (Value::String(one), _) => one.clone(),
        (Value::Array(several), _) => several.iter().map(text).collect::<Vec<_>>().join(" or "),
        (_, Some(several)) => several.iter().map(|one| words(one, types)).collect::<Vec<_>>().join(" or "),
        _ => panic!("a field without a type: {field}"),
    }
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

#[test]
fn generated_texts_are_up_to_date() {
    for (page, name, text) in GENERATED {
        let old = read(page);
        let begin = format!("<!-- generated: {name} -->\n");
        let (before, rest) = old.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
        let (is, after) =
            rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{page}: {name} has no end"));
        let should_be = format!("\n{}\n", text());
        if is != should_be && std::env::var_os("UPDATE_DOCS").is_some() {
            let new = format!("{before}{begin}{should_be}<!-- end -->{after}");
            // In one step, because the other tests read it meanwhile.
            let unfinished = root().join(format!("{page}.new"));
            fs::write(&unfinished, new).expect("the page can be written");
            fs::rename(unfinished, root().join(page)).expect("and take the place of the old one");
        } else {
            assert_eq!(is, should_be, "{page}: `{name}` is out of date; UPDATE_DOCS=1 writes it");
        }
    }
}

#[test]
fn the_readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= MOST_WORDS, "{words} words");
}

/// Every term of the table of filters is one, and every key of the grammar is in it.
#[test]
fn terms_of_filters_are_terms() {
    let usage = read("docs/usage.md");
    let rows = usage.lines().skip_while(|line| !line.starts_with("| term |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let mut known = BTreeSet::new();
    for row in rows {
        for term in row.split('|').nth(1).expect("a first column").split(", `") {
            let term = term.trim().trim_matches('`');
            let name: String =
                term.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
            let text = if name == term && name != "web" {
                format!("{term}>1{}", unit(term))
            } else {
                term.to_owned()
            };
            assert!(text.parse::<Filter>().is_ok(), "{text}");
            known.insert(name);
        }
    }
    for wrong in ["nonsense:1", "nonsense>1"] {
        let expected = wrong.parse::<Filter>().unwrap_err().expected;
        let names =
            expected.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("it lists them").0;
        for name in names.split(", ") {
            assert!(known.contains(name), "{name} is not in the table");
        }
    }
}

fn unit(figure: &str) -> &'static str {
    match figure {
        "p50" | "p90" | "p99" | "max" | "rtt" => "ms",
        "setup_p50" | "setup_p90" | "setup_p99" | "setup_max" => "ms",
        _ => "",
    }
}

#[test]
fn links_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&page).parent().expect("pages are in the repository");
            let path = if path.is_empty() { root().join(&page) } else { root().join(folder).join(path) };
            assert!(path.exists(), "{page}: {target}");
            if !anchor.is_empty() {
                let linked = fs::read_to_string(&path).expect("a page");
                assert!(
                    headings(&linked).any(|heading| heading == anchor),
                    "{page}: no heading for {target}"
                );
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// As GitHub makes anchors of them.
fn headings(page: &str) -> impl Iterator<Item = String> {
    let titles =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles.map(|title| {
        let kept = title.chars().filter(|&letter| letter.is_alphanumeric() || " -_".contains(letter));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    })
}

#[test]
fn command_lines_are_understood() {
    let mut seen = 0;
    for page in pages() {
        for line in commands(&read(&page)) {
            for words in tcptop_commands(&line) {
                let parsed = Cli::try_parse_from(&words);
                let is_fine = match &parsed {
                    Ok(_) => true,
                    Err(error) => !error.use_stderr(),
                };
                assert!(is_fine, "{page}: {line}\n{}", parsed.unwrap_err());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// What the unit and the DaemonSet run, with the options that their comments give as examples.
#[test]
fn command_lines_of_the_packages_are_understood() {
    let unit = read("packaging/systemd/tcptop.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).expect("it starts it");
    let options = read("packaging/systemd/tcptop.default");
    let options = options.lines().filter_map(|line| line.split_once("TCPTOP_OPTIONS=")).map(|(_, set)| set);
    let of_unit = options.map(|set| start.replace("$TCPTOP_OPTIONS", set.trim_matches('"')));
    let daemon = read("packaging/kubernetes/tcptop.yaml");
    let arguments = daemon.lines().skip_while(|line| line.trim() != "args:").skip(1);
    let arguments = arguments.map_while(|line| line.trim().strip_prefix("- "));
    let of_daemon = format!("tcptop {}", arguments.collect::<Vec<_>>().join(" "));
    let mut seen = 0;
    for line in of_unit.chain([of_daemon]) {
        let parsed = Cli::try_parse_from(line.split_whitespace());
        assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
        assert!(line.starts_with("tcptop serve"), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// The lines of blocks of shell commands, continued ones as one, and what is quoted in the text.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (number, part) in page.split("```").enumerate() {
        if number % 2 == 0 {
            let quoted = part.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
            // A subcommand by itself is mentioned, not run.
            commands.extend(quoted.filter(|code| code.contains("tcptop ") && code != "tcptop replay"));
        } else if let Some(("" | "sh" | "console", lines)) = part.split_once('\n') {
            commands.extend(lines.replace("\\\n", " ").lines().map(str::to_owned));
        }
    }
    commands
}

/// The arguments of each call of tcptop within a line, that is, of each word `tcptop` that runs something.
fn tcptop_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for words in pipeline(line) {
        let runs = |word: &String| word == "tcptop" || word.ends_with("/tcptop");
        let is_prefix = |word: &String| {
            ["sudo", "nsenter", "ssh", "ip", "cargo", "setcap", "install", "docker"].contains(&word.as_str())
        };
        let Some(at) = words.iter().position(runs) else { continue };
        let is_argument =
            ["setcap", "install", "cargo"].iter().any(|tool| words[..at].iter().any(|word| word == tool));
        if (at == 0 || is_prefix(&words[0])) && !is_argument {
            let command = words[at..].iter().take_while(|word| !word.starts_with('>')).cloned();
            // What stands for names in a synopsis is none.
            let command: Vec<String> =
                command.filter(|word| !word.starts_with('[') && word != "...").collect();
            commands.push(command);
        }
    }
    commands
}

/// The words of the commands of a line, as a shell splits them, as far as documents need it.
fn pipeline(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('#', None) if word.is_none() => break,
            ('|' | ';' | '&', None) => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    commands.push(words);
    commands
}

/// What pages say in backticks about the source is true: files (by path, or by name alone) and functions exist.
#[test]
fn files_and_functions_that_are_named_exist() {
    let files = source_files(&root());
    let sources: Vec<String> =
        files.iter().filter(|file| file.ends_with(".rs")).map(|file| read(file)).collect();
    let is_there = |named: &str| match named {
        _ if named.contains('/') => files.iter().any(|file| file == named),
        _ => files.iter().any(|file| file.rsplit('/').next() == Some(named)),
    };
    let (mut paths, mut functions) = (0, 0);
    for page in pages().into_iter().filter(|page| page != "CHANGELOG.md") {
        for code in read(&page).split('`').skip(1).step_by(2) {
            let path = code.split_once(": ").map_or(code, |(path, _)| path);
            let is_on_hosts = path.starts_with(['/', '~']);
            let is_source = [".rs", ".toml"].iter().any(|end| path.ends_with(end)) && !is_on_hosts;
            if is_source && !path.contains([' ', '*', '<', '{']) {
                assert!(is_there(path), "{page}: there is no {path}");
                paths += 1;
            }
            if let Some(path) = code.strip_suffix("()") {
                let name = path.rsplit("::").next().expect("one part at least");
                let definition = format!("fn {name}");
                let is_defined = |source: &String| {
                    source
                        .match_indices(&definition)
                        .any(|(at, _)| source[at + definition.len()..].starts_with(['(', '<']))
                };
                // A method is defined in a file with an `impl` of its type.
                let owner = path.rsplit("::").nth(1).filter(|owner| owner.starts_with(char::is_uppercase));
                let has_owner = |source: &&String| {
                    let is_of = |line: &str, owner: &str| {
                        line.trim_start().starts_with("impl")
                            && line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == owner)
                    };
                    owner.is_none_or(|owner| source.lines().any(|line| is_of(line, owner)))
                };
                let is_there = sources.iter().filter(has_owner).any(is_defined);
                assert!(is_there, "{page}: there is no function {path}");
                functions += 1;
            }
        }
    }
    assert!(paths > 50 && functions > 20, "{paths} {functions}");
}

/// Paths of all source files, from the root of the repository.
fn source_files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of the repository") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().expect("it has one").is_dir();
            if is_folder
                && entry.file_name() != "target"
                && !entry.file_name().as_encoded_bytes().starts_with(b".")
            {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "toml") {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    files
}

/// The two walks through the code stay as short as they are meant to be.
#[test]
fn ways_through_the_code_have_ten_lines_at_most() {
    let page = read("ARCHITECTURE.md");
    for way in ["## One packet's way", "## One key's way"] {
        let section =
            page.split(way).nth(1).and_then(|rest| rest.split("\n## ").next()).expect("it is there");
        let lines = section.lines().skip(1).filter(|line| !line.is_empty()).count();
        assert!((5..=10).contains(&lines), "{way}: {lines} lines");
    }
}

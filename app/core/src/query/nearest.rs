//! The valid expression that comes closest to a wrong term. Filters of other tools are known by name; beyond them the
//! names that are spelt alike are tried.

use strsim::damerau_levenshtein;

use super::parse::{self, KEYS, Piece, SIGNS};
use super::term::{Figure, Unit};
use crate::flow::{CauseTerm, Outcome, Role};
use crate::stats::Verdict;
use crate::why::Why;

/// What other tools and people call a key or a figure.
const ALIASES: [(&str, &[&str]); 22] = [
    ("peer", &["host", "ip", "addr", "address", "dst", "dest", "daddr", "raddr", "remote", "net"]),
    ("local", &["src", "source", "saddr", "laddr"]),
    ("port", &["dport", "dstport", "rport", "service", "svc"]),
    ("lport", &["sport", "srcport", "localport"]),
    ("proc", &["process", "comm", "cmd", "command", "program", "exe", "app"]),
    ("container", &["pod", "docker", "cgroup"]),
    ("iface", &["interface", "ifname", "if", "dev", "device", "nic"]),
    ("role", &["direction", "dir", "side"]),
    ("outcome", &["state", "status", "result"]),
    ("cause", &["trigger", "why"]),
    ("verdict", &["problem", "letter"]),
    (
        "retr",
        &[
            "loss",
            "lost",
            "retrans",
            "retransmit",
            "retransmission",
            "retransmissions",
            "rexmit",
            "drop",
            "drops",
        ],
    ),
    ("rtt", &["latency", "delay", "time", "ping", "median"]),
    ("setup_p50", &["setup50"]),
    ("setup_p90", &["setup90"]),
    ("setup_p99", &["setup99"]),
    ("setup_max", &["setupmax"]),
    ("aborted", &["abort", "aborts"]),
    ("new", &["rate", "conns", "connections"]),
    ("tries", &["syns", "attempts"]),
    ("unanswered", &["unans", "timeout", "timeouts", "silent"]),
    ("age", &["since", "uptime", "duration"]),
];

/// A term for each key, shown where only the key is known.
const EXAMPLES: [(&str, &str); 14] = [
    ("peer", "peer:10.0.0.0/8"),
    ("local", "local:10.0.0.1"),
    ("port", "port:443"),
    ("lport", "lport:40001"),
    ("iface", "iface:eth0"),
    ("proc", "proc:nginx"),
    ("pid", "pid:1234"),
    ("container", "container:web"),
    ("unit", "unit:nginx"),
    ("role", "role:client"),
    ("outcome", "outcome:refused"),
    ("cause", "cause:timeout"),
    ("verdict", "verdict:N"),
    ("why", "why:prohibited"),
];

/// Returns whether a word is a key with its value behind it, as in `port 443` or `host 10.0.0.1`.
pub(super) fn takes(word: &str, after: Piece<'_>) -> bool {
    let key = KEYS.into_iter().find(|key| *key == word).or_else(|| aliased(word));
    key.is_some_and(|key| parse::is_valid(&with_value(key, after.text)))
}

/// Returns whether another tool has a key of this name.
pub(super) fn is_alias(word: &str) -> bool {
    aliased(word).is_some()
}

fn aliased(word: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(_, names)| names.contains(&word)).map(|(key, _)| *key)
}

/// The valid expression that comes closest to `wrong`, between the pieces around it.
pub(super) fn to(wrong: &str, before: Option<Piece<'_>>, after: Option<Piece<'_>>) -> Option<String> {
    let candidates = rewritten(wrong)
        .chain(joined(wrong, before, after))
        .chain(renamed(wrong, after))
        .chain(respelt(wrong))
        .chain(example(wrong));
    candidates.into_iter().find(|candidate| parse::is_valid(candidate))
}

/// Without the signs of other grammars.
fn rewritten(wrong: &str) -> impl Iterator<Item = String> + use<'_> {
    let comparison = [("=>", ">="), ("=<", "<="), ("≥", ">="), ("≤", "<=")]
        .into_iter()
        .map(|(sign, ours)| wrong.replacen(sign, ours, 1));
    let negated = ["!=", "<>"].into_iter().filter_map(|sign| wrong.split_once(sign));
    let negated = negated.flat_map(|(key, value)| [format!("!{key}:{value}"), format!("!{key}={value}")]);
    let minus = wrong.strip_prefix(['-', '^', '~']).map(|rest| format!("!{rest}"));
    let either = wrong.replace("||", "|").replace([';', '|'], ",");
    let ports = Some(wrong).filter(|text| text.starts_with(|letter: char| letter.is_ascii_digit()));
    let ports = ports.map(|ports| format!("port:{ports}"));
    let bare = wrong.trim_matches(['(', ')', '*']).to_owned();
    let all = wrong.replace("&&", " ").replace(['&', '+', ',', ';'], " ");
    comparison
        .chain(negated)
        .chain(minus)
        .chain(one_key(wrong))
        .chain([either])
        .chain(ports)
        .chain([bare, all])
        .filter(move |candidate| candidate != wrong)
}

/// `port:80|port:81` as one term of several values.
fn one_key(wrong: &str) -> Option<String> {
    let parts: Vec<&str> = wrong.split('|').filter(|part| !part.is_empty()).collect();
    let (key, _) = parts.first()?.split_once(':')?;
    let values: Option<Vec<&str>> = parts
        .iter()
        .map(|part| part.split_once(':').filter(|(other, _)| *other == key).map(|(_, v)| v))
        .collect();
    Some(format!("{key}:{}", values?.join(",")))
}

/// With its neighbours: `port:80 and web`, `port:80 or port:81`, `port 443`, `not web`.
fn joined(wrong: &str, before: Option<Piece<'_>>, after: Option<Piece<'_>>) -> Vec<String> {
    let (before, after) = (before.map(|piece| piece.text), after.map(|piece| piece.text));
    match (wrong.to_lowercase().as_str(), before, after) {
        ("and" | "&&" | "&", Some(before), Some(after)) => vec![format!("{before} {after}")],
        ("or" | "||" | "|", Some(before), Some(after)) => {
            one_key(&format!("{before}|{after}")).into_iter().collect()
        }
        ("not", _, Some(after)) => vec![format!("!{after}")],
        (word, _, Some(after)) => vec![with_value(word, after)],
        _ => Vec::new(),
    }
}

fn with_value(key: &str, value: &str) -> String {
    let sign = if value.starts_with(SIGNS) { "" } else { usual_sign(key) };
    format!("{key}{sign}{value}")
}

/// Under the name that comes closest.
fn renamed(wrong: &str, after: Option<Piece<'_>>) -> Vec<String> {
    let (negation, name, rest) = parts(wrong);
    let Some(name) = closest(name) else { return Vec::new() };
    let value = rest.trim_start_matches([':', '<', '>', '=', '~']);
    let usual = format!("{negation}{name}{}{value}", usual_sign(name));
    match after {
        Some(after) if rest.is_empty() => vec![with_value(name, after.text)],
        _ if rest.is_empty() => Vec::new(),
        _ => vec![format!("{negation}{name}{rest}"), usual],
    }
}

/// With the value that is spelt alike, where there are only a few.
fn respelt(wrong: &str) -> Option<String> {
    let (key, value) = wrong.split_once([':', '='])?;
    let names: &[&str] = match key.trim_start_matches('!') {
        "role" => &Role::ALL.map(Role::name),
        "outcome" => &Outcome::ALL.map(Outcome::name),
        "cause" => &CauseTerm::ALL.map(CauseTerm::name),
        "verdict" => &Verdict::ALL.map(Verdict::name),
        // Their labels need no quotes.
        "why" => {
            let typed = value.trim().trim_matches('"').replace([' ', '-'], "_");
            return Some(format!("{key}:{}", spelt_alike(&typed, Why::all().map(Why::label))?));
        }
        _ => return None,
    };
    Some(format!("{key}:{}", spelt_alike(value.trim(), names.iter().copied())?))
}

/// The name that differs least. A longer one may have more that is wrong with it, but two letters are another word.
fn spelt_alike<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let tolerated = typed.chars().count() / 3;
    let distances = names.map(|name| (damerau_levenshtein(name, &typed), name));
    distances.filter(|(distance, _)| *distance <= tolerated).min().map(|(_, name)| name)
}

/// A term of the key that comes closest, whatever value was typed. Of a key that is right only the value is wrong, and
/// that is what is said.
fn example(wrong: &str) -> Option<String> {
    let (negation, typed, rest) = parts(wrong);
    let name = closest(typed).filter(|name| *name != typed.to_lowercase() || rest.is_empty())?;
    let known = EXAMPLES.iter().find(|(key, _)| *key == name).map(|(_, example)| (*example).to_owned());
    let figure = || Figure::ALL.into_iter().find(|figure| figure.name() == name);
    let compared = |figure: Figure| match figure.unit() {
        Unit::Time => format!("{name}>50ms"),
        Unit::Rate => format!("{name}>5/s"),
        Unit::Percent => format!("{name}>1%"),
        Unit::Count => format!("{name}>1"),
    };
    known.or_else(|| figure().map(compared)).map(|term| format!("{negation}{term}"))
}

/// `!`, the name, and the rest with its sign.
fn parts(wrong: &str) -> (&str, &str, &str) {
    let (negation, term) = if wrong.starts_with('!') { wrong.split_at(1) } else { ("", wrong) };
    let end =
        term.find(|letter: char| !letter.is_alphanumeric() && !"_/%".contains(letter)).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    (negation, name, rest.trim_start())
}

const fn sign_of(unit: Unit) -> &'static str {
    match unit {
        Unit::Time | Unit::Rate | Unit::Percent => ">",
        Unit::Count => "=",
    }
}

/// What stands between a key or a figure and its value most often.
fn usual_sign(name: &str) -> &'static str {
    let figure = Figure::ALL.into_iter().find(|figure| figure.name() == name);
    figure.map_or(":", |figure| sign_of(figure.unit()))
}

/// The key or figure of this name, or the one that is meant by it.
fn closest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let names = || KEYS.into_iter().chain(Figure::ALL.map(Figure::name));
    let exact = names().find(|known| *known == name);
    let alike = || spelt_alike(&name, names());
    exact.or_else(|| aliased(&name)).or_else(alike)
}

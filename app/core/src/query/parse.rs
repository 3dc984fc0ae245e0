//! Parses an expression into terms, or finds the place where it makes no sense.
//!
//! Nothing is read as a word that could be meant as a term: such a word matches nothing, and an empty table looks like
//! good news. Quotes make a word of anything.

use core::ops::Range;

use super::term::{Comparison, Ends, Figure, OwnerKey, Ports, Term, Test, Unit};
use super::{FilterError, nearest};
use crate::flow::{CauseTerm, Outcome, Role};
use crate::stats::Verdict;
use crate::units::{Time, decimal};
use crate::why::Why;

/// What can be before a `:`.
pub(super) const KEYS: [&str; 14] = [
    "peer",
    "port",
    "local",
    "lport",
    "iface",
    "role",
    "outcome",
    "cause",
    "verdict",
    "why",
    "proc",
    "pid",
    "container",
    "unit",
];
/// What a comparison begins with.
pub(super) const SIGNS: [char; 3] = ['<', '>', '='];

/// Part of an expression, and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    at: usize,
}

/// The terms of an expression.
pub(super) fn terms(text: &str) -> Result<Vec<Term>, FilterError> {
    let pieces = joined(text, &pieces(text)?);
    let parsed = pieces.iter().enumerate().map(|(index, piece)| {
        let after = pieces.get(index + 1).copied();
        term(*piece, after).map_err(|error| {
            let before = index.checked_sub(1).map(|before| pieces[before]);
            FilterError { nearest: nearest::to(piece.text, before, after), ..error }
        })
    });
    parsed.collect()
}

/// Returns whether an expression makes sense.
pub(super) fn is_valid(text: &str) -> bool {
    let all_terms = |pieces: Vec<Piece<'_>>| {
        let each = |(index, piece): (usize, &Piece<'_>)| term(*piece, pieces.get(index + 1).copied()).is_ok();
        !pieces.is_empty() && pieces.iter().enumerate().all(each)
    };
    pieces(text).is_ok_and(|pieces| all_terms(joined(text, &pieces)))
}

/// Returns whether a word needs quotes: without them it is read as something else, or not at all.
pub(super) fn needs_quotes(word: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
    let lower = word.to_lowercase();
    !word.chars().all(is_plain)
        || word.is_empty()
        || is_connective(&lower)
        || nearest::is_alias(&lower)
        || is_name(&lower)
        || shorthand(&lower).is_some()
}

/// The part of an expression that a person who is still typing it has finished: without a last word that may become a
/// term, such as the `p9` of `p99>50ms`, or is still without its value.
pub(super) fn finished(text: &str) -> &str {
    let typed = text.trim_end();
    let last = typed.rsplit(char::is_whitespace).next().unwrap_or(typed);
    let word = last.strip_prefix('!').unwrap_or(last).to_lowercase();
    let may_become = |name: &str| name == word || name.starts_with(&word) && typed.len() == text.len();
    let is_unfinished = !word.is_empty() && names().any(may_become);
    if is_unfinished { &text[..typed.len() - last.len()] } else { text }
}

fn names() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(Figure::ALL.map(Figure::name))
}

fn is_name(word: &str) -> bool {
    names().any(|name| name == word)
}

/// Words and signs that join terms in other grammars.
fn is_connective(word: &str) -> bool {
    ["and", "or", "not", "&&", "||", "&", "|"].contains(&word)
}

/// Splits at blanks that are not within quotes.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, FilterError> {
    let (mut pieces, mut begin, mut quote) = (Vec::new(), None, None);
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('\\', Some(_)) => drop(letters.next()),
            ('"', Some(_)) => quote = None,
            ('"', None) => {
                quote = Some(at);
                begin.get_or_insert(at);
            }
            (letter, None) if letter.is_whitespace() => {
                pieces.extend(begin.take().map(|from| Piece { text: &text[from..at], at: from }));
            }
            (_, _) => drop(begin.get_or_insert(at)),
        }
    }
    if let Some(at) = quote {
        return Err(FilterError::new(at..text.len(), "a closing quote"));
    }
    pieces.extend(begin.map(|from| Piece { text: &text[from..], at: from }));
    Ok(pieces)
}

/// Pieces with blanks around a comparison, or behind the colon of a key, are one.
fn joined<'a>(text: &'a str, pieces: &[Piece<'a>]) -> Vec<Piece<'a>> {
    let mut joined: Vec<Piece<'a>> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.wants_more() || piece.text.starts_with(SIGNS) => {
                last.text = &text[last.at..piece.at + piece.text.len()];
            }
            _ => joined.push(*piece),
        }
    }
    joined
}

fn term(piece: Piece<'_>, after: Option<Piece<'_>>) -> Result<Term, FilterError> {
    let (negated, piece) = match piece.text.strip_prefix('!') {
        Some(_) => (true, piece.from(1)),
        None => (false, piece),
    };
    if piece.text.is_empty() {
        return Err(piece.expected("a term behind the !, without a space"));
    }
    Ok(Term { negated, test: test(piece, after)? })
}

fn test(piece: Piece<'_>, after: Option<Piece<'_>>) -> Result<Test, FilterError> {
    if piece.is_block() {
        return Ok(Test::Peer(vec![ends(piece)?]));
    }
    let is_sign = |letter: char| letter == ':' || letter == '"' || SIGNS.contains(&letter);
    let Some(end) = piece.text.find(is_sign) else { return bare(piece, after) };
    let (key, rest) = (piece.to(end).trimmed(), piece.from(end));
    let name = key.text.to_lowercase();
    if rest.text.starts_with('"') || piece.is_address() {
        return word(piece);
    }
    let value = rest.text.strip_prefix(':').or_else(|| {
        // `port=443` cannot be meant in another way.
        let value = rest.text.strip_prefix("==").or_else(|| rest.text.strip_prefix('='));
        value.filter(|_| KEYS.contains(&name.as_str()))
    });
    if let Some(value) = value {
        return listed(key, rest.from(rest.text.len() - value.len()).trimmed());
    }
    let (comparison, sign) =
        Comparison::begins(rest.text).ok_or_else(|| rest.expected("one of <, <=, =, >=, >"))?;
    let figure = Figure::ALL.into_iter().find(|figure| figure.name() == name.replace('-', "_"));
    let names = || Figure::ALL.map(Figure::name).join(", ");
    let figure =
        figure.ok_or_else(|| key.expected(format!("a figure ({}), or quotes around it", names())))?;
    let amount = amount(figure.unit(), rest.from(sign.len()).trimmed())?;
    Ok(Test::Figure { figure, comparison, amount })
}

/// A piece without a sign: a word to search for, unless it can mean more.
fn bare(piece: Piece<'_>, after: Option<Piece<'_>>) -> Result<Test, FilterError> {
    let lower = piece.text.to_lowercase();
    if after.is_some_and(|after| nearest::takes(&lower, after)) {
        return Err(piece.expected("a key with its value, or quotes around it to look for the word"));
    }
    if let Some(test) = shorthand(&lower) {
        return Ok(test);
    }
    if is_connective(&lower) {
        return Err(piece.expected(match lower.as_str() {
            "not" => "a ! before the term",
            "or" | "||" | "|" => {
                "terms alone: all must hold, and of several values one is enough (port:80,443)"
            }
            _ => "terms alone, without a word between them: all must hold",
        }));
    }
    if is_name(&lower) {
        return Err(piece.expected("a value behind it, or quotes around it to look for the word"));
    }
    let is_text = |letter: char| letter.is_alphanumeric() || "._-[]→".contains(letter);
    match piece.text.find(|letter| !is_text(letter)) {
        None => word(piece),
        Some(_) => Err(piece.expected("a term, or quotes around it: words are letters, digits and ._-")),
    }
}

/// Outcomes, roles and verdicts need no key. What is both an outcome and a verdict is taken for the outcome.
fn shorthand(word: &str) -> Option<Test> {
    let outcome = Outcome::ALL.into_iter().find(|outcome| is_called(outcome.name(), word));
    let role = || Role::ALL.into_iter().find(|role| is_called(role.name(), word));
    let verdict = || Verdict::ALL.into_iter().find(|verdict| is_called(verdict.name(), word));
    let outcome = outcome.map(|outcome| Test::Outcome(vec![outcome]));
    let role = || role().map(|role| Test::Role(vec![role]));
    outcome.or_else(role).or_else(|| verdict().map(|verdict| Test::Verdict(vec![verdict])))
}

/// Names have a hyphen for people and an underscore in JSON.
fn is_called(name: &str, text: &str) -> bool {
    text.replace('_', "-").eq_ignore_ascii_case(name)
}

fn word(piece: Piece<'_>) -> Result<Test, FilterError> {
    Ok(Test::Word(plain(piece)?.to_lowercase()))
}

/// `key:value,value`.
fn listed(key: Piece<'_>, values: Piece<'_>) -> Result<Test, FilterError> {
    let lower = key.text.to_lowercase();
    if let Some(owner) = OwnerKey::ALL.into_iter().find(|owner| owner.name() == lower) {
        let value = if owner == OwnerKey::Pid { pid } else { owner_name };
        return Ok(Test::Owner(owner, each(values, value)?));
    }
    Ok(match lower.as_str() {
        "peer" => Test::Peer(each(values, ends)?),
        "port" => Test::Port(each(values, ports)?),
        "local" => Test::Local(each(values, ends)?),
        "lport" => Test::LocalPort(each(values, ports)?),
        "iface" => Test::Interface(each(values, name)?),
        "role" => Test::Role(each(values, role)?),
        "outcome" => Test::Outcome(each(values, outcome)?),
        "cause" => Test::Cause(each(values, cause)?),
        "verdict" => Test::Verdict(each(values, verdicts)?.concat()),
        "why" => Test::Why(each(values, why)?),
        name if is_figure(name) => return Err(key.expected("a comparison behind it, such as > or =")),
        _ => return Err(key.expected(format!("a key ({}), or quotes around it", KEYS.join(", ")))),
    })
}

fn each<T>(
    values: Piece<'_>,
    parse: impl Fn(Piece<'_>) -> Result<T, FilterError>,
) -> Result<Vec<T>, FilterError> {
    let (mut parsed, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in values.text.char_indices() {
        match letter {
            ',' if !quoted => {
                parsed.push(parse(values.to(at).from(begin))?);
                begin = at + 1;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    parsed.push(parse(values.from(begin))?);
    Ok(parsed)
}

/// `10.0.0.0/8`, `10.0.0.1:443`, `[2001:db8::1]:443`.
fn ends(piece: Piece<'_>) -> Result<Ends, FilterError> {
    let wanted = "an address or a block of addresses, with or without a port: 10.0.0.0/8, 10.0.0.1:443";
    let text = piece.text;
    let (block, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((block, "")) => (block, None),
        Some((block, port)) => (block, Some(port.strip_prefix(':').ok_or_else(|| piece.expected(wanted))?)),
        None if text.matches(':').count() == 1 => {
            text.split_once(':').map(|(block, port)| (block, Some(port))).unwrap_or((text, None))
        }
        None => (text, None),
    };
    let block = block.parse().map_err(|_| piece.expected(wanted))?;
    let port = port.map(|port| port.parse().map_err(|_| piece.expected(wanted))).transpose()?;
    Ok(Ends { block, port })
}

/// `443`, `8000-8099`.
fn ports(piece: Piece<'_>) -> Result<Ports, FilterError> {
    let (first, last) = piece.text.split_once('-').unwrap_or((piece.text, piece.text));
    let ports = first.parse().ok().zip(last.parse().ok()).filter(|(first, last)| first <= last);
    let ports = ports.map(|(first, last): (u16, u16)| Ports(first..=last));
    ports.ok_or_else(|| piece.expected("a port, 0 to 65535, or a range such as 8000-8099"))
}

fn name(piece: Piece<'_>) -> Result<String, FilterError> {
    if piece.text.is_empty() { Err(piece.expected("the name of an interface")) } else { plain(piece) }
}

fn why(piece: Piece<'_>) -> Result<String, FilterError> {
    let wanted = "what is behind a verdict, or a part of it, such as prohibited or \"no ack\"";
    let text = plain(piece)?.to_lowercase();
    let is_known = !text.is_empty() && Why::all().any(|why| why.is_called(&text));
    if is_known { Ok(text) } else { Err(piece.expected(wanted)) }
}

fn owner_name(piece: Piece<'_>) -> Result<String, FilterError> {
    if piece.text.is_empty() { Err(piece.expected("a name")) } else { Ok(plain(piece)?.to_lowercase()) }
}

fn pid(piece: Piece<'_>) -> Result<String, FilterError> {
    let pid = piece.text.parse::<u32>().map_err(|_| piece.expected("the number of a process"))?;
    Ok(pid.to_string())
}

fn is_figure(name: &str) -> bool {
    Figure::ALL.into_iter().any(|figure| figure.name() == name)
}

fn role(piece: Piece<'_>) -> Result<Role, FilterError> {
    let known = Role::ALL.into_iter().find(|role| is_called(role.name(), piece.text));
    known.ok_or_else(|| piece.expected(format!("one of {}", Role::ALL.map(Role::name).join(", "))))
}

fn cause(piece: Piece<'_>) -> Result<CauseTerm, FilterError> {
    let known = CauseTerm::ALL.into_iter().find(|cause| is_called(cause.name(), piece.text));
    known.ok_or_else(|| piece.expected(format!("one of {}", CauseTerm::ALL.map(CauseTerm::name).join(", "))))
}

fn outcome(piece: Piece<'_>) -> Result<Outcome, FilterError> {
    let known = Outcome::ALL.into_iter().find(|outcome| is_called(outcome.name(), piece.text));
    known.ok_or_else(|| piece.expected(format!("one of {}", Outcome::ALL.map(Outcome::name).join(", "))))
}

/// One or more letters, or a name.
fn verdicts(piece: Piece<'_>) -> Result<Vec<Verdict>, FilterError> {
    let of = |letter: char| {
        Verdict::ALL.into_iter().find(|verdict| verdict.letter() == letter.to_ascii_uppercase())
    };
    let named = Verdict::ALL.into_iter().find(|verdict| is_called(verdict.name(), piece.text));
    let letters = || piece.text.chars().map(of).collect::<Option<Vec<Verdict>>>();
    let verdicts =
        named.map(|verdict| vec![verdict]).or_else(letters).filter(|verdicts| !verdicts.is_empty());
    verdicts.ok_or_else(|| {
        let letters = Verdict::ALL.map(|verdict| verdict.letter().to_string());
        piece.expected(format!("letters of verdicts: {}", letters.join(", ")))
    })
}

fn amount(unit: Unit, piece: Piece<'_>) -> Result<u64, FilterError> {
    let text = piece.text;
    let (amount, wanted) = match unit {
        Unit::Time => (text.parse().ok().map(|Time(ns)| ns), "a time with its unit, such as 50ms"),
        Unit::Rate => (decimal(text.strip_suffix("/s").unwrap_or(text), 1_000), "a rate, such as 10/s"),
        Unit::Percent => (decimal(text.strip_suffix('%').unwrap_or(text), 1_000), "a share, such as 1%"),
        Unit::Count => (text.parse().ok(), "a number"),
    };
    amount.ok_or_else(|| piece.expected(wanted))
}

/// The text without its quotes, which must be around all of it.
fn plain(piece: Piece<'_>) -> Result<String, FilterError> {
    let misplaced = || piece.expected("quotes around all of it");
    let Some(inner) = piece.text.strip_prefix('"') else {
        return if piece.text.contains('"') { Err(misplaced()) } else { Ok(piece.text.to_owned()) };
    };
    let (mut text, mut letters) = (String::new(), inner.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if letters.as_str().is_empty() => return Ok(text),
            '"' => break,
            '\\' => text.extend(letters.next()),
            _ => text.push(letter),
        }
    }
    Err(misplaced())
}

impl<'a> Piece<'a> {
    fn from(self, begin: usize) -> Self {
        Self { text: &self.text[begin..], at: self.at + begin }
    }

    fn to(self, end: usize) -> Self {
        Self { text: &self.text[..end], ..self }
    }

    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        Self { text: text.trim_end(), at: self.at + self.text.len() - text.len() }
    }

    /// Part of an address with colons, or of one with a port.
    fn is_address(self) -> bool {
        self.text.chars().all(|letter| letter.is_ascii_hexdigit() || ".:[]→".contains(letter))
    }

    /// A block of addresses, such as `10.0.0.0/8`.
    fn is_block(self) -> bool {
        self.text.split_once('/').is_some_and(|(address, prefix)| {
            !address.is_empty() && self.to(address.len()).is_address() && !prefix.contains('/')
        })
    }

    /// Ends with a comparison or with the colon of a key.
    fn wants_more(self) -> bool {
        self.text.ends_with(SIGNS) || self.text.ends_with(':') && !self.is_address()
    }

    fn range(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn expected(self, what: impl Into<String>) -> FilterError {
        FilterError::new(self.range(), what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_why_is_a_part_of_a_name_or_a_label_and_nothing_else() {
        for why in Why::all() {
            for text in [why.name(), why.label()] {
                assert!(is_valid(&format!("why:\"{text}\"")), "{text}");
            }
        }
        for text in ["why:prohib", "why:\"No ACK\"", "why:QUEUE,no_ack", "!why:route"] {
            assert!(is_valid(text), "{text}");
        }
        for (text, wrong, nearest) in [
            ("why:prohibitd", 4..13, Some("why:prohibited")),
            ("!why:own_queue_ful1", 5..19, Some("!why:own_queue_full")),
            ("why:\"no akc\"", 4..12, Some("why:no_ack")),
            ("why:no_ack,zebra", 11..16, Some("why:no_ack zebra")),
            ("why:zebra", 4..9, None),
            ("why:\"\"", 4..6, None),
            ("why:", 4..4, None),
        ] {
            let error = terms(text).expect_err(text);
            assert_eq!((error.at.clone(), error.nearest.as_deref()), (wrong, nearest), "{text}");
            assert!(error.expected.contains("such as prohibited"), "{text}: {}", error.expected);
        }
    }
}

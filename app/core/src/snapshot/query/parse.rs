//! From an expression to terms, and to the place where it makes no sense.

use core::ops::Range;

use super::FilterError;
use super::term::{Comparison, Ends, Figure, Ports, Term, Test, Unit};
use crate::table::units::{Time, decimal};
use crate::table::{Outcome, Role, Verdict};

const KEYS: [&str; 8] = ["peer", "port", "local", "lport", "iface", "role", "outcome", "verdict"];

/// Part of an expression, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

/// What stands before a `:` or a comparison.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(Figure::ALL.map(Figure::name))
}

/// The terms of an expression.
pub(super) fn terms(text: &str) -> Result<Vec<Term>, FilterError> {
    pieces(text)?.into_iter().map(term).collect()
}

/// What stands between spaces, but for those within quotes.
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
        return Err(FilterError { at: at..text.len(), expected: "a closing quote".to_owned() });
    }
    pieces.extend(begin.map(|from| Piece { text: &text[from..], at: from }));
    Ok(pieces)
}

fn term(piece: Piece<'_>) -> Result<Term, FilterError> {
    let (negated, piece) = match piece.text.strip_prefix('!') {
        Some(_) => (true, piece.from(1)),
        None => (false, piece),
    };
    if piece.text.is_empty() {
        return Err(piece.expected("a term behind the !, without a space"));
    }
    Ok(Term { negated, test: test(piece)? })
}

fn test(piece: Piece<'_>) -> Result<Test, FilterError> {
    let is_sign = |letter: char| ":<>=\"".contains(letter);
    let Some(end) = piece.text.find(is_sign).filter(|&end| end > 0) else { return word(piece) };
    let (key, rest) = (piece.to(end), piece.from(end));
    if rest.text.starts_with('"') {
        return word(piece);
    }
    if let Some(values) = rest.text.strip_prefix(':') {
        // An IPv6 address has colons, too, and so has an address with a port.
        let is_key = key.text.chars().all(|letter| letter.is_ascii_alphabetic());
        if !is_key || key.text.chars().all(|letter| letter.is_ascii_hexdigit()) {
            return word(piece);
        }
        return listed(key, Piece { text: values, at: rest.at + 1 });
    }
    let comparison = Comparison::ALL.into_iter().find(|sign| rest.text.starts_with(sign.sign()));
    let comparison = comparison.ok_or_else(|| rest.expected("one of <, <=, =, >=, >"))?;
    let figure = Figure::ALL.into_iter().find(|figure| figure.name() == key.text);
    let names = || Figure::ALL.map(Figure::name).join(", ");
    let figure =
        figure.ok_or_else(|| key.expected(format!("a figure ({}), or quotes around it", names())))?;
    let amount = amount(figure.unit(), rest.from(comparison.sign().len()))?;
    Ok(Test::Figure { figure, comparison, amount })
}

fn word(piece: Piece<'_>) -> Result<Test, FilterError> {
    Ok(Test::Word(plain(piece)?.to_lowercase()))
}

/// `key:value,value`.
fn listed(key: Piece<'_>, values: Piece<'_>) -> Result<Test, FilterError> {
    Ok(match key.text {
        "peer" => Test::Peer(each(values, ends)?),
        "port" => Test::Port(each(values, ports)?),
        "local" => Test::Local(each(values, ends)?),
        "lport" => Test::LocalPort(each(values, ports)?),
        "iface" => Test::Interface(each(values, name)?),
        "role" => Test::Role(each(values, role)?),
        "outcome" => Test::Outcome(each(values, outcome)?),
        "verdict" => Test::Verdict(each(values, verdicts)?.concat()),
        "proc" => return Err(key.expected("another key: processes are not known to this version")),
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

fn role(piece: Piece<'_>) -> Result<Role, FilterError> {
    let known = Role::ALL.into_iter().find(|role| role.name() == piece.text);
    known.ok_or_else(|| piece.expected(format!("one of {}", Role::ALL.map(Role::name).join(", "))))
}

fn outcome(piece: Piece<'_>) -> Result<Outcome, FilterError> {
    let known =
        Outcome::ALL.into_iter().find(|outcome| [outcome.name(), outcome.label()].contains(&piece.text));
    known.ok_or_else(|| piece.expected(format!("one of {}", Outcome::ALL.map(Outcome::name).join(", "))))
}

/// Letters, as many as are meant.
fn verdicts(piece: Piece<'_>) -> Result<Vec<Verdict>, FilterError> {
    let of = |letter: char| {
        Verdict::ALL.into_iter().find(|verdict| verdict.letter() == letter.to_ascii_uppercase())
    };
    let verdicts: Option<Vec<Verdict>> = piece.text.chars().map(of).collect();
    let verdicts = verdicts.filter(|verdicts| !verdicts.is_empty());
    verdicts.ok_or_else(|| piece.expected("letters of verdicts: N, R, S, L"))
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

/// The text without quotes around it. They stand around all of it or nowhere.
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

    fn range(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn expected(self, what: impl Into<String>) -> FilterError {
        FilterError { at: self.range(), expected: what.into() }
    }
}

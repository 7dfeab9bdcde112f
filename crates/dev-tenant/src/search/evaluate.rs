//! Whether a user matches, by Auth0's rules.
//!
//! Fields are not tokenised: a value matches as a whole. Case counts, but for a few
//! fields. Arrays are transparent: any element will do. Unknown fields match nothing.

use std::collections::HashSet;

use serde_json::Value;

use super::dates::{self, Span};
use super::{Piece, Query};

/// Attributes that are indexed, with how their values compare. `connection`, `picture`
/// and everything that a social provider adds are not among them.
const FIELDS: [(&str, Kind); 19] = [
    ("app_metadata", Kind::Exact),
    ("blocked", Kind::Exact),
    ("created_at", Kind::Date),
    ("email", Kind::Folded),
    ("email_verified", Kind::Exact),
    ("family_name", Kind::Folded),
    ("given_name", Kind::Folded),
    ("identities", Kind::Exact),
    ("last_ip", Kind::Exact),
    ("last_login", Kind::Date),
    ("logins_count", Kind::Exact),
    ("name", Kind::Folded),
    ("nickname", Kind::Folded),
    ("phone_number", Kind::Exact),
    ("phone_verified", Kind::Exact),
    ("updated_at", Kind::Date),
    ("user_id", Kind::Exact),
    ("user_metadata", Kind::Exact),
    ("username", Kind::Exact),
];

/// Where a bare term looks.
const NORMALISED: [&str; 5] = ["email", "name", "given_name", "family_name", "nickname"];

/// Whether a user, in the shape in which `GET /api/v2/users/{id}` shows them, matches.
///
/// What [`check`](super::check) refuses matches nobody.
#[must_use]
pub fn matches(query: &Query, user: &Value) -> bool {
    Matcher::new(query).matches(user)
}

/// A query made ready to be tried on many users.
#[derive(Debug)]
pub(crate) enum Matcher {
    All,
    Nobody,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Exists(Path),
    Test(Path, Test),
    /// Many values of one field: a look-up instead of a comparison for each.
    AnyOf(Path, HashSet<String>, Vec<Test>),
}

impl Matcher {
    pub(crate) fn new(query: &Query) -> Self {
        match query {
            Query::All => Self::All,
            Query::Term { field, value } | Query::Phrase { field, value } => {
                Self::test(field.as_deref(), &|kind| Test::exact(kind, value))
            }
            Query::Wildcard { field, pattern } => {
                let metadata = field.as_deref().is_some_and(is_user_metadata);
                if metadata {
                    return Self::Nobody;
                }
                Self::test(field.as_deref(), &|kind| Test::pattern(kind, pattern))
            }
            Query::Range {
                field,
                from,
                to,
                from_inclusive,
                to_inclusive,
            } => {
                let metadata = field.as_deref().is_none_or(is_user_metadata);
                if metadata {
                    return Self::Nobody;
                }
                let lower = from.as_deref().map(|end| (end, *from_inclusive));
                let upper = to.as_deref().map(|end| (end, *to_inclusive));
                Self::test(field.as_deref(), &|kind| {
                    Test::Range(End::new(kind, lower), End::new(kind, upper))
                })
            }
            Query::Exists(field) => Path::new(field).map_or(Self::Nobody, Self::Exists),
            Query::And(parts) => Self::And(parts.iter().map(Self::new).collect()),
            Query::Or(parts) => Self::any(parts),
            Query::Not(inner) => Self::Not(Box::new(Self::new(inner))),
            Query::Boost { query, .. } => Self::new(query),
            Query::Fuzzy { .. } | Query::Proximity { .. } => Self::Nobody,
        }
    }

    /// A test of one field, or of all that a bare term looks at.
    fn test(field: Option<&str>, test: &dyn Fn(Kind) -> Test) -> Self {
        let of = |field: &str| match Path::new(field) {
            None => Self::Nobody,
            Some(path) => {
                let test = test(path.kind);
                Self::Test(path, test)
            }
        };
        match field {
            Some(field) => of(field),
            None => Self::Or(NORMALISED.into_iter().map(of).collect()),
        }
    }

    fn any(parts: &[Query]) -> Self {
        let field_of = |part: &Query| match part {
            Query::Term { field, .. } | Query::Phrase { field, .. } => field.clone(),
            _ => None,
        };
        let all: Vec<Self> = parts.iter().map(Self::new).collect();
        let first = parts.first().and_then(field_of);
        let alike = first.is_some() && parts.iter().all(|part| field_of(part) == first);
        let path = first.as_deref().and_then(Path::new);
        let (true, Some(path)) = (alike && parts.len() > 4, path) else {
            return Self::Or(all);
        };
        let tests: Vec<Test> = all
            .into_iter()
            .filter_map(|one| match one {
                Self::Test(_, test) => Some(test),
                _ => None,
            })
            .collect();
        let texts = tests.iter().filter_map(|test| match test {
            Test::Exact(exact) => Some(exact.text.clone()),
            _ => None,
        });
        Self::AnyOf(path, texts.collect(), tests)
    }

    pub(crate) fn matches(&self, user: &Value) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::And(parts) => parts.iter().all(|part| part.matches(user)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(user)),
            Self::Not(inner) => !inner.matches(user),
            Self::Exists(path) => path.any(user, &mut indexed),
            Self::Test(path, test) => path.any(user, &mut |value| test.holds(path.kind, value)),
            Self::AnyOf(path, texts, tests) => path.any(user, &mut |value| match value {
                Value::String(text) if path.kind == Kind::Exact => texts.contains(text),
                Value::String(text) if path.kind == Kind::Folded => {
                    texts.contains(&text.to_lowercase())
                }
                other => tests.iter().any(|test| test.holds(path.kind, other)),
            }),
        }
    }
}

/// How the values of a field compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exact,
    /// Whatever the case.
    Folded,
    Date,
}

/// A field that is indexed.
#[derive(Debug)]
pub(crate) struct Path {
    segments: Vec<String>,
    kind: Kind,
    /// `email.domain`, which no user object has.
    email_domain: bool,
}

impl Path {
    fn new(field: &str) -> Option<Self> {
        if field == "email.domain" {
            return Some(Self {
                segments: vec!["email".to_owned()],
                kind: Kind::Folded,
                email_domain: true,
            });
        }
        let root = field.split('.').next()?;
        let (_, kind) = FIELDS.iter().find(|(name, _)| *name == root)?;
        Some(Self {
            segments: field.split('.').map(str::to_owned).collect(),
            kind: *kind,
            email_domain: false,
        })
    }

    /// Whether one of the values there passes.
    fn any(&self, user: &Value, test: &mut dyn FnMut(&Value) -> bool) -> bool {
        if self.email_domain {
            let email = user.get("email").and_then(Value::as_str);
            let domain = email.and_then(|email| email.rsplit_once('@'));
            return domain.is_some_and(|(_, domain)| test(&Value::from(domain)));
        }
        walk(user, &self.segments, test)
    }
}

fn walk(value: &Value, segments: &[String], test: &mut dyn FnMut(&Value) -> bool) -> bool {
    match (value, segments) {
        (Value::Array(items), _) => items.iter().any(|item| walk(item, segments, test)),
        (_, []) => test(value),
        (Value::Object(map), [first, rest @ ..]) => {
            map.get(first).is_some_and(|value| walk(value, rest, test))
        }
        _ => false,
    }
}

/// `null`, `{}` and `[]` are not indexed, nor is what holds nothing else.
fn indexed(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => map.values().any(indexed),
        Value::Array(items) => items.iter().any(indexed),
        _ => true,
    }
}

fn is_user_metadata(field: &str) -> bool {
    field == "user_metadata" || field.starts_with("user_metadata.")
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Test {
    Exact(Exact),
    /// `*` alone: any value.
    Present,
    Pattern(Vec<Symbol>),
    Range(End, End),
}

#[derive(Debug)]
pub(crate) struct Exact {
    /// In lower case where case does not count.
    text: String,
    number: Option<f64>,
    date: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Char(char),
    Any,
    One,
}

impl Test {
    fn exact(kind: Kind, value: &str) -> Self {
        Self::Exact(Exact {
            text: folded(kind, value),
            number: number(value),
            date: (kind == Kind::Date).then(|| dates::read(value)).flatten(),
        })
    }

    fn pattern(kind: Kind, pattern: &[Piece]) -> Self {
        if pattern.iter().all(|piece| *piece == Piece::Any) {
            return Self::Present;
        }
        let mut symbols = Vec::new();
        for piece in pattern {
            match piece {
                Piece::Any => symbols.push(Symbol::Any),
                Piece::One => symbols.push(Symbol::One),
                Piece::Text(text) => {
                    symbols.extend(folded(kind, text).chars().map(Symbol::Char));
                }
            }
        }
        Self::Pattern(symbols)
    }

    fn holds(&self, kind: Kind, value: &Value) -> bool {
        match self {
            Self::Present => indexed(value),
            Self::Exact(exact) => exact.is(kind, value),
            Self::Pattern(symbols) => match value {
                Value::String(text) if kind != Kind::Date => {
                    let text: Vec<char> = folded(kind, text).chars().collect();
                    is_like(symbols, &text)
                }
                _ => false,
            },
            Self::Range(lower, upper) => {
                lower.admits(value, kind, |value, end| value >= end)
                    && upper.admits(value, kind, |value, end| value <= end)
                    && (matches!(value, Value::String(_) | Value::Number(_)))
            }
        }
    }
}

impl Exact {
    fn is(&self, kind: Kind, value: &Value) -> bool {
        match (value, kind) {
            (Value::String(text), Kind::Exact) => *text == self.text,
            (Value::String(text), Kind::Folded) => {
                // Most values are ASCII and of another length.
                if text.is_ascii() && self.text.is_ascii() {
                    text.eq_ignore_ascii_case(&self.text)
                } else {
                    text.to_lowercase() == self.text
                }
            }
            (Value::String(text), Kind::Date) => match (self.date, dates::read(text)) {
                (Some(wanted), Some(at)) => wanted.first <= at.first && at.last <= wanted.last,
                _ => false,
            },
            (Value::Bool(flag), _) => self.text == if *flag { "true" } else { "false" },
            (Value::Number(number), _) => self.number.is_some() && self.number == number.as_f64(),
            (Value::Null | Value::Object(_) | Value::Array(_), _) => false,
        }
    }
}

/// One end of a range.
#[derive(Debug)]
pub(crate) struct End(Option<Bound>);

#[derive(Debug)]
struct Bound {
    text: String,
    number: Option<f64>,
    date: Option<Span>,
    inclusive: bool,
}

impl End {
    fn new(kind: Kind, end: Option<(&str, bool)>) -> Self {
        Self(end.map(|(text, inclusive)| Bound {
            text: folded(kind, text),
            number: number(text),
            date: (kind == Kind::Date).then(|| dates::read(text)).flatten(),
            inclusive,
        }))
    }

    /// Whether the value lies on the right side, by `beyond`: for a lower end `>=`.
    /// A day is a whole day: `TO 2018-01-15]` has all of it, `{2018-01-15 TO` nothing.
    fn admits(&self, value: &Value, kind: Kind, beyond: fn(f64, f64) -> bool) -> bool {
        let Some(bound) = &self.0 else {
            return true;
        };
        let decide = |value: f64, end: f64| beyond(value, end) && (bound.inclusive || value != end);
        match value {
            Value::Number(number) => match (number.as_f64(), bound.number) {
                (Some(value), Some(end)) => decide(value, end),
                _ => false,
            },
            Value::String(text) if kind == Kind::Date => match (dates::read(text), bound.date) {
                (Some(at), Some(end)) => {
                    let order = if at.last < end.first {
                        -1.0
                    } else if at.first > end.last {
                        1.0
                    } else {
                        0.0
                    };
                    decide(order, 0.0)
                }
                _ => false,
            },
            Value::String(text) => {
                let order = match folded(kind, text).as_str().cmp(&bound.text) {
                    std::cmp::Ordering::Less => -1.0,
                    std::cmp::Ordering::Equal => 0.0,
                    std::cmp::Ordering::Greater => 1.0,
                };
                decide(order, 0.0)
            }
            _ => false,
        }
    }
}

fn folded(kind: Kind, text: &str) -> String {
    if kind == Kind::Folded {
        text.to_lowercase()
    } else {
        text.to_owned()
    }
}

/// A number as JSON writes one; `inf` and `NaN` are words.
fn number(text: &str) -> Option<f64> {
    let first = text.strip_prefix('-').unwrap_or(text).chars().next()?;
    if first.is_ascii_digit() {
        text.parse().ok()
    } else {
        None
    }
}

/// Wildcard comparison in time linear in both but for what stars make it go back.
fn is_like(pattern: &[Symbol], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = text.get(t) {
        match pattern.get(p) {
            Some(Symbol::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Symbol::One) => {
                p += 1;
                t += 1;
            }
            Some(Symbol::Char(expected)) if *expected == c => {
                p += 1;
                t += 1;
            }
            _ => match star {
                None => return false,
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|symbol| *symbol == Symbol::Any)
}

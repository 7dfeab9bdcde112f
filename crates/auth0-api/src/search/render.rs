//! The one place where a `q` is written.

use std::fmt::{self, Write as _};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Bound, Field, Limit, Operands, Pattern, Piece, Query};

/// Longest `q` that is sent, in bytes as they stand in the URL. Auth0 documents no limit and answers
/// 414 to one that is too long, as servers commonly do from 8 KiB on, the rest of the URL included.
pub const MAX_QUERY_BYTES: usize = 7 * 1024;

/// A `q` for Auth0, no longer than Auth0 takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery(String);

/// The query would be refused for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the query has {bytes} bytes as a URL, Auth0 takes {MAX_QUERY_BYTES}: ask for less at once"
)]
pub struct QueryTooLong {
    /// Its length as it would stand in the URL.
    pub bytes: usize,
}

impl SearchQuery {
    /// Renders a tree.
    ///
    /// # Errors
    /// [`QueryTooLong`] when Auth0 would answer 414.
    pub fn new(query: &Query) -> Result<Self, QueryTooLong> {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = write(&mut text, query);
        let bytes = utf8_percent_encode(&text, NON_ALPHANUMERIC)
            .map(str::len)
            .sum();
        if bytes > MAX_QUERY_BYTES {
            return Err(QueryTooLong { bytes });
        }
        Ok(Self(text))
    }

    /// The text, not yet encoded for a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn write(out: &mut String, query: &Query) -> fmt::Result {
    match query {
        Query::Bool(field, value) => {
            name(out, field);
            write!(out, ":{value}")
        }
        Query::Number(field, number) => {
            name(out, field);
            out.push(':');
            let text = number.to_string();
            // A sign or an exponent would be read as an operator.
            if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                out.push_str(&text);
            } else {
                phrase(out, &text);
            }
            Ok(())
        }
        Query::Phrase(field, text) => {
            name(out, field);
            out.push(':');
            phrase(out, text);
            Ok(())
        }
        Query::Wildcard(field, pattern) => {
            name(out, field);
            out.push(':');
            wildcard(out, pattern);
            Ok(())
        }
        Query::Range(field, from, to) => {
            name(out, field);
            out.push(':');
            range(out, from, to);
            Ok(())
        }
        Query::Exists(field) => {
            out.push_str("_exists_:");
            name(out, field);
            Ok(())
        }
        Query::And(operands) => joined(out, operands, " AND "),
        Query::Or(operands) => joined(out, operands, " OR "),
        Query::Not(inner) => {
            out.push_str("NOT ");
            operand(out, inner, "NOT ")
        }
        Query::Group(inner) => {
            out.push('(');
            write(out, inner)?;
            out.push(')');
            Ok(())
        }
    }
}

fn joined(out: &mut String, operands: &Operands, operator: &str) -> fmt::Result {
    for (at, query) in operands.as_slice().iter().enumerate() {
        if at > 0 {
            out.push_str(operator);
        }
        operand(out, query, operator)?;
    }
    Ok(())
}

/// Whatever has an operator of its own stands in parentheses. Not so `NOT` beside `AND`: Lucene's own
/// parser matches nobody for a negation alone in parentheses, but takes `a AND NOT b` as it is meant.
fn operand(out: &mut String, query: &Query, operator: &str) -> fmt::Result {
    let compound = match query {
        Query::And(_) | Query::Or(_) => true,
        Query::Not(_) => operator != " AND ",
        _ => false,
    };
    if compound {
        out.push('(');
    }
    write(out, query)?;
    if compound {
        out.push(')');
    }
    Ok(())
}

/// A field's name; what is not a word's character is escaped.
fn name(out: &mut String, field: &Field) {
    for character in field.name().chars() {
        if !(character.is_alphanumeric() || matches!(character, '_' | '.' | '-')) {
            out.push('\\');
        }
        out.push(character);
    }
}

/// A quoted text: only the quote and the backslash mean something in it.
fn phrase(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// A pattern cannot be quoted, so that everything but letters and digits is escaped.
fn wildcard(out: &mut String, pattern: &Pattern) {
    for piece in pattern.pieces() {
        match piece {
            Piece::Any => out.push('*'),
            Piece::Literal(text) => {
                for character in text.chars() {
                    if !character.is_alphanumeric() {
                        out.push('\\');
                    }
                    out.push(character);
                }
            }
        }
    }
}

fn range(out: &mut String, from: &Bound, to: &Bound) {
    out.push(match from {
        Bound::Exclusive(_) => '{',
        Bound::Inclusive(_) | Bound::Open => '[',
    });
    bound(out, from);
    out.push_str(" TO ");
    bound(out, to);
    out.push(match to {
        Bound::Exclusive(_) => '}',
        Bound::Inclusive(_) | Bound::Open => ']',
    });
}

fn bound(out: &mut String, bound: &Bound) {
    match bound {
        Bound::Open => out.push('*'),
        Bound::Inclusive(limit) | Bound::Exclusive(limit) => match limit {
            Limit::Number(number) => out.push_str(&number.to_string()),
            Limit::Text(text) if is_instant(text) => out.push_str(text),
            Limit::Text(text) => phrase(out, text),
        },
    }
}

/// Instants stand bare in a range, as in Auth0's examples.
fn is_instant(text: &str) -> bool {
    text.len() == 24
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            23 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Number;

    fn field(name: &str) -> Field {
        Field::parse(name).unwrap()
    }

    fn render(query: &Query) -> String {
        SearchQuery::new(query).unwrap().as_str().to_owned()
    }

    #[test]
    fn renders_every_node() {
        let email = || Query::phrase(field("email"), "mia@example.org");
        let blocked = || Query::Bool(field("blocked"), true);
        let float = |number| Number::from_f64(number).unwrap();
        let text = |text: &str| Limit::Text(text.to_owned());
        for (query, q) in [
            (email(), r#"email:"mia@example.org""#),
            (blocked(), "blocked:true"),
            (
                Query::Number(field("logins_count"), 0.into()),
                "logins_count:0",
            ),
            (
                Query::Number(field("app_metadata.t"), (-5).into()),
                r#"app_metadata.t:"-5""#,
            ),
            (
                Query::Number(field("app_metadata.t"), float(1e300)),
                r#"app_metadata.t:"1e+300""#,
            ),
            (
                Query::Exists(field("user_metadata.a b")),
                r"_exists_:user_metadata.a\ b",
            ),
            (
                Query::Wildcard(field("name"), Pattern::prefix("John D.").unwrap()),
                r"name:John\ D\.*",
            ),
            (
                Query::Wildcard(field("name"), Pattern::infix("a*b").unwrap()),
                r"name:*a\*b*",
            ),
            (
                Query::Range(
                    field("logins_count"),
                    Bound::Inclusive(Limit::Number(1.into())),
                    Bound::Exclusive(Limit::Number(5.into())),
                ),
                "logins_count:[1 TO 5}",
            ),
            (
                Query::Range(
                    field("created_at"),
                    Bound::Open,
                    Bound::Inclusive(text("2024-12-31T23:59:59.999Z")),
                ),
                "created_at:[* TO 2024-12-31T23:59:59.999Z]",
            ),
            (
                Query::Range(
                    field("name"),
                    Bound::Exclusive(text("a] OR b")),
                    Bound::Open,
                ),
                r#"name:{"a] OR b" TO *]"#,
            ),
            (
                Query::all([
                    Query::any([email(), blocked()]).unwrap(),
                    email().not(),
                    blocked(),
                ])
                .unwrap(),
                r#"(email:"mia@example.org" OR blocked:true) AND NOT email:"mia@example.org" AND blocked:true"#,
            ),
            (
                Query::any([email(), blocked()]).unwrap().not(),
                r#"NOT (email:"mia@example.org" OR blocked:true)"#,
            ),
            (blocked().grouped().grouped(), "(blocked:true)"),
        ] {
            assert_eq!(render(&query), q);
        }
    }

    #[test]
    fn threat_41_a_value_stays_in_its_term() {
        let hostile = r#"a\" OR *:* AND ("#;
        let rendered = render(&Query::phrase(field("email"), hostile));
        assert_eq!(rendered, r#"email:"a\\\" OR *:* AND (""#);
        let pattern = Pattern::prefix(hostile).unwrap();
        assert_eq!(
            render(&Query::Wildcard(field("email"), pattern)),
            r#"email:a\\\"\ OR\ \*\:\*\ AND\ \(*"#
        );
    }

    #[test]
    fn refuses_what_would_be_too_long() {
        let long = Query::phrase(field("email"), "%".repeat(3 * 1024));
        let error = SearchQuery::new(&long).unwrap_err();
        assert!(error.bytes > 9 * 1024, "{error}");
    }
}

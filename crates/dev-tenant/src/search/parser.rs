//! Tokens to a tree, by the productions of Lucene's `QueryParser.jj`.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::lexer::{Kind, Token, tokens};
use super::{Piece, Query, SyntaxError};

/// Parentheses inside parentheses; more are refused, so that no text can exhaust the
/// stack.
const MAX_DEPTH: usize = 200;

/// Reads a query.
///
/// # Errors
/// When the text is not in the grammar, or nested more than 200 deep.
pub fn parse(q: &str) -> Result<Query, SyntaxError> {
    let mut parser = Parser {
        tokens: tokens(q)?.into_iter().peekable(),
        end: q.chars().count(),
        depth: 0,
    };
    let query = parser.group(None)?;
    match parser.tokens.next() {
        None => Ok(query),
        Some(token) => Err(SyntaxError {
            reason: "something that does not belong here",
            position: token.position,
        }),
    }
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    end: usize,
    depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conjunction {
    None,
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modifier {
    None,
    Not,
    Plus,
    Minus,
}

struct Clause {
    conjunction: Conjunction,
    modifier: Modifier,
    query: Query,
}

impl Parser {
    fn peek(&mut self) -> Option<&Kind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    fn error<T>(&mut self, reason: &'static str) -> Result<T, SyntaxError> {
        let position = self.tokens.peek().map_or(self.end, |token| token.position);
        Err(SyntaxError { reason, position })
    }

    /// Clauses up to a `)` or the end.
    fn group(&mut self, field: Option<&str>) -> Result<Query, SyntaxError> {
        let mut clauses = Vec::new();
        loop {
            let conjunction = match self.peek() {
                Some(Kind::And) if !clauses.is_empty() => Conjunction::And,
                Some(Kind::Or) if !clauses.is_empty() => Conjunction::Or,
                _ => Conjunction::None,
            };
            if conjunction != Conjunction::None {
                self.tokens.next();
            }
            let modifier = match self.peek() {
                Some(Kind::Not) => Modifier::Not,
                Some(Kind::Plus) => Modifier::Plus,
                Some(Kind::Minus) => Modifier::Minus,
                _ => Modifier::None,
            };
            if modifier != Modifier::None {
                self.tokens.next();
            }
            let query = self.clause(field)?;
            clauses.push(Clause {
                conjunction,
                modifier,
                query,
            });
            if matches!(self.peek(), None | Some(Kind::Close)) {
                return Ok(combine(clauses));
            }
        }
    }

    fn clause(&mut self, outer: Option<&str>) -> Result<Query, SyntaxError> {
        let first = self.tokens.next();
        if self.peek() == Some(&Kind::Colon) {
            match first.as_ref().map(|token| &token.kind) {
                Some(Kind::Term(field)) => {
                    self.tokens.next();
                    let value = self.tokens.next();
                    return self.value(Some(field), value);
                }
                Some(Kind::Pattern(pieces)) if pieces.as_slice() == [Piece::Any] => {
                    self.tokens.next();
                    let value = self.tokens.next();
                    return match value.as_ref().map(|token| &token.kind) {
                        Some(Kind::Pattern(pieces)) if pieces.as_slice() == [Piece::Any] => {
                            Ok(Query::All)
                        }
                        _ => self.error("only *:* may search all fields"),
                    };
                }
                _ => return self.error("no field in front of a colon"),
            }
        }
        self.value(outer, first)
    }

    /// A value or a group, and what may come after it.
    fn value(&mut self, field: Option<&str>, first: Option<Token>) -> Result<Query, SyntaxError> {
        let Some(Token { kind, position }) = first else {
            return self.error("the query ends too early");
        };
        let owned = field.map(str::to_owned);
        let query = match kind {
            Kind::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.error("nested too deeply");
                }
                let query = self.group(field)?;
                self.depth -= 1;
                if self.peek() != Some(&Kind::Close) {
                    return self.error("a parenthesis is not closed");
                }
                self.tokens.next();
                query
            }
            Kind::Term(value) | Kind::Quoted(value) if field == Some("_exists_") => {
                Query::Exists(value)
            }
            Kind::Term(value) => match self.tilde() {
                None => Query::Term {
                    field: owned,
                    value,
                },
                Some(similarity) => Query::Fuzzy {
                    field: owned,
                    value,
                    similarity,
                },
            },
            Kind::Quoted(value) => match self.tilde() {
                None => Query::Phrase {
                    field: owned,
                    value,
                },
                Some(slop) => Query::Proximity {
                    field: owned,
                    value,
                    slop,
                },
            },
            Kind::Pattern(pattern) => {
                // Lucene takes a `~` here and makes nothing of it.
                self.tilde();
                Query::Wildcard {
                    field: owned,
                    pattern,
                }
            }
            Kind::Range(range) => Query::Range {
                field: owned,
                from: range.from,
                to: range.to,
                from_inclusive: range.from_inclusive,
                to_inclusive: range.to_inclusive,
            },
            _ => {
                return Err(SyntaxError {
                    reason: "a value is missing",
                    position,
                });
            }
        };
        let Some(Kind::Boost(_)) = self.peek() else {
            return Ok(query);
        };
        let factor = match self.tokens.next() {
            Some(Token {
                kind: Kind::Boost(factor),
                ..
            }) => factor,
            _ => String::new(),
        };
        Ok(Query::Boost {
            query: Box::new(query),
            factor,
        })
    }

    fn tilde(&mut self) -> Option<Option<String>> {
        let number = match self.peek() {
            Some(Kind::Tilde(number)) => number.clone(),
            _ => return None,
        };
        self.tokens.next();
        Some(number)
    }
}

fn combine(clauses: Vec<Clause>) -> Query {
    let signed = clauses
        .iter()
        .any(|clause| matches!(clause.modifier, Modifier::Plus | Modifier::Minus));
    if signed {
        return as_lucene(clauses);
    }
    let mut alternatives = Vec::new();
    let mut run: Vec<Query> = Vec::new();
    for clause in clauses {
        let negated = clause.modifier == Modifier::Not;
        let goes_on = match clause.conjunction {
            Conjunction::And => true,
            Conjunction::Or => false,
            // `a NOT b` is "a without b".
            Conjunction::None => negated,
        };
        if !goes_on && !run.is_empty() {
            alternatives.push(one_or(std::mem::take(&mut run), Query::And));
        }
        run.push(if negated {
            Query::Not(Box::new(clause.query))
        } else {
            clause.query
        });
    }
    alternatives.push(one_or(run, Query::And));
    one_or(alternatives, Query::Or)
}

/// Lucene's own reading: every clause is required, prohibited or optional, and optional
/// ones only count when none is required.
fn as_lucene(clauses: Vec<Clause>) -> Query {
    let before_and: Vec<bool> = clauses
        .iter()
        .skip(1)
        .map(|next| next.conjunction == Conjunction::And)
        .chain([false])
        .collect();
    let (mut all, mut optional) = (Vec::new(), Vec::new());
    let mut required = false;
    for (clause, before_and) in clauses.into_iter().zip(before_and) {
        match clause.modifier {
            Modifier::Not | Modifier::Minus => all.push(Query::Not(Box::new(clause.query))),
            Modifier::None if clause.conjunction != Conjunction::And && !before_and => {
                optional.push(clause.query);
            }
            Modifier::Plus | Modifier::None => {
                required = true;
                all.push(clause.query);
            }
        }
    }
    if !required && !optional.is_empty() {
        all.insert(0, one_or(optional, Query::Or));
    }
    one_or(all, Query::And)
}

/// The only one, or the group.
fn one_or(mut queries: Vec<Query>, group: fn(Vec<Query>) -> Query) -> Query {
    if queries.len() == 1
        && let Some(only) = queries.pop()
    {
        return only;
    }
    group(queries)
}

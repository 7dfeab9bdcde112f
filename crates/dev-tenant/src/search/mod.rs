//! The search syntax of `q`: Lucene's classic query grammar (2.9.4), and Auth0's rules
//! for what matches.
//!
//! ```
//! use dev_tenant::search;
//! use serde_json::json;
//!
//! let query = search::parse(r#"email:"mia@example.org" AND NOT blocked:true"#)?;
//! assert!(search::matches(&query, &json!({ "email": "Mia@example.org" })));
//! # Ok::<(), search::SyntaxError>(())
//! ```
//!
//! The grammar is Lucene's own (`QueryParser.jj`), with two additions of later versions
//! that Auth0 documents: the brackets of a range may differ, and `NOT` may stand alone.
//! Where operators are mixed in one group, `NOT` binds tighter than `AND` and `AND`
//! tighter than `OR`, which is what Auth0's own examples need; Lucene itself would read
//! `a OR b AND c` as "b and c". A group with a `+` or `-` is read as Lucene reads it. No
//! operator means `OR`, before a `NOT` it means "without".

mod dates;
mod evaluate;
mod lexer;
mod parser;
mod rules;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub(crate) use self::evaluate::Matcher;
pub use self::evaluate::matches;
pub use self::parser::parse;
pub use self::rules::{Unsupported, check};

/// A search, taken apart. Values are unescaped; parentheses are kept as nesting, but a
/// group of one is that one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Query {
    /// `field:value`, or a bare `value`.
    Term {
        /// Where to look; none in a bare term.
        field: Option<String>,
        /// The whole value.
        value: String,
    },
    /// `field:"value"`.
    Phrase {
        /// Where to look.
        field: Option<String>,
        /// The whole value.
        value: String,
    },
    /// `field:ja*`, `field:*`.
    Wildcard {
        /// Where to look.
        field: Option<String>,
        /// Never two [`Piece::Text`] in a row.
        pattern: Vec<Piece>,
    },
    /// `field:[from TO to]`; `*` is an open end.
    Range {
        /// Where to look.
        field: Option<String>,
        /// Lower end.
        from: Option<String>,
        /// Upper end.
        to: Option<String>,
        /// `[` rather than `{`.
        from_inclusive: bool,
        /// `]` rather than `}`.
        to_inclusive: bool,
    },
    /// `_exists_:field`.
    Exists(String),
    /// `*:*`.
    All,
    /// All of them.
    And(Vec<Self>),
    /// One of them.
    Or(Vec<Self>),
    /// Whatever does not match.
    Not(Box<Self>),
    /// `field:value~0.8`, which Auth0 does not offer.
    Fuzzy {
        /// Where to look.
        field: Option<String>,
        /// The value.
        value: String,
        /// How alike, as it was written.
        similarity: Option<String>,
    },
    /// `field:"two words"~3`, which Auth0 does not offer.
    Proximity {
        /// Where to look.
        field: Option<String>,
        /// The words.
        value: String,
        /// How far apart, as it was written.
        slop: Option<String>,
    },
    /// `(…)^2`: changes the order of what matches, not what matches.
    Boost {
        /// What is boosted.
        query: Box<Self>,
        /// By how much, as it was written.
        factor: String,
    },
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// These characters.
    Text(String),
    /// `*`: any number of characters.
    Any,
    /// `?`: one character.
    One,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {position}")]
#[non_exhaustive]
pub struct SyntaxError {
    /// What is wrong.
    pub reason: &'static str,
    /// Where, counted in characters from 0.
    pub position: usize,
}

//! Auth0's user search language (version 3, a subset of Lucene's query parser syntax) as a type.
//!
//! [`Query`] is a tree, and [`SearchQuery`] the only way to make a `q` of one. Fields, patterns and
//! values are checked when they are made and escaped when they are rendered, so that no name and no
//! value can become syntax.
//!
//! ```
//! use auth0_api::search::{Field, Query, SearchQuery};
//!
//! let email = Field::parse("email")?;
//! let groups = Field::parse("app_metadata.groups")?;
//! let query = Query::all([
//!     Query::phrase(email, "mia\" OR email:*"),
//!     Query::phrase(groups, "admin"),
//! ]);
//! let q = SearchQuery::new(&query.unwrap())?;
//! assert_eq!(q.as_str(), r#"email:"mia\" OR email:*" AND app_metadata.groups:"admin""#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: Auth0, "User Search Query Syntax"; Apache Lucene 2.9.4, "Query Parser Syntax".

mod field;
mod pattern;
mod render;

pub use self::field::{Field, FieldError, FieldKind};
pub use self::pattern::{Pattern, PatternError, Piece};
pub use self::render::{MAX_QUERY_BYTES, QueryTooLong, SearchQuery};

use serde_json::Number;

/// A condition on users.
///
/// `NOT` is the plain complement, also on its own, as Auth0's examples use it.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// The field is true or false.
    Bool(Field, bool),
    /// The field is this number.
    Number(Field, Number),
    /// The whole field is this text. Auth0 ignores the case of e-mail addresses and names only.
    Phrase(Field, String),
    /// The field matches a pattern.
    Wildcard(Field, Pattern),
    /// The field lies between two bounds.
    Range(Field, Bound, Bound),
    /// The field has a value.
    Exists(Field),
    /// All hold.
    And(Operands),
    /// At least one holds.
    Or(Operands),
    /// It does not hold.
    Not(Box<Self>),
    /// The same condition, in parentheses of its own.
    Group(Box<Self>),
}

impl Query {
    /// The whole field is this text.
    #[must_use]
    pub fn phrase(field: Field, text: impl Into<String>) -> Self {
        Self::Phrase(field, text.into())
    }

    /// All of these hold; `None` for an empty list, which everybody would match.
    #[must_use]
    pub fn all(queries: impl IntoIterator<Item = Self>) -> Option<Self> {
        Operands::join(queries.into_iter().collect(), Self::And)
    }

    /// At least one of these holds; `None` for an empty list, which nobody would match.
    #[must_use]
    pub fn any(queries: impl IntoIterator<Item = Self>) -> Option<Self> {
        Operands::join(queries.into_iter().collect(), Self::Or)
    }

    /// It does not hold.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "named as the language names it"
    )]
    pub fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            query => Self::Not(Box::new(query)),
        }
    }

    /// In parentheses of its own.
    #[must_use]
    pub fn grouped(self) -> Self {
        match self {
            Self::Group(_) => self,
            query => Self::Group(Box::new(query)),
        }
    }
}

/// Two or more conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Operands(Vec<Query>);

impl Operands {
    fn join(mut queries: Vec<Query>, as_one: impl FnOnce(Self) -> Query) -> Option<Query> {
        if queries.len() > 1 {
            Some(as_one(Self(queries)))
        } else {
            queries.pop()
        }
    }

    /// The conditions, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Query] {
        &self.0
    }
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// No limit on this side.
    Open,
    /// The value itself is inside.
    Inclusive(Limit),
    /// The value itself is outside.
    Exclusive(Limit),
}

/// The value of a bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// A number.
    Number(Number),
    /// A text, or an instant in RFC 3339.
    Text(String),
}

//! The query dialect of the users' routes: CRUD-style parameters in, Auth0's search language out.
//!
//! Two stages. [`UserQuery::parse`] turns text into a parsed form; its errors are about syntax and name
//! the parameter. [`Selection::compile`] holds a parsed form against the rules: what Auth0 can search and
//! what this gateway allows; its errors say what is not allowed and why. Neither knows HTTP.
//!
//! ```
//! use gateway_core::query::{Route, Scope, UserQuery};
//!
//! let pairs = [("app_metadata.groups", "admin,users"), ("connection", "staff"), ("_l", "50")];
//! let query = UserQuery::parse(Route::List, pairs, None, None)?;
//! let q = query.q(&Scope::Everything)?;
//! assert_eq!(
//!     q.unwrap().unwrap().as_str(),
//!     "(app_metadata.groups:\"admin\" AND app_metadata.groups:\"users\") \
//!      AND (identities.connection:\"staff\")"
//! );
//! # Ok::<(), gateway_core::query::QueryError>(())
//! ```

mod compile;
mod date;
mod evaluate;
mod filter;
mod parse;
mod regex;
mod slice;
mod value;

pub use self::compile::{Scope, Selection};
pub use self::evaluate::matches;
pub use self::filter::{Filter, Order, Scalar, Test};
pub(crate) use self::parse::PLAIN_FIELDS;
pub use self::parse::{Route, SortText, UserQuery};
pub use self::slice::{Page, Slice};

use std::fmt;

/// What is wrong with a query: which parameter, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The parameter, for example `_q`; cut to 64 characters.
    pub parameter: String,
    /// A sentence about it.
    pub message: String,
}

impl QueryError {
    pub(crate) fn new(parameter: &str, message: impl Into<String>) -> Self {
        Self {
            parameter: printable(parameter),
            message: message.into(),
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parameter, self.message)
    }
}

impl std::error::Error for QueryError {}

impl From<QueryError> for crate::Error {
    fn from(error: QueryError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

/// A name from a request, fit to stand in a sentence.
pub(crate) fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

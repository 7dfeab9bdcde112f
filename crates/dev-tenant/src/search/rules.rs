//! What Auth0 refuses although it is in the grammar.

use super::{Piece, Query};

/// Characters that a wildcard needs beside it unless it stands at the end.
const SHORTEST_LITERAL: usize = 3;

/// A query that is in the grammar and that Auth0 does not take: 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {field}")]
#[non_exhaustive]
pub struct Unsupported {
    /// What is not supported.
    pub reason: &'static str,
    /// The field that it was tried on; empty for a bare term.
    pub field: String,
}

/// Whether Auth0 takes the query.
///
/// Refused are `?`, a `*` in front of or between fewer than three characters (a prefix
/// may be of any length), every wildcard and range on `user_metadata`, and fuzzy and
/// proximity searches.
///
/// # Errors
/// The first part that it does not take.
pub fn check(query: &Query) -> Result<(), Unsupported> {
    match query {
        Query::Term { .. } | Query::Phrase { .. } | Query::Exists(_) | Query::All => Ok(()),
        Query::And(parts) | Query::Or(parts) => parts.iter().try_for_each(check),
        Query::Not(inner) => check(inner),
        Query::Boost { query, .. } => check(query),
        Query::Wildcard { field, pattern } => wildcard(field.as_deref(), pattern),
        Query::Range { field, .. } if is_user_metadata(field.as_deref()) => {
            refused("ranges are not supported on this field", field.as_deref())
        }
        Query::Range { field: None, .. } => refused("a range needs a field", None),
        Query::Range { .. } => Ok(()),
        Query::Fuzzy { field, .. } => refused("fuzzy search is not supported", field.as_deref()),
        Query::Proximity { field, .. } => {
            refused("proximity search is not supported", field.as_deref())
        }
    }
}

fn wildcard(field: Option<&str>, pattern: &[Piece]) -> Result<(), Unsupported> {
    if is_user_metadata(field) {
        return refused("wildcards are not supported on this field", field);
    }
    if pattern.contains(&Piece::One) {
        return refused("the wildcard ? is not supported", field);
    }
    let short = |piece: &Piece| matches!(piece, Piece::Text(text) if text.chars().count() < SHORTEST_LITERAL);
    // The first piece, if it is text, is a prefix.
    if pattern.iter().skip(1).any(short) {
        return refused(
            "a wildcard needs at least three characters beside it",
            field,
        );
    }
    Ok(())
}

fn is_user_metadata(field: Option<&str>) -> bool {
    field.is_some_and(|field| field == "user_metadata" || field.starts_with("user_metadata."))
}

fn refused(reason: &'static str, field: Option<&str>) -> Result<(), Unsupported> {
    Err(Unsupported {
        reason,
        field: field.unwrap_or_default().to_owned(),
    })
}

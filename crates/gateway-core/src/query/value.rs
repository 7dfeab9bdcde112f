//! A test against the kind of its field: what Auth0 can be asked, and what not.

use std::str::FromStr as _;

use auth0_api::search::{Bound, Field, FieldKind, Limit, Pattern, Piece, Query};
use serde_json::Number;

use super::date;
use super::filter::{Order, Scalar, Test};

/// The query that a test on a field becomes. The error is the end of a sentence that begins with the
/// field.
pub(super) fn compile(field: Field, test: &Test) -> Result<Query, String> {
    match test {
        Test::Exists => Ok(Query::Exists(field)),
        Test::Equals(value) => equals(field, value),
        Test::Compare(order, value) => compare(field, *order, value),
        Test::Matches(pieces) => matches(field, pieces),
        Test::Plain(pieces) => plain(field, pieces),
    }
}

fn equals(field: Field, value: &Scalar) -> Result<Query, String> {
    match (field.kind(), value) {
        (
            FieldKind::Bool | FieldKind::AppMetadata | FieldKind::UserMetadata,
            Scalar::Bool(value),
        ) => Ok(Query::Bool(field, *value)),
        (
            FieldKind::Number | FieldKind::AppMetadata | FieldKind::UserMetadata,
            Scalar::Number(number),
        ) => Ok(Query::Number(field, number.clone())),
        (FieldKind::Date, Scalar::Text(text)) => {
            let span = span(text)?;
            Ok(Query::Range(
                field,
                Bound::Inclusive(Limit::Text(span.first)),
                Bound::Inclusive(Limit::Text(span.last)),
            ))
        }
        (
            FieldKind::Name | FieldKind::Text | FieldKind::AppMetadata | FieldKind::UserMetadata,
            Scalar::Text(text),
        ) => Ok(Query::phrase(field, text.as_str())),
        (kind, _) => Err(wanted(kind).to_owned()),
    }
}

fn compare(field: Field, order: Order, value: &Scalar) -> Result<Query, String> {
    if !field.kind().takes_ranges() {
        return Err("cannot be compared by order at Auth0".to_owned());
    }
    let (least, most) = match (field.kind(), value) {
        (FieldKind::Date, Scalar::Text(text)) => {
            let span = span(text)?;
            (Limit::Text(span.first), Limit::Text(span.last))
        }
        (FieldKind::Number | FieldKind::AppMetadata, Scalar::Number(number)) => {
            (Limit::Number(number.clone()), Limit::Number(number.clone()))
        }
        (FieldKind::Name | FieldKind::Text | FieldKind::AppMetadata, Scalar::Text(text)) => {
            (Limit::Text(text.clone()), Limit::Text(text.clone()))
        }
        (FieldKind::AppMetadata, Scalar::Bool(_)) => {
            return Err(
                "can be compared with a number or a string by order, not a boolean".to_owned(),
            );
        }
        (kind, _) => return Err(wanted(kind).to_owned()),
    };
    let (from, to) = match order {
        Order::Greater => (Bound::Exclusive(most), Bound::Open),
        Order::GreaterOrEqual => (Bound::Inclusive(least), Bound::Open),
        Order::Less => (Bound::Open, Bound::Exclusive(least)),
        Order::LessOrEqual => (Bound::Open, Bound::Inclusive(most)),
    };
    Ok(Query::Range(field, from, to))
}

fn matches(field: Field, pieces: &[Piece]) -> Result<Query, String> {
    if !field.kind().takes_wildcards() {
        return Err("takes no wildcards at Auth0".to_owned());
    }
    let pattern = Pattern::new(pieces.iter().cloned()).map_err(|error| error.to_string())?;
    Ok(Query::Wildcard(field, pattern))
}

/// A plain parameter: text that has to be read as the field's kind.
fn plain(field: Field, pieces: &[Piece]) -> Result<Query, String> {
    let text = match pieces {
        [] => return Err("needs a value".to_owned()),
        [Piece::Any] => return Ok(Query::Exists(field)),
        [Piece::Literal(text)] => text,
        pieces => return matches(field, pieces),
    };
    let value = match field.kind() {
        FieldKind::Bool => match text.as_str() {
            "true" => Scalar::Bool(true),
            "false" => Scalar::Bool(false),
            _ => return Err(wanted(FieldKind::Bool).to_owned()),
        },
        FieldKind::Number => Scalar::Number(
            Number::from_str(text).map_err(|_| wanted(FieldKind::Number).to_owned())?,
        ),
        _ => Scalar::Text(text.clone()),
    };
    equals(field, &value)
}

fn span(text: &str) -> Result<date::Span, String> {
    date::parse(text).ok_or_else(|| wanted(FieldKind::Date).to_owned())
}

const fn wanted(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Bool => "must be true or false",
        FieldKind::Number => "must be a number",
        FieldKind::Date => {
            "must be a date such as 2026, 2026-01, 2026-01-31 or 2026-01-31T12:00:00Z"
        }
        FieldKind::Name | FieldKind::Text => "must be a string",
        FieldKind::AppMetadata | FieldKind::UserMetadata => {
            "must be a string, a number or a boolean"
        }
    }
}

//! Holds a query against one user object, as Auth0's search would.
//!
//! An ACL must also bind where a user is fetched by its id, and there Auth0 takes no query.

use auth0_api::search::{Bound, Field, FieldKind, Limit, Pattern, Piece, Query};
use serde_json::{Number, Value};

/// Does a user match?
#[must_use]
pub fn matches(query: &Query, user: &Value) -> bool {
    match query {
        Query::Bool(field, wanted) => any(field, user, |value| {
            text_of(value).as_deref() == Some(if *wanted { "true" } else { "false" })
        }),
        Query::Number(field, wanted) => any(field, user, |value| match value {
            Value::Number(number) => same(number, wanted),
            value => text_of(value).as_deref() == Some(&wanted.to_string()),
        }),
        Query::Phrase(field, wanted) => any(field, user, |value| {
            text_of(value).is_some_and(|text| fold(field, &text) == fold(field, wanted))
        }),
        Query::Wildcard(field, pattern) => any(field, user, |value| {
            value
                .as_str()
                .is_some_and(|text| fits(&fold(field, text), field, pattern))
        }),
        Query::Range(field, from, to) => any(field, user, |value| {
            above(field, value, from) && below(field, value, to)
        }),
        Query::Exists(field) => any(field, user, |_| true),
        Query::And(operands) => operands.as_slice().iter().all(|query| matches(query, user)),
        Query::Or(operands) => operands.as_slice().iter().any(|query| matches(query, user)),
        Query::Not(inner) => !matches(inner, user),
        Query::Group(inner) => matches(inner, user),
    }
}

/// Does one of the field's values pass a test? Lists are transparent; null and what is empty is not there.
fn any(field: &Field, user: &Value, test: impl Fn(&Value) -> bool) -> bool {
    let path: Vec<&str> = field.name().split('.').collect();
    walk(user, &path, &test)
}

fn walk(value: &Value, path: &[&str], test: &dyn Fn(&Value) -> bool) -> bool {
    match (value, path) {
        (Value::Null, _) => false,
        (Value::Array(items), _) => items.iter().any(|item| walk(item, path, test)),
        (Value::Object(map), [first, rest @ ..]) => {
            map.get(*first).is_some_and(|value| walk(value, rest, test))
        }
        (Value::Object(map), []) => {
            // Only that there is something in it can be asked.
            map.values()
                .any(|value| walk(value, &[], &|_| test(&Value::Object(map.clone()))))
        }
        (value, []) => test(value),
        _ => false,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn fold(field: &Field, text: &str) -> String {
    if field.kind() == FieldKind::Name {
        text.to_lowercase()
    } else {
        text.to_owned()
    }
}

fn same(a: &Number, b: &Number) -> bool {
    a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64())
}

fn fits(text: &str, field: &Field, pattern: &Pattern) -> bool {
    let mut rest = text;
    let pieces = pattern.pieces();
    for (at, piece) in pieces.iter().enumerate() {
        let Piece::Literal(literal) = piece else {
            continue;
        };
        let literal = fold(field, literal);
        if at == 0 {
            let Some(after) = rest.strip_prefix(literal.as_str()) else {
                return false;
            };
            rest = after;
        } else if at + 1 == pieces.len() {
            // The last one has to end the text: nothing comes behind it.
            return rest.ends_with(literal.as_str());
        } else {
            let Some(found) = rest.find(literal.as_str()) else {
                return false;
            };
            rest = rest.get(found + literal.len()..).unwrap_or_default();
        }
    }
    true
}

fn above(field: &Field, value: &Value, bound: &Bound) -> bool {
    match bound {
        Bound::Open => true,
        Bound::Inclusive(limit) => {
            order(field, value, limit).is_some_and(std::cmp::Ordering::is_ge)
        }
        Bound::Exclusive(limit) => {
            order(field, value, limit).is_some_and(std::cmp::Ordering::is_gt)
        }
    }
}

fn below(field: &Field, value: &Value, bound: &Bound) -> bool {
    match bound {
        Bound::Open => true,
        Bound::Inclusive(limit) => {
            order(field, value, limit).is_some_and(std::cmp::Ordering::is_le)
        }
        Bound::Exclusive(limit) => {
            order(field, value, limit).is_some_and(std::cmp::Ordering::is_lt)
        }
    }
}

fn order(field: &Field, value: &Value, limit: &Limit) -> Option<std::cmp::Ordering> {
    match (value, limit) {
        (Value::Number(number), Limit::Number(limit)) => {
            number.as_f64()?.partial_cmp(&limit.as_f64()?)
        }
        (Value::String(text), Limit::Text(limit)) => {
            Some(fold(field, text).cmp(&fold(field, limit)))
        }
        _ => None,
    }
}

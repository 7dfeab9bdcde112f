//! Holds a query against one user object, as Auth0's search would.
//!
//! An ACL must also bind where a user is fetched by its id, and there Auth0 takes no query.

use auth0_api::search::{Bound, Field, FieldKind, Limit, Pattern, Piece, Query};
use serde_json::{Number, Value};

/// Does a user match, for certain? Where Auth0's own answer is not documented (a number compared with
/// text, say), neither a condition nor its opposite holds.
#[must_use]
pub fn matches(query: &Query, user: &Value) -> bool {
    judge(query, user) == Some(true)
}

/// Kleene's logic: `None` is "it cannot be told".
fn judge(query: &Query, user: &Value) -> Option<bool> {
    match query {
        Query::Bool(field, wanted) => any(field, user, |value| {
            Some(text_of(value).as_deref() == Some(if *wanted { "true" } else { "false" }))
        }),
        Query::Number(field, wanted) => any(field, user, |value| match value {
            Value::Number(number) => Some(same(number, wanted)),
            value => spelled(value, &wanted.to_string()),
        }),
        Query::Phrase(field, wanted) => any(field, user, |value| {
            spelled(value, wanted).map(|equal| {
                equal
                    || text_of(value).is_some_and(|text| fold(field, &text) == fold(field, wanted))
            })
        }),
        Query::Wildcard(field, pattern) => any(field, user, |value| {
            Some(
                value
                    .as_str()
                    .is_some_and(|text| fits(&fold(field, text), field, pattern)),
            )
        }),
        Query::Range(field, from, to) => any(field, user, |value| {
            all([above(field, value, from), below(field, value, to)].into_iter())
        }),
        Query::Exists(field) => any(field, user, |_| Some(true)),
        Query::And(operands) => all(operands.as_slice().iter().map(|query| judge(query, user))),
        Query::Or(operands) => one(operands.as_slice().iter().map(|query| judge(query, user))),
        Query::Not(inner) => judge(inner, user).map(|holds| !holds),
        Query::Group(inner) => judge(inner, user),
    }
}

/// Does one of them hold?
fn one(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut told = Some(false);
    for verdict in verdicts {
        match verdict {
            Some(true) => return Some(true),
            Some(false) => {}
            None => told = None,
        }
    }
    told
}

/// Do all of them hold?
fn all(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let opposites = verdicts.map(|verdict| verdict.map(|holds| !holds));
    one(opposites).map(|holds| !holds)
}

/// What comes of a test of one value.
type Test<'a> = dyn Fn(&Value) -> Option<bool> + 'a;

/// Does one of the field's values pass a test? Lists are transparent; null and what is empty is not there.
fn any(field: &Field, user: &Value, test: impl Fn(&Value) -> Option<bool>) -> Option<bool> {
    let path: Vec<&str> = field.name().split('.').collect();
    walk(user, &path, &test)
}

fn walk(value: &Value, path: &[&str], test: &Test<'_>) -> Option<bool> {
    match (value, path) {
        (Value::Null, _) => Some(false),
        (Value::Array(items), _) => one(items.iter().map(|item| walk(item, path, test))),
        (Value::Object(map), [first, rest @ ..]) => map
            .get(*first)
            .map_or(Some(false), |value| walk(value, rest, test)),
        // Only that there is something in it can be asked.
        (Value::Object(map), []) => {
            one(map.values().map(|inner| walk(inner, &[], &|_| test(value))))
        }
        (value, []) => test(value),
        _ => Some(false),
    }
}

/// Is a value this text? A number written in another way may be the same to Auth0, or not.
fn spelled(value: &Value, wanted: &str) -> Option<bool> {
    let text = text_of(value);
    if text.as_deref() == Some(wanted) {
        return Some(true);
    }
    let number = |text: &str| text.parse::<f64>().ok();
    let alike = match (value, &text) {
        (Value::Number(_) | Value::String(_), Some(text)) => {
            number(text).is_some_and(|one| number(wanted) == Some(one))
        }
        _ => false,
    };
    if alike { None } else { Some(false) }
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

fn above(field: &Field, value: &Value, bound: &Bound) -> Option<bool> {
    match bound {
        Bound::Open => Some(true),
        Bound::Inclusive(limit) => order(field, value, limit).map(std::cmp::Ordering::is_ge),
        Bound::Exclusive(limit) => order(field, value, limit).map(std::cmp::Ordering::is_gt),
    }
}

fn below(field: &Field, value: &Value, bound: &Bound) -> Option<bool> {
    match bound {
        Bound::Open => Some(true),
        Bound::Inclusive(limit) => order(field, value, limit).map(std::cmp::Ordering::is_le),
        Bound::Exclusive(limit) => order(field, value, limit).map(std::cmp::Ordering::is_lt),
    }
}

/// `None` for two of different types.
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

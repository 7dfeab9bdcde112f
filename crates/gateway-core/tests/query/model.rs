//! Filters and people at random, and what a filter means, written down once more and plainly.

use gateway_core::query::{Route, UserQuery};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Fields whose case Auth0 ignores.
const NAMES: [&str; 3] = ["email", "name", "nickname"];
/// Other text.
const TEXTS: [&str; 3] = ["username", "user_id", "identities.connection"];
/// Metadata that takes anything.
const METADATA: [&str; 3] = [
    "app_metadata.groups",
    "app_metadata.a b.c:d",
    "user_metadata.x",
];

/// A filter.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    And(Vec<Self>),
    Or(Vec<Self>),
    Nor(Vec<Self>),
    Eq(String, Value),
    Ne(String, Value),
    In(String, Vec<Value>),
    Nin(String, Vec<Value>),
    All(String, Vec<Value>),
    Exists(String, bool),
    Prefix(String, String),
    Infix(String, String),
    Gt(String, Value),
    Lte(String, Value),
    NotPrefix(String, String),
    NotRange(String, Value, Value),
}

/// What people type who want more than they may have, and what merely looks like it.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let pool = vec![
        "mia@example.org",
        "Mia",
        "users",
        "admin",
        "staff",
        "\" OR email:*",
        "\\",
        "\\\"",
        "\\\\\" OR (",
        "AND",
        "OR",
        "NOT",
        "TO",
        "a AND b",
        "(",
        ")",
        "))) OR ((",
        "*",
        "*:*",
        "a*b",
        "?",
        "~",
        "fuzzy~0.5",
        "^2",
        "/regex/",
        "a:b",
        "_exists_:email",
        "[* TO *]",
        "{a TO b}",
        "+a",
        "-a",
        "!a",
        "&&",
        "||",
        "a\0b",
        "line\nbreak",
        "tab\tbed",
        "\u{3000}wide\u{a0}spaces ",
        "J\u{f6}rg",
        "\u{1f600}",
        "e\u{301}",
        "true",
        "42",
        "null",
        "a,b",
        "%22%20OR%20",
        "$where",
        "{\"$ne\":1}",
    ];
    prop_oneof![
        6 => select(pool).prop_map(str::to_owned),
        2 => "[ -~]{1,12}",
        1 => "\\PC{1,8}",
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => text().prop_map(Value::from),
        1 => (-50_i64..50).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

fn text_field() -> impl Strategy<Value = String> {
    let fields: Vec<&str> = NAMES.into_iter().chain(TEXTS).collect();
    select(fields).prop_map(str::to_owned)
}

fn leaf() -> impl Strategy<Value = Filter> {
    let field_and_values = prop_oneof![
        (text_field(), vec(text().prop_map(Value::from), 0..4)),
        (
            select(METADATA.to_vec()).prop_map(str::to_owned),
            vec(scalar(), 0..4)
        ),
        (
            Just("blocked".to_owned()),
            vec(any::<bool>().prop_map(Value::from), 1..2)
        ),
        (
            Just("logins_count".to_owned()),
            vec((0_i64..5).prop_map(Value::from), 1..3)
        ),
    ];
    let wild_field = prop_oneof![text_field(), Just("app_metadata.groups".to_owned())];
    let infix = text().prop_filter("at least three", |text| text.chars().count() >= 3);
    prop_oneof![
        6 => (field_and_values, 0..5_u8).prop_map(|((field, mut values), kind)| match (kind, values.pop()) {
            (0, Some(value)) => Filter::Eq(field, value),
            (1, Some(value)) => Filter::Ne(field, value),
            (2, last) => { values.extend(last); Filter::In(field, values) }
            (3, last) => { values.extend(last); Filter::Nin(field, values) }
            (_, last) => { values.extend(last); Filter::All(field, values) }
        }),
        1 => (text_field(), any::<bool>()).prop_map(|(field, yes)| Filter::Exists(field, yes)),
        1 => (select(METADATA.to_vec()), any::<bool>()).prop_map(|(field, yes)| Filter::Exists(field.to_owned(), yes)),
        2 => (wild_field.clone(), text()).prop_map(|(field, text)| Filter::Prefix(field, text)),
        1 => (wild_field.clone(), infix).prop_map(|(field, text)| Filter::Infix(field, text)),
        1 => (wild_field, text()).prop_map(|(field, text)| Filter::NotPrefix(field, text)),
        1 => (text_field(), text()).prop_map(|(field, text)| Filter::Gt(field, text.into())),
        1 => (0_i64..5).prop_map(|n| Filter::Lte("logins_count".to_owned(), n.into())),
        1 => (0_i64..5, 0_i64..5).prop_map(|(a, b)| Filter::NotRange("logins_count".to_owned(), a.into(), b.into())),
        1 => (-50_i64..50).prop_map(|n| Filter::Gt("app_metadata.level".to_owned(), n.into())),
    ]
}

/// A filter of some depth.
pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Filter::And),
            vec(inner.clone(), 1..4).prop_map(Filter::Or),
            vec(inner, 1..3).prop_map(Filter::Nor),
        ]
    })
}

impl Filter {
    /// The filter as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let list = |filters: &[Self]| filters.iter().map(Self::to_json).collect::<Vec<_>>();
        let escaped = |text: &str| {
            let mut escaped = String::new();
            for c in text.chars() {
                if "\\.^$*+?()[]{}|".contains(c) {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
            escaped
        };
        match self {
            Self::And(filters) => json!({ "$and": list(filters) }),
            Self::Or(filters) => json!({ "$or": list(filters) }),
            Self::Nor(filters) => json!({ "$nor": list(filters) }),
            Self::Eq(field, value) => json!({ field: value }),
            Self::Ne(field, value) => json!({ field: { "$ne": value } }),
            Self::In(field, values) => json!({ field: { "$in": values } }),
            Self::Nin(field, values) => json!({ field: { "$nin": values } }),
            Self::All(field, values) => json!({ field: { "$all": values } }),
            Self::Exists(field, yes) => json!({ field: { "$exists": yes } }),
            Self::Prefix(field, text) => {
                json!({ field: { "$regex": format!("^{}", escaped(text)) } })
            }
            Self::Infix(field, text) => json!({ field: { "$regex": escaped(text) } }),
            Self::Gt(field, value) => json!({ field: { "$gt": value } }),
            Self::Lte(field, value) => json!({ field: { "$lte": value } }),
            Self::NotPrefix(field, text) => {
                json!({ field: { "$not": { "$regex": format!("^{}", escaped(text)) } } })
            }
            Self::NotRange(field, from, to) => {
                json!({ field: { "$not": { "$gte": from, "$lt": to } } })
            }
        }
    }

    /// Does a person pass? Written without a look at the code under test.
    pub(crate) fn selects(&self, user: &Value) -> bool {
        let any = |field: &str, test: &dyn Fn(&Value) -> bool| {
            let mut values = Vec::new();
            let path: Vec<&str> = field.split('.').collect();
            collect(user, &path, &mut values);
            values.iter().any(|value| test(value))
        };
        let equal = |field: &str, wanted: &Value| any(field, &|v| same(field, v, wanted));
        let starts = |field: &str, start: &str| {
            any(field, &|v| {
                v.as_str()
                    .is_some_and(|v| fold(field, v).starts_with(&fold(field, start)))
            })
        };
        match self {
            Self::And(filters) => filters.iter().all(|f| f.selects(user)),
            Self::Or(filters) => filters.iter().any(|f| f.selects(user)),
            Self::Nor(filters) => !filters.iter().any(|f| f.selects(user)),
            Self::Eq(field, value) => equal(field, value),
            Self::Ne(field, value) => !equal(field, value),
            Self::In(field, values) => values.iter().any(|v| equal(field, v)),
            Self::Nin(field, values) => !values.iter().any(|v| equal(field, v)),
            Self::All(field, values) => {
                !values.is_empty() && values.iter().all(|v| equal(field, v))
            }
            Self::Exists(field, yes) => any(field, &|_| true) == *yes,
            Self::Prefix(field, text) => starts(field, text),
            Self::NotPrefix(field, text) => !starts(field, text),
            Self::Infix(field, text) => any(field, &|v| {
                v.as_str()
                    .is_some_and(|v| fold(field, v).contains(&fold(field, text)))
            }),
            Self::Gt(field, limit) => any(field, &|v| match (v, limit) {
                (Value::Number(v), Value::Number(limit)) => v.as_f64() > limit.as_f64(),
                (Value::String(v), Value::String(limit)) => fold(field, v) > fold(field, limit),
                _ => false,
            }),
            Self::Lte(field, limit) => any(field, &|v| v.as_f64() <= limit.as_f64()),
            Self::NotRange(field, from, to) => {
                let from = any(field, &|v| v.as_f64() >= from.as_f64());
                let to = any(field, &|v| v.as_f64() < to.as_f64());
                !(from && to)
            }
        }
    }
}

fn collect<'a>(value: &'a Value, path: &[&str], out: &mut Vec<&'a Value>) {
    match (value, path) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, out)),
        (Value::Null, _) => {}
        (Value::Object(map), [first, rest @ ..]) => {
            if let Some(value) = map.get(*first) {
                collect(value, rest, out);
            }
        }
        (Value::Object(_), []) => {}
        (value, []) => out.push(value),
        _ => {}
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn fold(field: &str, text: &str) -> String {
    if NAMES.contains(&field) {
        text.to_lowercase()
    } else {
        text.to_owned()
    }
}

fn same(field: &str, value: &Value, wanted: &Value) -> bool {
    match (shown(value), shown(wanted)) {
        (Some(value), Some(wanted)) => fold(field, &value) == fold(field, &wanted),
        _ => false,
    }
}

/// A person.
pub(crate) fn user() -> impl Strategy<Value = Value> {
    let optional = |strategy: BoxedStrategy<Value>| proptest::option::weighted(0.8, strategy);
    let metadata = || prop_oneof![scalar(), vec(scalar(), 0..3).prop_map(Value::from)].boxed();
    (
        (text(), text(), text(), text()),
        optional(text().prop_map(Value::from).boxed()),
        optional(any::<bool>().prop_map(Value::from).boxed()),
        optional((0_i64..5).prop_map(Value::from).boxed()),
        optional(metadata()),
        optional(metadata()),
        optional(metadata()),
        optional((-50_i64..50).prop_map(Value::from).boxed()),
    )
        .prop_map(
            |((email, name, id, connection), username, blocked, logins, groups, odd, x, level)| {
                let mut user = Map::new();
                user.insert("user_id".to_owned(), format!("auth0|{id}").into());
                user.insert("email".to_owned(), email.into());
                user.insert("name".to_owned(), name.into());
                let identity = json!([{ "connection": connection, "provider": "auth0" }]);
                user.insert("identities".to_owned(), identity);
                let mut set = |key: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        user.insert(key.to_owned(), value);
                    }
                };
                set("username", username);
                set("blocked", blocked);
                set("logins_count", logins);
                let mut metadata = Map::new();
                if let Some(groups) = groups {
                    metadata.insert("groups".to_owned(), groups);
                }
                if let Some(odd) = odd {
                    metadata.insert("a b".to_owned(), json!({ "c:d": odd }));
                }
                if let Some(level) = level {
                    metadata.insert("level".to_owned(), level);
                }
                set("app_metadata", Some(metadata.into()));
                set("user_metadata", x.map(|x| json!({ "x": x })));
                Value::Object(user)
            },
        )
}

/// Parses a query as the list route would.
pub(crate) fn parse(pairs: &[(&str, &str)], acl: Option<&str>) -> UserQuery {
    UserQuery::parse(Route::List, pairs.iter().copied(), acl, None).unwrap()
}

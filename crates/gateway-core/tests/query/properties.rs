//! Properties that hold for every filter and every person.

use auth0_api::search::{Bound, Limit, Piece, Query, SearchQuery};
use dev_tenant::search as oracle;
use gateway_core::query::{QueryError, Route, Scope, Selection, UserQuery, matches};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::model::{Filter, filter, parse, text, user};

/// What the oracle must read out of the tree that was rendered.
fn expected(query: &Query) -> oracle::Query {
    let field = |field: &auth0_api::search::Field| Some(field.name().to_owned());
    let bound = |bound: &Bound| match bound {
        Bound::Open => (None, true),
        Bound::Inclusive(limit) => (Some(limit_text(limit)), true),
        Bound::Exclusive(limit) => (Some(limit_text(limit)), false),
    };
    match query {
        Query::Bool(name, value) => oracle::Query::Term {
            field: field(name),
            value: value.to_string(),
        },
        Query::Number(name, number) => {
            let (field, value) = (field(name), number.to_string());
            if value.starts_with('-') || value.contains('e') {
                oracle::Query::Phrase { field, value }
            } else {
                oracle::Query::Term { field, value }
            }
        }
        Query::Phrase(name, text) => oracle::Query::Phrase {
            field: field(name),
            value: text.clone(),
        },
        Query::Wildcard(name, pattern) => oracle::Query::Wildcard {
            field: field(name),
            pattern: pattern
                .pieces()
                .iter()
                .map(|piece| match piece {
                    Piece::Any => oracle::Piece::Any,
                    Piece::Literal(text) => oracle::Piece::Text(text.clone()),
                })
                .collect(),
        },
        Query::Range(name, from, to) => {
            let ((from, from_inclusive), (to, to_inclusive)) = (bound(from), bound(to));
            oracle::Query::Range {
                field: field(name),
                from,
                to,
                from_inclusive,
                to_inclusive,
            }
        }
        Query::Exists(name) => oracle::Query::Exists(name.name().to_owned()),
        Query::And(operands) => {
            oracle::Query::And(operands.as_slice().iter().map(expected).collect())
        }
        Query::Or(operands) => {
            oracle::Query::Or(operands.as_slice().iter().map(expected).collect())
        }
        Query::Not(inner) => oracle::Query::Not(Box::new(expected(inner))),
        Query::Group(inner) => expected(inner),
    }
}

fn limit_text(limit: &Limit) -> String {
    match limit {
        Limit::Number(number) => number.to_string(),
        Limit::Text(text) => text.clone(),
    }
}

/// Whom a query selects, by its tree, by the oracle's reading of its text, and by this crate's own
/// evaluation, which all must agree.
fn selected(query: &UserQuery, scope: &Scope, users: &[Value]) -> Option<Vec<bool>> {
    match query.selection(scope).unwrap() {
        Selection::Everybody => Some(vec![true; users.len()]),
        Selection::Nobody => Some(vec![false; users.len()]),
        Selection::Users(tree) => {
            let q = SearchQuery::new(&tree).ok()?;
            let read = oracle::parse(q.as_str())
                .unwrap_or_else(|error| panic!("{error} in {}", q.as_str()));
            assert_eq!(read, expected(&tree), "{}", q.as_str());
            oracle::check(&read).unwrap_or_else(|error| panic!("{error:?} in {}", q.as_str()));
            let theirs: Vec<bool> = users.iter().map(|u| oracle::matches(&read, u)).collect();
            let ours: Vec<bool> = users.iter().map(|u| matches(&tree, u)).collect();
            assert_eq!(theirs, ours, "{}", q.as_str());
            Some(theirs)
        }
    }
}

fn json(filter: &Filter) -> String {
    filter.to_json().to_string()
}

/// Cases of each property: `PROPTEST_CASES`, else a few thousand.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(2000),
        failure_persistence: None,
        max_local_rejects: u32::MAX,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Threat 41: values become syntax, AND binds wrongly, a connection or an ACL is not ANDed.
    #[test]
    fn threat_41_a_query_is_the_tree_that_was_meant_and_selects_the_same_people(
        condition in filter(),
        acl in proptest::option::of(filter()),
        connections in proptest::option::of(vec(text().prop_filter("a name", |t| !t.is_empty()), 1..3)),
        users in vec(user(), 1..6),
    ) {
        let (q, acl_json) = (json(&condition), acl.as_ref().map(json));
        let query = parse(&[("_q", &q)], acl_json.as_deref());
        let scope = match &connections {
            Some(names) => Scope::Connections(names.clone()),
            None => Scope::Everything,
        };
        let Some(got) = selected(&query, &scope, &users) else {
            return Ok(());
        };
        for (user, got) in users.iter().zip(got) {
            let connection = user["identities"][0]["connection"].as_str().unwrap();
            let meant = condition.selects(user)
                && acl.as_ref().is_none_or(|acl| acl.selects(user))
                && scope.allows(connection);
            prop_assert_eq!(got, meant, "{} for {}", query.selection(&scope).map(|s| format!("{s:?}")).unwrap(), user);
        }
        // The three parts stand side by side at the top, the connections last.
        if let (Selection::Users(Query::And(parts)), Some(names)) = (query.selection(&scope).unwrap(), &connections) {
            prop_assert!(parts.as_slice().len() <= 3);
            prop_assert!(parts.as_slice().iter().all(|part| matches!(part, Query::Group(_))));
            let last = format!("{:?}", parts.as_slice().last());
            prop_assert!(last.contains(&format!("{:?}", names[0])), "{}", last);
        }
    }

    /// An ACL can only narrow.
    #[test]
    fn an_acl_only_narrows(condition in filter(), acl in vec(filter(), 0..3), users in vec(user(), 1..8)) {
        let (q, acl) = (json(&condition), acl.iter().map(Filter::to_json).collect::<Vec<_>>());
        let acl = Value::from(acl).to_string();
        let everything = Scope::Everything;
        let run = |query: &UserQuery| selected(query, &everything, &users);
        let both = run(&parse(&[("_q", &q)], Some(&acl)));
        let (alone, only) = (run(&parse(&[("_q", &q)], None)), run(&parse(&[], Some(&acl))));
        let (Some(both), Some(alone), Some(only)) = (both, alone, only) else {
            return Ok(());
        };
        for at in 0..users.len() {
            prop_assert!(!both[at] || (alone[at] && only[at]));
        }
    }

    /// A plain parameter's text is data, whatever stands in it.
    #[test]
    fn plain_parameters_are_data(
        email in text(), group in text(), other in text(), language in text(), users in vec(user(), 1..6),
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('*', "\\*");
        let (email_text, language_text) = (escape(&email), escape(&language));
        let groups = format!("{},{}", escape(&group).replace(',', "\\,"), escape(&other).replace(',', "\\,"));
        let query = parse(
            &[("email", &email_text), ("app_metadata.groups", &groups), ("user_metadata.x", &language_text)],
            None,
        );
        let Some(got) = selected(&query, &Scope::Everything, &users) else {
            return Ok(());
        };
        let meant = Filter::And(vec![
            Filter::Eq("email".to_owned(), email.into()),
            Filter::Eq("app_metadata.groups".to_owned(), group.into()),
            Filter::Eq("app_metadata.groups".to_owned(), other.into()),
            Filter::Eq("user_metadata.x".to_owned(), language.into()),
        ]);
        for (user, got) in users.iter().zip(got) {
            prop_assert_eq!(got, meant.selects(user));
        }
    }

    /// Whatever is sent is either understood or refused with the parameter named.
    #[test]
    fn anything_is_understood_or_refused(
        names in vec(prop_oneof![
            Just("_q".to_owned()), Just("email".to_owned()), Just("connection".to_owned()),
            Just("app_metadata.x".to_owned()), Just("_s".to_owned()), text(),
        ], 0..4),
        values in vec(text(), 4),
        acl in proptest::option::of(text()),
    ) {
        let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
        let parsed = UserQuery::parse(Route::List, pairs, acl.as_deref(), None);
        let outcome: Result<_, QueryError> = parsed.and_then(|query| query.q(&Scope::Everything).map(|_| ()));
        if let Err(error) = outcome {
            let known = |name: &String| name.chars().filter(|c| !c.is_control()).take(64).collect::<String>() == error.parameter;
            prop_assert!(names.iter().any(known) || matches!(error.parameter.as_str(), "acl_rows" | "q" | "_sk"), "{}", error);
        }
    }
}

/// A value of ten kilobytes is either sent whole, in its term, or refused for its length.
#[test]
fn a_long_value_is_refused_or_whole() {
    for value in [
        "x".repeat(10_240),
        "\" OR *:* ".repeat(1_140),
        "\\".repeat(1_000),
    ] {
        let query = parse(
            &[("email", &value.replace('\\', "\\\\").replace('*', "\\*"))],
            None,
        );
        match query.q(&Scope::Everything) {
            Ok(Some(Some(q))) => {
                let read = oracle::parse(q.as_str()).unwrap();
                let whole = oracle::Query::Phrase {
                    field: Some("email".to_owned()),
                    value,
                };
                assert_eq!(read, whole);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(
                error.to_string().contains("too") || error.to_string().contains("ask for less"),
                "{error}"
            ),
        }
    }
}

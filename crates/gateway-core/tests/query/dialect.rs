//! The tables of docs/query-dialect.md, line by line.

use gateway_core::query::{QueryError, Route, Scope, UserQuery};

const PAGE: &str = include_str!("../../../../docs/query-dialect.md");

/// The rows of the table whose first column has this heading, code quotes taken off.
fn table(heading: &str) -> Vec<Vec<String>> {
    let start = format!("| {heading} |");
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(&start));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<String>> = rows
        .map(|line| {
            let line = line.trim_start_matches("| ").trim_end_matches(" |");
            let cell = |cell: &str| cell.trim_matches('`').replace("\\|", "|");
            line.split(" | ").map(cell).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{heading}");
    rows
}

fn run(query: &str, acl: Option<&str>) -> Result<String, QueryError> {
    let decode = |text: &str| text.replace("%7C", "|");
    let pairs: Vec<(String, String)> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let pairs = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let query = UserQuery::parse(Route::List, pairs, acl, None)?;
    Ok(match query.q(&Scope::Everything)? {
        None => "nobody".to_owned(),
        Some(None) => "everybody".to_owned(),
        Some(Some(q)) => q.as_str().to_owned(),
    })
}

#[test]
fn parameters_become_what_the_page_says() {
    for row in &table("query | `q`") {
        assert_eq!(run(&row[0], None).as_ref(), Ok(&row[1]), "{}", row[0]);
    }
}

#[test]
fn filters_become_what_the_page_says() {
    for row in &table("filter") {
        let query = format!("_q={}", row[0]);
        assert_eq!(run(&query, None).as_ref(), Ok(&row[1]), "{query}");
    }
}

#[test]
fn an_acl_becomes_what_the_page_says() {
    for row in &table("`acl_rows`") {
        assert_eq!(
            run(&row[1], Some(&row[0])).as_ref(),
            Ok(&row[2]),
            "{}",
            row[0]
        );
    }
}

#[test]
fn what_is_refused_is_refused_as_the_page_says() {
    for row in &table("query | message") {
        let error = run(&row[0], None).map_err(|error| error.to_string());
        assert_eq!(error.as_ref().err(), Some(&row[1]), "{}", row[0]);
    }
    for acl in [
        "",
        "[",
        "[1]",
        "true",
        "{\"a\":",
        "{\"nope\":1}",
        "{\"email\":{\"$x\":1}}",
    ] {
        assert!(run("email=a", Some(acl)).is_err(), "{acl}");
    }
}

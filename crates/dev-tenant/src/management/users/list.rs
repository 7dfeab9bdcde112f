//! `GET /api/v2/users`: lists and searches.

use std::cmp::Ordering;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::super::query::{Parameter, Query};
use super::super::{Call, Problem, json as json_response};
use super::attributes::{FIELDS_PARAMETER, INCLUDE_FIELDS_PARAMETER, Shown};
use crate::message::Response;
use crate::search::{self, Matcher};

/// Records beyond these are not served.
const REACHABLE: u64 = 1000;
const DEFAULT_PAGE_SIZE: u64 = 50;

const fn parameter(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description }
}

const PARAMETERS: &[Parameter] = &[
    parameter(
        "page",
        "Page index of the results to return. First page is 0",
    ),
    parameter("per_page", "Number of results per page"),
    parameter(
        "include_totals",
        "Return results inside an object that contains the total result count (true) or as a \
         direct array of results (false, default)",
    ),
    parameter(
        "sort",
        "Field to sort by. Use field:order where order is 1 for ascending and -1 for descending",
    ),
    parameter("connection", "Connection filter"),
    FIELDS_PARAMETER,
    INCLUDE_FIELDS_PARAMETER,
    parameter("q", "Query in Lucene query string syntax"),
    parameter("search_engine", "The version of the search engine"),
    parameter(
        "primary_order",
        "If true (default), results are returned in a deterministic order",
    ),
];

pub(crate) fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let query = Query::read(&call.request.query, PARAMETERS)?;
    let page = query.number("page", 0, u64::MAX)?.unwrap_or(0);
    let size = query.number("per_page", 0, 100)?;
    let size = size.unwrap_or(DEFAULT_PAGE_SIZE);
    let totals = query.flag("include_totals")?.unwrap_or(false);
    query.flag("primary_order")?;
    let shown = Shown::of(&query)?;
    let sort = sort_of(&query)?;
    let matcher = matcher_of(&query)?;
    if page.saturating_add(1).saturating_mul(size) > REACHABLE {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            Some("invalid_paging"),
            "You can only page through the first 1000 records. See \
             https://auth0.com/docs/users/search/v3/view-search-results-by-page#limitation",
        ));
    }

    let now = call.tenant.now();
    let mut found = call.tenant.state().users.search(matcher.as_ref(), now);
    if let Some((field, descending)) = sort {
        sort_by(&mut found, &field, descending);
    }
    let start = page.saturating_mul(size);
    let users: Vec<Value> = found
        .iter()
        .skip(usize::try_from(start).unwrap_or(usize::MAX))
        .take(usize::try_from(size).unwrap_or(usize::MAX))
        .map(|user| shown.cut(user))
        .collect();
    let body = if totals {
        json!({
            "start": start, "limit": size, "length": users.len(), "total": found.len(),
            "users": users,
        })
    } else {
        Value::from(users)
    };
    Ok(json_response(StatusCode::OK, &body))
}

/// The field to sort by, and whether from the end.
fn sort_of(query: &Query) -> Result<Option<(String, bool)>, Problem> {
    let Some(text) = query.get("sort").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    match text.split_once(':') {
        Some((field, order @ ("1" | "-1"))) if is_name(field) => {
            if field.starts_with("app_metadata") || field.starts_with("user_metadata") {
                // The text is assumed.
                return Err(query.problem("sort", &format!("Sorting by {field} is not allowed")));
            }
            Ok(Some((field.to_owned(), order == "-1")))
        }
        _ => Err(query.problem(
            "sort",
            &format!("String does not match pattern ^(([a-zA-Z0-9_\\.]+)):(1|-1)$: {text}"),
        )),
    }
}

/// `q` made ready, if there is one. The texts about `q` itself are assumed.
fn matcher_of(query: &Query) -> Result<Option<Matcher>, Problem> {
    let q = query.get("q").filter(|q| !q.is_empty());
    let refused = |message: String| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Some("invalid_query_string"),
            message,
        )
    };
    match query.get("search_engine") {
        None | Some("v3") => {}
        Some("v1") if q.is_some() => {
            return Err(refused(
                "The 'q' parameter is available only if you specify 'search_engine=v2|v3'."
                    .to_owned(),
            ));
        }
        Some(old @ ("v1" | "v2")) => {
            return Err(refused(format!(
                "You are not allowed to use search_engine={old}. Use search_engine=v3 instead."
            )));
        }
        Some(other) => {
            return Err(query.problem("search_engine", &format!("No enum match for: {other}")));
        }
    }
    if query.get("connection").is_some() {
        return Err(refused(
            "The 'connection' parameter is available only if you specify 'search_engine=v1'."
                .to_owned(),
        ));
    }
    let Some(q) = q else {
        return Ok(None);
    };
    let wrong = |error: &dyn std::fmt::Display| {
        refused(format!("The search query string has an error: {error}"))
    };
    let parsed = search::parse(q).map_err(|error| wrong(&error))?;
    search::check(&parsed).map_err(|error| wrong(&error))?;
    Ok(Some(Matcher::new(&parsed)))
}

/// Stable; who does not have the field goes last.
fn sort_by(users: &mut [Arc<Value>], field: &str, descending: bool) {
    let of = |user: &Arc<Value>| {
        let mut value = user.as_ref();
        for part in field.split('.') {
            value = value.get(part)?;
        }
        Some(value.clone())
    };
    users.sort_by_cached_key(|user| Key {
        value: of(user),
        descending,
    });
}

struct Key {
    value: Option<Value>,
    descending: bool,
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = match (&self.value, &other.value) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(Value::String(one)), Some(Value::String(two))) => one.cmp(two),
            (Some(Value::Bool(one)), Some(Value::Bool(two))) => one.cmp(two),
            (Some(one), Some(two)) => {
                let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
                number(one).total_cmp(&number(two))
            }
        };
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

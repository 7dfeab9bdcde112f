//! `/users…`: the tenant's users.

use std::sync::Arc;

use auth0_api::management::{User, UserId};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::body::Body;
use super::context::Context;
use super::params::unknown;
use super::respond::{self, Answer};
use crate::Error;
use crate::error::BoxError;
use crate::gateway::Gateway;
use crate::query::{Filter, Route, Selection, UserQuery};
use crate::users::Export;

/// Longest life of a password-change link that can be asked for: 30 days, in seconds.
const MAX_TICKET_LIFE: u64 = 30 * 86_400;

/// `GET /users`
pub(super) async fn list(gateway: &Gateway, context: &Context<'_>) -> Result<Answer, Error> {
    let query = query(context, Route::List)?;
    if query.explain {
        let explanation = gateway.explain_users(&query)?;
        let pages: Vec<Value> = explanation
            .pages
            .iter()
            .map(|page| json!({ "page": page.page, "per_page": page.per_page }))
            .collect();
        let body = json!({
            "q": explanation.q,
            "pages": pages,
            "sort": explanation.sort,
            "fields": explanation.fields,
        });
        return Ok(respond::json(StatusCode::OK, &body));
    }
    let users = gateway.list_users(&query, context.deadline).await?;
    let length = users
        .iter()
        .map(|user| user.json().len() + 1)
        .sum::<usize>();
    let mut body = BytesMut::with_capacity(length + 2);
    for user in &users {
        body.extend_from_slice(if body.is_empty() { b"[" } else { b"," });
        body.extend_from_slice(user.json().as_bytes());
    }
    body.extend_from_slice(if body.is_empty() { b"[]" } else { b"]" });
    Ok(respond::json_bytes(StatusCode::OK, body.freeze()))
}

/// `GET /users/count`
pub(super) async fn count(gateway: &Gateway, context: &Context<'_>) -> Result<Answer, Error> {
    let query = query(context, Route::Count)?;
    let count = gateway.count_users(&query, context.deadline).await?;
    Ok(respond::json(StatusCode::OK, &count.into()))
}

/// `GET /users/export`: a line of JSON for each user. A fault in the middle breaks the connection, so
/// that a short list never looks whole.
pub(super) async fn export(gateway: &Arc<Gateway>, context: &Context<'_>) -> Result<Answer, Error> {
    let query = query(context, Route::Export)?;
    let mut export = Export::new(gateway, &query)?;
    let mut answer = respond::empty(StatusCode::OK);
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    if *context.method == Method::HEAD {
        return Ok(answer);
    }
    // The first step is taken before the status is decided.
    let first = export.next(gateway).await?;
    let state = (Arc::clone(gateway), export, first);
    let lines = stream::try_unfold(state, |(gateway, mut export, ready)| async move {
        let Some(users) = ready else {
            return Ok::<_, BoxError>(None);
        };
        let next = export.next(&gateway).await?;
        Ok(Some((ndjson(&users), (gateway, export, next))))
    });
    *answer.body_mut() = Body::stream(Box::pin(lines));
    Ok(answer)
}

fn ndjson(users: &[User]) -> Bytes {
    let mut lines = BytesMut::new();
    for user in users {
        // A line break inside of an object could only be white space between its parts.
        if user.json().contains(['\n', '\r']) {
            let flat = user.json().replace(['\n', '\r'], " ");
            lines.extend_from_slice(flat.as_bytes());
        } else {
            lines.extend_from_slice(user.json().as_bytes());
        }
        lines.extend_from_slice(b"\n");
    }
    lines.freeze()
}

/// `GET /users/{id}`
pub(super) async fn get(
    gateway: &Gateway,
    context: &Context<'_>,
    id: &str,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    let user = gateway
        .user(&user_id(id)?, &acl(context)?, context.deadline)
        .await?;
    Ok(json_user(StatusCode::OK, &user))
}

/// `POST /users`
pub(super) async fn create(
    gateway: &Gateway,
    context: &Context<'_>,
    body: Map<String, Value>,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    // Rows that may be seen say nothing about a row that is not there yet; but a broken header is one.
    acl(context)?;
    let user = gateway.create_user(body, context.deadline).await?;
    Ok(json_user(StatusCode::CREATED, &user))
}

/// `PATCH /users/{id}`
pub(super) async fn update(
    gateway: &Gateway,
    context: &Context<'_>,
    id: &str,
    body: &Map<String, Value>,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    let user = gateway
        .update_user(&user_id(id)?, body, &acl(context)?, context.deadline)
        .await?;
    Ok(json_user(StatusCode::OK, &user))
}

/// `DELETE /users/{id}`
pub(super) async fn delete(
    gateway: &Gateway,
    context: &Context<'_>,
    id: &str,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    gateway
        .delete_user(&user_id(id)?, &acl(context)?, context.deadline)
        .await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// `POST /users/{id}/change-password`
pub(super) async fn change_password(
    gateway: &Gateway,
    context: &Context<'_>,
    id: &str,
    body: &Map<String, Value>,
) -> Result<Answer, Error> {
    no_parameters(context)?;
    let bad = |message: &str| Error::BadRequest(message.to_owned());
    if let Some(name) = body
        .keys()
        .find(|name| !matches!(name.as_str(), "resultUrl" | "ttlSeconds"))
    {
        return Err(unknown(name));
    }
    let result_url = match body.get("resultUrl") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let url = value.as_str().and_then(|text| Url::parse(text).ok());
            let url = url.filter(|url| matches!(url.scheme(), "https" | "http"));
            Some(url.ok_or_else(|| bad("resultUrl must be an http or https URL"))?)
        }
    };
    let ttl_seconds = match body.get("ttlSeconds") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let seconds = value.as_u64().filter(|s| (1..=MAX_TICKET_LIFE).contains(s));
            let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
            Some(seconds.ok_or_else(|| {
                bad("ttlSeconds must be a whole number from 1 to 2592000 (30 days)")
            })?)
        }
    };
    let (id, acl) = (user_id(id)?, acl(context)?);
    let ticket = gateway
        .password_change_ticket(&id, &acl, result_url, ttl_seconds, context.deadline)
        .await?;
    let body = json!({ "ticket": ticket.0 });
    Ok(respond::json(StatusCode::CREATED, &body))
}

fn query(context: &Context<'_>, route: Route) -> Result<UserQuery, Error> {
    let params = context.query()?;
    let query = UserQuery::parse(
        route,
        params.pairs(),
        context.single("acl_rows")?,
        context.single("json-query-params-encoding")?,
    )?;
    Ok(query)
}

/// The ACL, for a route that is no list.
pub(super) fn acl(context: &Context<'_>) -> Result<Selection, Error> {
    let filter = context
        .single("acl_rows")?
        .map(|text| Filter::parse_list("acl_rows", text))
        .transpose()?;
    let selection = filter.map(|filter| Selection::compile("acl_rows", &filter));
    Ok(selection.transpose()?.unwrap_or(Selection::Everybody))
}

/// The back office's own two are taken and ignored, as in a list.
pub(super) fn no_parameters(context: &Context<'_>) -> Result<(), Error> {
    context.query()?.only(&[])
}

pub(super) fn user_id(text: &str) -> Result<UserId, Error> {
    UserId::parse(text).map_err(|error| Error::BadRequest(format!("the user id {error}")))
}

fn json_user(status: StatusCode, user: &User) -> Answer {
    respond::json_bytes(status, Bytes::copy_from_slice(user.json().as_bytes()))
}

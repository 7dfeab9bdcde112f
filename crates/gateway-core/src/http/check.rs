//! `/userinfo` and `/auth`: who is this? Asked for every request of the services behind.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use sessionkit::{Credential, Session, Verdict};

use super::head::Head;
use super::respond::{self, Answer};
use super::route::Route;
use crate::Error;
use crate::gateway::{Caller, Gateway};
use crate::profile::Rendered;

/// Header names of `/auth`.
const USER_ID: HeaderName = HeaderName::from_static("miauserid");
const USER_GROUPS: HeaderName = HeaderName::from_static("miausergroups");
const USER_PROPERTIES: HeaderName = HeaderName::from_static("miauserproperties");

/// Answers without waiting, where the store can; `None` otherwise.
pub(super) fn now(
    gateway: &Gateway,
    head: &Head<'_>,
    route: Route,
) -> Option<Result<Answer, Error>> {
    // The session's own client counts; a client that is named must still be one.
    if let Err(error) = gateway.clients.named(head.client_type, head.secret) {
        return Some(Err(error));
    }
    let Some((value, presented)) = head.credential() else {
        return Some(Err(Error::NoSession));
    };
    match gateway
        .sessions
        .check_now(&Credential::of(value), presented)?
    {
        Verdict::Live(session) => Some(render(&session, route)),
        Verdict::Unknown if gateway.may_adopt(value) => None,
        Verdict::Expired(_) | Verdict::Unknown => Some(Err(Error::NoSession)),
        Verdict::RunOut(_) => None,
    }
}

/// Answers after asking the store, and after a refresh where one is due.
pub(super) async fn later(
    gateway: &Arc<Gateway>,
    head: &Head<'_>,
    route: Route,
    caller: &Caller,
) -> Result<Answer, Error> {
    let (value, presented) = head.credential().ok_or(Error::NoSession)?;
    let session = match gateway
        .sessions
        .check(&Credential::of(value), presented)
        .await?
    {
        Verdict::Live(session) => session,
        Verdict::RunOut(session) => gateway.refreshed(&session).await?,
        Verdict::Unknown if gateway.may_adopt(value) => {
            gateway.adopt(value, presented, caller).await?
        }
        Verdict::Expired(_) | Verdict::Unknown => return Err(Error::NoSession),
    };
    render(&session, route)
}

fn render(session: &Session, route: Route) -> Result<Answer, Error> {
    let rendered = Rendered::read(session.data())
        .ok_or_else(|| Error::Internal("a session holds no rendered profile".into()))?;
    if route == Route::UserInfo {
        let body = Bytes::copy_from_slice(rendered.body);
        return Ok(respond::by_session(respond::json_bytes(
            StatusCode::OK,
            body,
        )));
    }
    let mut answer = respond::by_session(respond::empty(StatusCode::OK));
    for (name, value) in [
        (USER_ID, rendered.user_id),
        (USER_GROUPS, rendered.groups),
        (USER_PROPERTIES, rendered.properties),
    ] {
        let value =
            HeaderValue::from_bytes(value).map_err(|error| Error::Internal(Box::new(error)))?;
        answer.headers_mut().insert(name, value);
    }
    Ok(answer)
}

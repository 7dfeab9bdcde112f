//! `/logout`.

use std::sync::Arc;

use http::Method;
use sessionkit::{Credential, Verdict};

use super::context::Context;
use super::forwarded;
use super::respond::{self, Answer};
use crate::config::LogoutMethod;
use crate::gateway::Gateway;
use crate::{Error, cookies};

/// `GET /logout` and `POST /logout`.
pub(super) async fn logout(gateway: &Arc<Gateway>, context: &Context<'_>) -> Result<Answer, Error> {
    let redirect = context.query()?;
    let redirect = redirect.get(&["redirect", "redirectUri"])?;
    let (session, unadopted) = match context.head.credential() {
        Some((value, presented)) => {
            match gateway
                .sessions
                .check(&Credential::of(value), presented)
                .await?
            {
                Verdict::Live(session) | Verdict::RunOut(session) | Verdict::Expired(session) => {
                    (Some(session), None)
                }
                // Unless it is claimed, the next check would make a session of it.
                Verdict::Unknown => (None, gateway.adoptable(value, presented).await?),
            }
        }
        None => (None, None),
    };
    // The session's own client, whatever the headers say; without a session, theirs.
    let client = match (&session, &unadopted) {
        (Some(session), _) => gateway.client_of(session)?,
        (None, Some(token)) => Arc::clone(&token.client),
        (None, None) => Arc::clone(
            gateway
                .clients
                .select(context.head.client_type, context.head.secret)?,
        ),
    };
    if client.logout_method == LogoutMethod::Post && *context.method != Method::POST {
        return Err(Error::MethodNotAllowed("POST"));
    }
    if let Some(session) = &session {
        gateway.sign_out(session).await?;
    }
    if let Some(token) = &unadopted {
        gateway.forgo(token).await?;
    }
    let origin = forwarded::origin(&gateway.settings, context.uri, context.headers);
    let location = Gateway::logout_location(&client, redirect, origin.as_deref());
    respond::with_cookie(respond::found(&location)?, &cookies::clear_session(&client))
}

//! `refresh_token`, with rotation.

use http::StatusCode;

use super::TokenCall;
use super::issue::{Answer, answer, refresh_token};
use crate::grant::{Grant, Scope};
use crate::message::{Refusal, Response};

pub(super) fn exchange(call: &TokenCall<'_>) -> Result<Response, Refusal> {
    let text = call.required("refresh_token")?;
    let now = call.tenant.now();
    let successor = refresh_token()?;

    let (grant, user, successor) = {
        let mut state = call.tenant.state();
        let grant = state
            .refresh
            .check(text, &call.client.application.client_id, now)
            .map_err(|_| Refusal::invalid_grant("Unknown or invalid refresh token."))?;
        let issued_at = state.refresh.issued_at(text).unwrap_or(now);
        // Somebody who got the same id later is somebody else.
        let user = state.users.get(&grant.user_id).cloned();
        let user = user.filter(|user| user.created_at <= issued_at);
        let user = user.ok_or_else(|| {
            Refusal::invalid_grant(
                "The refresh_token was generated for a user who doesn't exist anymore.",
            )
        })?;
        if user.is_blocked() {
            return Err(Refusal::invalid_grant("user is blocked"));
        }
        let scope = narrowed(&grant.scope, call.params.get("scope"))?;
        let successor = state.refresh.rotation().then_some(successor);
        state.refresh.exchange(text, successor.clone(), now);
        let grant = Grant {
            scope,
            gty: Some("refresh_token"),
            ..grant
        };
        (grant, user, successor)
    };

    answer(
        call.tenant,
        &Answer {
            grant: &grant,
            user: &user,
            nonce: None,
            refresh_token: successor.as_deref(),
            forgeries: &call.request.forgeries,
        },
    )
}

/// A refresh can ask for fewer scopes than were granted, never for more.
fn narrowed(granted: &Scope, asked: Option<&str>) -> Result<Scope, Refusal> {
    let Some(asked) = asked else {
        return Ok(granted.clone());
    };
    let asked = Scope::parse(asked);
    if asked.iter().all(|name| granted.contains(name)) {
        Ok(asked)
    } else {
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_scope",
            "The scope asks for more than was granted.",
        ))
    }
}

//! `authorization_code`, with PKCE (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

use http::StatusCode;

use super::TokenCall;
use super::issue::{Answer, answer, refresh_token};
use crate::message::{Refusal, Response};
use crate::urls::without_fragment;

pub(super) fn exchange(call: &TokenCall<'_>) -> Result<Response, Refusal> {
    let text = call.required("code")?;
    let now = call.tenant.now();
    let new_refresh_token = refresh_token()?;

    let (code, user, refresh_token) = {
        let mut state = call.tenant.state();
        let invalid = || Refusal::invalid_grant("Invalid authorization code");
        // Another application's attempt must not spend the code.
        let own = state
            .codes
            .get(text, now)
            .is_some_and(|code| code.grant.client_id == call.client.application.client_id);
        if !own {
            return Err(invalid());
        }
        // Whatever comes next, the code is spent.
        let code = state.codes.take(text, now).ok_or_else(invalid)?;
        check_redirect_uri(call, code.redirect_uri.as_deref(), &code.callback)?;
        check_verifier(call, code.challenge.as_ref())?;
        let user = state
            .users
            .get(&code.grant.user_id)
            .cloned()
            .ok_or_else(invalid)?;
        if user.is_blocked() {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "unauthorized",
                "user is blocked",
            ));
        }
        let refresh_token = code.grant.scope.contains("offline_access").then(|| {
            state
                .refresh
                .issue(new_refresh_token.clone(), code.grant.clone(), now);
            new_refresh_token
        });
        (code, user, refresh_token)
    };

    answer(
        call.tenant,
        &Answer {
            grant: &code.grant,
            user: &user,
            nonce: code.nonce.as_deref(),
            refresh_token: refresh_token.as_deref(),
            forgeries: &call.request.forgeries,
        },
    )
}

/// `redirect_uri` must be the one of `/authorize` when one was sent there. The error
/// code is Auth0's, where RFC 6749 would have `invalid_grant`; its status is assumed.
fn check_redirect_uri(
    call: &TokenCall<'_>,
    sent_before: Option<&str>,
    callback: &str,
) -> Result<(), Refusal> {
    let sent = call.params.get("redirect_uri").map(without_fragment);
    let fits = match sent_before {
        Some(before) => sent == Some(without_fragment(before)),
        None => sent.is_none_or(|sent| sent == callback),
    };
    if fits {
        Ok(())
    } else {
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "unauthorized_client",
            "The redirect URI is wrong.",
        ))
    }
}

/// A verifier without a challenge is refused too: somebody lost the challenge on the way.
fn check_verifier(
    call: &TokenCall<'_>,
    challenge: Option<&crate::pkce::Challenge>,
) -> Result<(), Refusal> {
    match (challenge, call.params.get("code_verifier")) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(Refusal::missing("code_verifier")),
        (Some(challenge), Some(verifier)) if challenge.accepts(verifier) => Ok(()),
        (_, Some(_)) => Err(Refusal::invalid_grant("Failed to verify code verifier")),
    }
}

//! `password` and Auth0's `password-realm`.

use std::time::Duration;

use http::StatusCode;

use super::TokenCall;
use super::issue::{Answer, answer, refresh_token};
use crate::clock::later;
use crate::credentials::{self, LoginRefused};
use crate::grant::{Grant, password_scope};
use crate::message::{Refusal, Response};
use crate::secret::random_text;
use crate::state::MfaChallenge;
use crate::users::User;

/// Life of an `mfa_token`.
const MFA_TOKEN_LIFETIME: Duration = Duration::from_secs(600);

pub(super) fn exchange(call: &TokenCall<'_>, with_realm: bool) -> Result<Response, Refusal> {
    let tenant = call.tenant;
    let app = call.client.application;
    let username = call.required("username")?;
    let password = call.required("password")?;
    let connection = if with_realm {
        realm(call)?
    } else {
        // The status is assumed; the text is what such a tenant says.
        tenant.options.default_directory.clone().ok_or_else(|| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "Authorization server not configured with default connection.",
            )
        })?
    };
    let target = tenant.target(call.params.get("audience")).ok_or_else(|| {
        Refusal::invalid_request("invalid audience specified for password grant exchange")
    })?;

    let address = tenant.end_user_address(call.request, app, call.client.with_secret);
    let now = tenant.now();
    let user = credentials::check(
        &mut tenant.state(),
        &tenant.settings,
        username,
        password,
        &[connection],
        address,
        now,
    )
    .map_err(refusal)?;

    let grant = Grant {
        client_id: app.client_id.clone(),
        user_id: user.user_id.clone(),
        scope: password_scope(call.params.get("scope"), app, target),
        audience: target.api.map(|api| api.identifier.clone()),
        gty: Some("password"),
        ..Grant::default()
    };
    if user.otp.is_some() {
        return Err(mfa_required(call, grant)?);
    }
    finish(call, &grant, &user)
}

/// The tokens of a password login that is complete.
pub(super) fn finish(
    call: &TokenCall<'_>,
    grant: &Grant,
    user: &User,
) -> Result<Response, Refusal> {
    let refresh_token = if grant.scope.contains("offline_access") {
        let text = refresh_token()?;
        let now = call.tenant.now();
        call.tenant
            .state()
            .refresh
            .issue(text.clone(), grant.clone(), now);
        Some(text)
    } else {
        None
    };
    answer(
        call.tenant,
        &Answer {
            grant,
            user,
            nonce: None,
            refresh_token: refresh_token.as_deref(),
            forgeries: &call.request.forgeries,
        },
    )
}

fn realm(call: &TokenCall<'_>) -> Result<String, Refusal> {
    let realm = call.required("realm")?;
    let exists = call.tenant.connections.iter().any(|name| name == realm);
    // That a connection which is switched off looks like an unknown one is assumed.
    if exists && call.client.application.allows_connection(realm) {
        Ok(realm.to_owned())
    } else {
        Err(Refusal::invalid_request("the connection was not found"))
    }
}

fn refusal(refused: LoginRefused) -> Refusal {
    let text = refused.text();
    match refused {
        LoginRefused::WrongCredentials => Refusal::invalid_grant(text),
        LoginRefused::TooManyAttempts => {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", text)
        }
        // Status and code are assumed; the text is sure.
        LoginRefused::Blocked => Refusal::new(StatusCode::FORBIDDEN, "unauthorized", text),
    }
}

fn mfa_required(call: &TokenCall<'_>, grant: Grant) -> Result<Refusal, Refusal> {
    let now = call.tenant.now();
    let token = format!("Fe26.2*{}", random_text(32)?);
    let challenge = MfaChallenge {
        grant,
        wrong_otps: 0,
    };
    call.tenant.state().challenges.insert(
        token.clone(),
        challenge,
        later(now, MFA_TOKEN_LIFETIME),
        now,
    );
    Ok(Refusal {
        mfa_token: Some(token),
        ..Refusal::new(
            StatusCode::FORBIDDEN,
            "mfa_required",
            "Multifactor authentication required",
        )
    })
}

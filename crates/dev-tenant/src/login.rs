//! `/u/login` and `/u/mfa-otp-challenge`: the person signs in.
//!
//! A login under way is found by its `state` alone, so that a plain form post from a
//! script can finish it. Auth0 also ties it to the browser.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;

use crate::authorize::{SESSION_COOKIE, blocked_user, grant_of, send_code};
use crate::credentials::{self, LoginRefused};
use crate::grant::Grant;
use crate::message::{Refusal, Request, Response, redirect, set_cookie};
use crate::pages::{LoginPage, OtpPage, error_page};
use crate::params::Params;
use crate::secret::random_text;
use crate::sessions::SsoSession;
use crate::state::{Login, OTP_TRIES};
use crate::tenant::{Hint, Tenant};
use crate::users::User;

/// `GET /u/login`: the page.
pub(crate) fn login_page(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let show = || {
        let params = request.query()?;
        let (state, login) = under_way(tenant, &params)?;
        let identifier = login.login_hint.clone().unwrap_or_default();
        Ok(render(tenant, &state, &login, &identifier, None))
    };
    show().unwrap_or_else(|refusal: Refusal| error_page(&refusal))
}

/// `POST /u/login`: `username`, `password`, `state`.
pub(crate) fn log_in(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_log_in(tenant, request).unwrap_or_else(|refusal| error_page(&refusal))
}

/// `GET /u/mfa-otp-challenge`: the page for the second factor.
pub(crate) fn otp_page(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let show = || {
        let params = request.query()?;
        let (state, login) = under_way(tenant, &params)?;
        login.second_factor_of.as_ref().ok_or_else(gone)?;
        let page = OtpPage {
            state: &state,
            error: None,
        };
        Ok(page.render(StatusCode::OK))
    };
    show().unwrap_or_else(|refusal: Refusal| error_page(&refusal))
}

/// `POST /u/mfa-otp-challenge`: `code`, `state`.
pub(crate) fn verify_otp(tenant: &Arc<Tenant>, request: &Request) -> Response {
    try_verify_otp(tenant, request).unwrap_or_else(|refusal| error_page(&refusal))
}

fn try_log_in(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.form()?;
    let (state, login) = under_way(tenant, &params)?;
    let identifier = params.get("username").unwrap_or_default();
    let connections = connections(tenant, &login);
    let now = tenant.now();
    let checked = credentials::check(
        &mut tenant.state(),
        &tenant.settings,
        identifier,
        params.get("password").unwrap_or_default(),
        &connections,
        request.peer,
        now,
    );
    match checked {
        Ok(user) if user.otp.is_some() => {
            if let Some(login) = tenant.state().logins.get_mut(&state, now) {
                login.second_factor_of = Some(user.user_id);
            }
            Ok(redirect(&format!("/u/mfa-otp-challenge?state={state}")))
        }
        Ok(user) => finish(tenant, request, &state, &user, false),
        Err(LoginRefused::Blocked) => {
            tenant.state().logins.take(&state, now);
            Ok(blocked_user(&login))
        }
        Err(refused) => Ok(render(tenant, &state, &login, identifier, Some(refused))),
    }
}

fn try_verify_otp(tenant: &Tenant, request: &Request) -> Result<Response, Refusal> {
    let params = request.form()?;
    let (text, login) = under_way(tenant, &params)?;
    let now = tenant.now();
    let right = {
        let mut state = tenant.state();
        let user_id = login.second_factor_of.as_ref().ok_or_else(gone)?;
        let user = state.users.get(user_id).cloned().ok_or_else(gone)?;
        let login = state.logins.get_mut(&text, now).ok_or_else(gone)?;
        if login.wrong_otps >= OTP_TRIES {
            state.logins.take(&text, now);
            return Err(gone());
        }
        let code = params.get("code").unwrap_or_default();
        let right = user.otp.as_ref().is_some_and(|otp| otp.matches(code));
        if !right {
            login.wrong_otps += 1;
        }
        right.then_some(user)
    };
    match right {
        Some(user) => finish(tenant, request, &text, &user, true),
        None => {
            let page = OtpPage {
                state: &text,
                error: Some("The code is wrong."),
            };
            Ok(page.render(StatusCode::BAD_REQUEST))
        }
    }
}

/// Starts the browser's session and sends the code. Of two posts at once, one wins.
fn finish(
    tenant: &Tenant,
    request: &Request,
    login: &str,
    user: &User,
    mfa: bool,
) -> Result<Response, Refusal> {
    let now = tenant.now();
    let (cookie, new_sid) = (random_text(32)?, random_text(24)?);
    let (login, sid) = {
        let mut state = tenant.state();
        let login = state.logins.take(login, now).ok_or_else(gone)?;
        // The same person goes on with the session they have, under a new cookie value;
        // whatever cookie came with the request is worth nothing from here on.
        let earlier = request
            .cookie(SESSION_COOKIE)
            .and_then(|value| state.sessions.end(value))
            .filter(|session| session.user_id == user.user_id);
        let session = match earlier {
            Some(mut session) => {
                session.authenticated_at = now;
                session.last_seen_at = now;
                session.mfa = mfa;
                session.clients.insert(login.client_id.clone());
                session
            }
            None => SsoSession {
                sid: new_sid,
                user_id: user.user_id.clone(),
                connection: user.connection.clone(),
                created_at: now,
                authenticated_at: now,
                last_seen_at: now,
                mfa,
                clients: BTreeSet::from([login.client_id.clone()]),
            },
        };
        let sid = session.sid.clone();
        state.sessions.start(cookie.clone(), session);
        (login, sid)
    };
    let grant = Grant {
        user_id: user.user_id.clone(),
        sid: Some(sid),
        mfa,
        auth_time: login.wants_auth_time.then(|| now.unix_timestamp()),
        ..grant_of(&login)
    };
    let mut response = send_code(tenant, &login, grant)?;
    set_session_cookie(tenant, &mut response, &cookie);
    Ok(response)
}

fn set_session_cookie(tenant: &Tenant, response: &mut Response, value: &str) {
    // `SameSite=None` is for TLS only; without it, Lax lets the redirects through.
    let attributes = if tenant.is_https() {
        "Secure; SameSite=None"
    } else {
        "SameSite=Lax"
    };
    set_cookie(
        response,
        &format!("{SESSION_COOKIE}={value}; Path=/; HttpOnly; Max-Age=2592000; {attributes}"),
    );
}

/// The login that a page or form belongs to.
fn under_way(tenant: &Tenant, params: &Params) -> Result<(String, Login), Refusal> {
    let state = params
        .get("state")
        .ok_or_else(|| Refusal::missing("state"))?;
    let now = tenant.now();
    let login = tenant
        .state()
        .logins
        .get(state, now)
        .cloned()
        .ok_or_else(gone)?;
    Ok((state.to_owned(), login))
}

fn gone() -> Refusal {
    Refusal::invalid_request("This login is over or was never started. Go back and try again.")
}

fn connections(tenant: &Tenant, login: &Login) -> Vec<String> {
    match (&login.connection, tenant.application(&login.client_id)) {
        (Some(connection), _) => vec![connection.clone()],
        (None, Some(app)) => tenant.connections_of(app),
        (None, None) => Vec::new(),
    }
}

fn render(
    tenant: &Tenant,
    state: &str,
    login: &Login,
    identifier: &str,
    refused: Option<LoginRefused>,
) -> Response {
    let connections = connections(tenant, login);
    let hints: Vec<(&Hint, bool)> = {
        let state = tenant.state();
        let here = tenant
            .hints
            .iter()
            .filter(|hint| connections.contains(&hint.connection));
        here.filter_map(|hint| Some((hint, state.users.get(&hint.user_id)?.is_blocked())))
            .collect()
    };
    let page = LoginPage {
        state,
        application: &login.client_id,
        identifier,
        error: refused.map(LoginRefused::text),
        hints: &hints,
    };
    page.render(match refused {
        None => StatusCode::OK,
        Some(LoginRefused::TooManyAttempts) => StatusCode::TOO_MANY_REQUESTS,
        Some(_) => StatusCode::BAD_REQUEST,
    })
}

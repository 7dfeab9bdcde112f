//! `/oauth/token`, `/refreshtoken` and `/changepassword`.

use std::sync::Arc;

use auth0_api::{ChangePassword, Password};
use http::StatusCode;
use http::header::LOCATION;
use serde_json::json;

use super::context::Context;
use super::head::binding_cookie;
use super::login::set_cookie;
use super::params::Params;
use super::respond::{self, Answer};
use crate::gateway::Gateway;
use crate::refresh::RefreshRequest;
use crate::sign_in::{Callback, Issued};
use crate::{Error, connection};

/// `POST /oauth/token`.
pub(super) async fn token(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    params: &Params,
) -> Result<Answer, Error> {
    let grant_type = params.get(&["grant_type"])?;
    let (code, state) = (params.get(&["code"])?, params.get(&["state"])?);
    match (grant_type, code, state) {
        (Some("password" | auth0_api::grant::PASSWORD_REALM), _, _) => {
            password(gateway, context, params).await
        }
        (Some("authorization_code"), _, _) | (None, Some(_), Some(_)) => {
            authorization_code(gateway, context, params).await
        }
        (Some("refresh_token"), _, _) => refresh(gateway, context, params).await,
        _ => Err(Error::UnsupportedGrantType),
    }
}

async fn password(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    params: &Params,
) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .select(context.head.client_type, context.head.secret)?;
    let connection = params.get(&["connection", "realm"])?;
    let (username, password) = (
        params.require(&["username"])?,
        params.require(&["password"])?,
    );
    let password = Password::new(password);
    let issued = gateway
        .sign_in_with_password(client, username, password, connection, &context.caller)
        .await?;
    signed_in(gateway, context, &issued, None).await
}

async fn authorization_code(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    params: &Params,
) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .select(context.head.client_type, context.head.secret)?;
    let callback = Callback {
        code: params.require(&["code"])?,
        state: params.require(&["state"])?,
        client: Some(client),
        binding: binding_cookie(context.headers),
        web_login: false,
    };
    let completed = gateway.complete(callback, &context.caller).await?;
    signed_in(
        gateway,
        context,
        &completed.issued,
        completed.redirect.as_deref(),
    )
    .await
}

async fn signed_in(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    issued: &Issued,
    redirect: Option<&str>,
) -> Result<Answer, Error> {
    if let Some(old) = context.head.session_cookie() {
        gateway.end_superseded(old, issued).await;
    }
    let mut answer = answer(gateway, issued)?;
    if let (Issued::Cookie { .. }, Some(target)) = (issued, redirect) {
        answer
            .headers_mut()
            .insert(LOCATION, respond::header(target)?);
    }
    Ok(answer)
}

fn answer(gateway: &Gateway, issued: &Issued) -> Result<Answer, Error> {
    match issued {
        Issued::Tokens(tokens) => respond::tokens(tokens),
        Issued::Cookie { .. } => set_cookie(gateway, respond::empty(StatusCode::OK), issued),
    }
}

/// `POST /refreshtoken`.
pub(super) async fn refresh(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    params: &Params,
) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .named(context.head.client_type, context.head.secret)?;
    let (value, presented) = context.head.credential().ok_or(Error::NoSession)?;
    let request = RefreshRequest {
        value: std::str::from_utf8(value).map_err(|_| Error::NoSession)?,
        presented,
        refresh_token: params.get(&["refresh_token", "refreshToken"])?,
        client: client.map(|client| &**client),
    };
    let (issued, _) = gateway.refresh(request).await?;
    Ok(respond::by_session(answer(gateway, &issued)?))
}

/// `POST /changepassword`.
pub(super) async fn change_password(
    gateway: &Gateway,
    context: &Context<'_>,
    params: &Params,
) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .select(context.head.client_type, context.head.secret)?;
    let email = params.require(&["email"])?;
    if !email.contains('@') || email.len() > 320 || email.chars().any(char::is_whitespace) {
        return Err(Error::BadRequest(
            "email must be an e-mail address".to_owned(),
        ));
    }
    let request = ChangePassword {
        email: email.to_owned(),
        connection: connection::choose(client, params.get(&["connection"])?)?.map(str::to_owned),
    };
    match gateway
        .api
        .change_password(&client.application, &request)
        .await
    {
        Ok(()) => {}
        // Nobody learns who exists: a refusal looks like success.
        Err(error @ auth0_api::Error::Refused(_)) => {
            tracing::warn!(client = client.name, %error, "a password reset was refused");
        }
        Err(error) => return Err(error.into()),
    }
    let body = json!({"message": "If the address belongs to an account, a mail is on its way."});
    Ok(respond::json(StatusCode::OK, &body))
}

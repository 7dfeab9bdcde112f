//! `/authorize`, `/web-login` and its callback: the browser's way in.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::context::Context;
use super::head::binding_cookie;
use super::params::Params;
use super::respond::{self, Answer};
use crate::cookies;
use crate::error::{BoxError, Error, Refused, RefusedKind};
use crate::gateway::Gateway;
use crate::sign_in::{Begin, Begun, Callback, Issued};

/// `GET /authorize`.
pub(super) async fn authorize(gateway: &Gateway, context: &Context<'_>) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .select(context.head.client_type, context.head.secret)?;
    let params = context.query()?;
    let begin = begin(&params, binding_cookie(context.headers))?;
    // Where the built-in page takes the code, it wants to know the browser again.
    let bound = client.bind_state_to_browser || client.web_login;
    let begun = gateway.begin(client, begin, bound).await?;
    answer(client, &begun)
}

/// `GET /web-login`.
pub(super) async fn web_login(gateway: &Gateway, context: &Context<'_>) -> Result<Answer, Error> {
    let client = gateway
        .clients
        .select(context.head.client_type, context.head.secret)?;
    if !client.web_login {
        return Err(Error::NotFound);
    }
    let params = context.query()?;
    let own = random_state()?;
    let begin = Begin {
        state: Some(&own),
        ..begin(&params, binding_cookie(context.headers))?
    };
    answer(client, &gateway.begin(client, begin, true).await?)
}

/// `GET /web-login/callback`.
pub(super) async fn callback(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
) -> Result<Answer, Error> {
    if !gateway
        .clients
        .by_name
        .values()
        .any(|client| client.web_login)
    {
        return Err(Error::NotFound);
    }
    let result = finish(gateway, context).await;
    match result {
        // A person stands in front of this one: words and a way on instead of JSON.
        Err(error) if wants_page(context) => Ok(page(gateway, &error)),
        result => result,
    }
}

async fn finish(gateway: &Arc<Gateway>, context: &Context<'_>) -> Result<Answer, Error> {
    let params = context.query()?;
    let state = params.require(&["state"])?;
    if let Some(code) = params.get(&["error"])? {
        // A normal outcome; the sign-in is over either way.
        gateway.abandon(state).await?;
        return Err(refused(code));
    }
    let callback = Callback {
        code: params.require(&["code"])?,
        state,
        client: None,
        binding: binding_cookie(context.headers),
        web_login: true,
    };
    let completed = gateway.complete(callback, &context.caller).await?;
    if let Some(old) = context.head.session_cookie() {
        gateway.end_superseded(old, &completed.issued).await;
    }
    let target = completed.redirect.unwrap_or_else(|| "/".to_owned());
    set_cookie(gateway, respond::found(&target)?, &completed.issued)
}

/// Adds the session cookie of a sign-in.
pub(super) fn set_cookie(
    gateway: &Gateway,
    answer: Answer,
    issued: &Issued,
) -> Result<Answer, Error> {
    match issued {
        Issued::Cookie { value, client } => {
            let value = secrecy::ExposeSecret::expose_secret(value);
            let line = cookies::set_session(client, value, gateway.settings.session_duration)?;
            respond::with_cookie(answer, &line)
        }
        Issued::Tokens(_) => Err(Error::Internal(BoxError::from("a cookie was expected"))),
    }
}

fn begin<'a>(params: &'a Params, binding: Option<&'a str>) -> Result<Begin<'a>, Error> {
    let max_age = params.get(&["max_age"])?.map(|text| {
        text.parse()
            .map_err(|_| Error::BadRequest("max_age must be a number of seconds".to_owned()))
    });
    Ok(Begin {
        state: params.get(&["state"])?,
        redirect: params.get(&["redirect", "redirectUri"])?,
        connection: params.get(&["connection"])?,
        binding,
        prompt: params.get(&["prompt"])?,
        login_hint: params.get(&["login_hint"])?,
        screen_hint: params.get(&["screen_hint"])?,
        ui_locales: params.get(&["ui_locales"])?,
        organization: params.get(&["organization"])?,
        invitation: params.get(&["invitation"])?,
        max_age: max_age.transpose()?,
    })
}

fn answer(client: &crate::config::Client, begun: &Begun) -> Result<Answer, Error> {
    let answer = respond::found(begun.location.as_str())?;
    match &begun.binding {
        Some(secret) => respond::with_cookie(answer, &cookies::set_binding(client, secret)?),
        None => Ok(answer),
    }
}

fn random_state() -> Result<String, Error> {
    crate::sign_in::random()
}

/// Auth0's refusal in the callback's query. Its words are anybody's who can make a link: only a code
/// that looks like one is taken over, and no text.
fn refused(code: &str) -> Error {
    let is_code = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let code = auth0_api::ErrorCode::from_wire(if is_code { code } else { "access_denied" });
    Error::Refused(Refused {
        kind: RefusedKind::Forbidden,
        refusal: auth0_api::Refusal {
            status: 403,
            code,
            description: Some("the sign-in was refused".to_owned()),
            mfa_token: None,
            mfa_requirements: None,
            body: None,
        },
    })
}

fn wants_page(context: &Context<'_>) -> bool {
    let accept = context
        .headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// A page for a sign-in that did not work out. No text of the request is in it.
fn page(gateway: &Gateway, error: &Error) -> Answer {
    let mut answer = respond::error(error);
    let (title, words) = match error {
        Error::Refused(_) => ("Sign-in refused", "Your account may not sign in here."),
        Error::UnknownState | Error::Unverified | Error::BadRequest(_) => (
            "Sign-in not completed",
            "It took too long, was completed in another tab, or was begun in another browser.",
        ),
        _ => (
            "Sign-in not available",
            "Something is not working just now. Try again in a moment.",
        ),
    };
    let prefix = &gateway.settings.service_prefix;
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;\
         margin:15vh auto;padding:0 1rem;color:#1b1f24}}a{{color:#0b5cad}}</style></head>\
         <body><h1>{title}</h1><p>{words}</p><p><a href=\"{prefix}/web-login\">Sign in again</a></p>\
         </body></html>"
    );
    *answer.body_mut() = super::body::Body::full(html);
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    // A browser shows its own page in place of a bare 401 from some proxies; the words are ours.
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().remove(http::header::WWW_AUTHENTICATE);
    }
    answer
}

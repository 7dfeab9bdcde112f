//! One request taken apart, and the answers that routes give.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, PRAGMA,
    SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::forge::Forgery;
use crate::params::{Params, ParamsError};

/// A request with its whole body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peer: IpAddr,
    /// First parameter of the route's path, percent-decoded.
    pub(crate) id: String,
    /// Its further parameters, percent-decoded.
    pub(crate) more: Vec<String>,
    /// The job that this starts must fail.
    pub(crate) fails_job: bool,
    /// How the tokens of the answer must be wrong.
    pub(crate) forgeries: Vec<Forgery>,
}

impl Request {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Parameters of the query.
    pub(crate) fn query(&self) -> Result<Params, ParamsError> {
        Params::from_form(self.query.as_bytes())
    }

    /// Parameters of the body, a form or a JSON object.
    pub(crate) fn form(&self) -> Result<Params, ParamsError> {
        let media_type = self.media_type();
        if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Params::from_form(&self.body)
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Params::from_json(&self.body)
        } else if self.body.is_empty() {
            Ok(Params::default())
        } else {
            Err(ParamsError::ContentType)
        }
    }

    /// Parameters of a route that takes both methods.
    pub(crate) fn query_or_form(&self) -> Result<Params, ParamsError> {
        if self.method == Method::POST {
            self.form()
        } else {
            self.query()
        }
    }

    /// The content type without its parameters.
    pub(crate) fn media_type(&self) -> &str {
        let value = self.header(CONTENT_TYPE).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    /// The value of a cookie; of several with one name, the first.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The credential of `Authorization: Bearer` (RFC 6750 section 2.1).
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(AUTHORIZATION)?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    }

    /// Identifier and secret of `Authorization: Basic`, both form-decoded (RFC 6749
    /// section 2.3.1). `Some(None)` is a header that cannot be read.
    pub(crate) fn basic(&self) -> Option<Option<(String, String)>> {
        let (scheme, credential) = self.header(AUTHORIZATION)?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let read = || {
            let bytes = STANDARD.decode(credential.trim()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (id, secret) = text.split_once(':')?;
            Some((form_decode(id)?, form_decode(secret)?))
        };
        Some(read())
    }
}

fn form_decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .ok()?;
    Some(decoded.into_owned())
}

/// An answer with its whole body.
pub(crate) type Response = http::Response<Bytes>;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// An answer with a body, never cached.
pub(crate) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

/// A JSON answer, never cached.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    with_body(status, "application/json", body.to_string())
}

/// 302, never cached. A target that no header can hold is a fault of ours: 500.
pub(crate) fn redirect(target: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(target) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = empty(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// 405 with the methods that the route takes.
pub(crate) fn method_not_allowed(allowed: &str) -> Response {
    let mut response = json(
        StatusCode::METHOD_NOT_ALLOWED,
        &json!({
            "statusCode": 405, "error": "Method Not Allowed",
            "message": format!("This path takes {allowed}."),
        }),
    );
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Adds a header whose value was made here; one that no header can hold is left out.
pub(crate) fn set_header(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
}

/// Adds a cookie for this host.
pub(crate) fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// What a failed call is answered with: the error body of OAuth (RFC 6749 section 5.2)
/// with the statuses that Auth0 was seen to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) description: String,
    /// Passed on with `mfa_required`.
    pub(crate) mfa_token: Option<String>,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            mfa_token: None,
        }
    }

    /// 400 `invalid_request`.
    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// 400 for a parameter that is not there.
    pub(crate) fn missing(parameter: &str) -> Self {
        Self::invalid_request(format!("Missing required parameter: {parameter}"))
    }

    /// 403 `invalid_grant`.
    pub(crate) fn invalid_grant(description: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "invalid_grant", description)
    }

    /// 401 `access_denied`: what Auth0 says to a wrong client secret.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized")
    }

    /// The answer, with the cache headers that were recorded on errors.
    pub(crate) fn response(&self) -> Response {
        let mut body = json!({ "error": self.error, "error_description": self.description });
        if let Some(mfa_token) = &self.mfa_token {
            body["mfa_token"] = json!(mfa_token);
            body["mfa_requirements"] = json!({ "challenge": [{ "type": "otp" }] });
        }
        let mut response = json(self.status, &body);
        let headers = response.headers_mut();
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static(
                "private, no-store, no-cache, must-revalidate, post-check=0, pre-check=0, no-transform",
            ),
        );
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}

impl From<ParamsError> for Refusal {
    fn from(error: ParamsError) -> Self {
        Self::invalid_request(error.to_string())
    }
}

impl From<getrandom::Error> for Refusal {
    fn from(_: getrandom::Error) -> Self {
        Self::server_error()
    }
}

impl From<crate::keys::KeyError> for Refusal {
    fn from(_: crate::keys::KeyError) -> Self {
        Self::server_error()
    }
}

impl Refusal {
    fn server_error() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "The tenant has no keys or no random numbers.",
        )
    }
}

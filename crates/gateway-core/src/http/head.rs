//! What a request's headers say, read in one pass.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use sessionkit::{CookieValue, Presented};

use crate::Error;
use crate::cookies::{BINDING_COOKIE, SESSION_COOKIE};

/// The headers that decide something. One of them twice is nobody's guess but an error.
#[derive(Clone, Copy, Default)]
pub(super) struct Head<'a> {
    /// `client-type`.
    pub(super) client_type: Option<&'a str>,
    /// `secret` or `client-key`.
    pub(super) secret: Option<&'a [u8]>,
    /// `x-request-id`, if well formed.
    pub(super) request_id: Option<&'a HeaderValue>,
    authorization: Option<&'a [u8]>,
    session_cookie: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, Error> {
        let mut head = Self::default();
        let mut request_ids = 0;
        let mut has_cookies = false;
        for (name, value) in headers {
            match name.as_str() {
                "cookie" => has_cookies = true,
                "authorization" => once(
                    &mut head.authorization,
                    value.as_bytes(),
                    AUTHORIZATION.as_str(),
                )?,
                "client-type" => {
                    // No client has a name that is not visible ASCII.
                    let name = value.to_str().map_err(|_| Error::UnknownClient)?;
                    once(&mut head.client_type, name, "client-type")?;
                }
                "secret" | "client-key" => {
                    once(
                        &mut head.secret,
                        value.as_bytes(),
                        "secret (or its alias client-key)",
                    )?;
                }
                "x-request-id" => {
                    request_ids += 1;
                    head.request_id = Some(value);
                }
                _ => {}
            }
        }
        head.request_id = head
            .request_id
            .filter(|id| request_ids == 1 && is_request_id(id));
        if has_cookies {
            head.session_cookie = match cookie(headers, SESSION_COOKIE) {
                CookieValue::Absent => None,
                CookieValue::One(value) => Some(value),
                CookieValue::Repeated => return Err(twice("cookie sid")),
            };
        }
        Ok(head)
    }

    /// The credential: the bearer's token, or the session cookie. The header wins.
    pub(super) fn credential(&self) -> Option<(&'a [u8], Presented)> {
        let bearer = self
            .authorization
            .and_then(bearer)
            .map(|token| (token, Presented::Bearer));
        bearer.or(self.session_cookie.map(|value| (value, Presented::Cookie)))
    }

    /// The session cookie's value, whatever the bearer.
    pub(super) fn session_cookie(&self) -> Option<&'a str> {
        self.session_cookie
            .and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// The cookie that binds a sign-in to its browser.
pub(super) fn binding_cookie(headers: &HeaderMap) -> Option<&str> {
    match cookie(headers, BINDING_COOKIE) {
        CookieValue::One(value) => std::str::from_utf8(value).ok(),
        CookieValue::Absent | CookieValue::Repeated => None,
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> CookieValue<'a> {
    CookieValue::find(
        headers
            .get_all(COOKIE)
            .into_iter()
            .map(HeaderValue::as_bytes),
        name,
    )
}

/// The token of `Bearer <token>` (RFC 6750, section 2.1); another scheme is not ours to judge.
pub(super) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), Error> {
    if slot.replace(value).is_some() {
        Err(twice(name))
    } else {
        Ok(())
    }
}

pub(super) fn twice(name: &str) -> Error {
    Error::BadRequest(format!("{name} is given twice: send it once"))
}

fn is_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

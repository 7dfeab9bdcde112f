//! Reads a `Cookie` header, writes `Set-Cookie` (RFC 6265).

use std::time::Duration;

/// What a request's `Cookie` headers hold under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieValue<'a> {
    /// No such cookie.
    Absent,
    /// One, with this value (surrounding double quotes removed).
    One(&'a [u8]),
    /// Several: which one counts is anybody's guess, so none does.
    Repeated,
}

impl<'a> CookieValue<'a> {
    /// Looks for `name` (exact bytes; names are never decoded) in the values of all `Cookie` headers.
    #[must_use]
    pub fn find(_headers: impl Iterator<Item = &'a [u8]>, _name: &str) -> Self {
        todo!()
    }
}

/// The `SameSite` attribute (RFC 6265bis, section 4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the attribute's own")]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// How a cookie is written: always `Path=/; HttpOnly; Secure`.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    /// The name, an RFC 7230 token.
    pub name: &'static str,
    /// Left out when `None`.
    pub same_site: Option<SameSite>,
}

/// A cookie that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// Browsers drop a cookie of more than 4096 bytes.
    #[error("the cookie would be larger than 4096 bytes")]
    TooLarge,
    /// The value has a character that a cookie cannot hold (RFC 6265, section 4.1.1).
    #[error("the value has characters that a cookie cannot hold")]
    Value,
}

impl SessionCookie {
    /// `name=value; Path=/; HttpOnly; Secure; Max-Age=…[; SameSite=…]`.
    ///
    /// # Errors
    /// [`CookieError`].
    pub fn set(&self, _value: &str, _max_age: Duration) -> Result<String, CookieError> {
        todo!()
    }

    /// The line that removes it: same path and flags, `Expires` in the past and no `Max-Age`.
    #[must_use]
    pub fn clear(&self) -> String {
        todo!()
    }
}

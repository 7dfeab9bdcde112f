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
    pub fn find(headers: impl Iterator<Item = &'a [u8]>, name: &str) -> Self {
        let mut found = Self::Absent;
        for header in headers {
            let mut from = 0;
            // Cookies are long, and this is read for every request: many bytes at a time.
            for end in memchr::memchr_iter(b';', header).chain([header.len()]) {
                let pair = header.get(from..end).unwrap_or_default();
                from = end + 1;
                let pair = pair.trim_ascii_start();
                let Some(value) = pair.strip_prefix(name.as_bytes()) else {
                    continue;
                };
                // White space around the name is not part of it (RFC 6265, section 5.2).
                let Some(value) = value.trim_ascii_start().strip_prefix(b"=") else {
                    continue;
                };
                if found != Self::Absent {
                    return Self::Repeated;
                }
                found = Self::One(unquoted(value.trim_ascii()));
            }
        }
        found
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value)
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
    pub fn set(&self, value: &str, max_age: Duration) -> Result<String, CookieError> {
        if !value.bytes().all(is_cookie_octet) {
            return Err(CookieError::Value);
        }
        let seconds = max_age.as_secs();
        let same_site = self.same_site_attribute();
        let line = format!(
            "{}={value}; Path=/; HttpOnly; Secure; Max-Age={seconds}{same_site}",
            self.name
        );
        if line.len() > MAX_BYTES {
            Err(CookieError::TooLarge)
        } else {
            Ok(line)
        }
    }

    /// The line that removes it: same path and flags, `Expires` in the past and no `Max-Age`.
    #[must_use]
    pub fn clear(&self) -> String {
        let same_site = self.same_site_attribute();
        format!(
            "{}=; Path=/; HttpOnly; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT{same_site}",
            self.name
        )
    }

    const fn same_site_attribute(&self) -> &'static str {
        match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        }
    }
}

/// Largest cookie that browsers must keep: name, value and attributes together (RFC 6265, section 6.1).
const MAX_BYTES: usize = 4096;

/// RFC 6265, section 4.1.1: visible ASCII but for quotes, comma, semicolon and backslash.
const fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(headers: &[&str]) -> Option<Result<String, ()>> {
        match CookieValue::find(headers.iter().map(|header| header.as_bytes()), "sid") {
            CookieValue::Absent => None,
            CookieValue::One(value) => Some(Ok(String::from_utf8(value.to_vec()).unwrap())),
            CookieValue::Repeated => Some(Err(())),
        }
    }

    #[test]
    fn finds_the_cookie() {
        for (headers, value) in [
            (&["sid=a"][..], "a"),
            (&["x=1; sid=a; y=2"], "a"),
            (&["x=1;sid=a"], "a"),
            (&["x=1", "sid=a=b=="], "a=b=="),
            (&["sid=\"a\""], "a"),
            (&["sid = a "], "a"),
            (&[";;; =x; sid=a;;"], "a"),
            (&["sid="], ""),
        ] {
            assert_eq!(find(headers), Some(Ok(value.to_owned())), "{headers:?}");
        }
    }

    #[test]
    fn threat_33_names_are_exact_and_never_decoded() {
        for header in [
            "", "Sid=a", "SID=a", "%73id=a", "s%69d=a", "sid2=a", "xsid=a", "sid", "x=sid=a",
            "si d=a", "sid\0=a",
        ] {
            assert_eq!(find(&[header]), None, "{header}");
        }
    }

    #[test]
    fn threat_45_a_planted_second_cookie_is_seen() {
        for headers in [&["sid=a; sid=b"][..], &["sid=a", "sid=a"], &["sid=; sid=a"]] {
            assert_eq!(find(headers), Some(Err(())), "{headers:?}");
        }
    }

    #[test]
    fn threat_9_ten_thousand_cookies_are_read_once() {
        let many = "a=b; ".repeat(10_000) + "sid=x; " + &"=;;\0; ".repeat(10_000);
        assert_eq!(find(&[&many]), Some(Ok("x".to_owned())));
    }

    #[test]
    fn writes_every_attribute() {
        let line = |same_site| {
            SessionCookie {
                name: "sid",
                same_site,
            }
            .set("v", Duration::from_secs(86_400))
            .unwrap()
        };
        insta::assert_snapshot!(line(None), @"sid=v; Path=/; HttpOnly; Secure; Max-Age=86400");
        insta::assert_snapshot!(line(Some(SameSite::Lax)), @"sid=v; Path=/; HttpOnly; Secure; Max-Age=86400; SameSite=Lax");
        insta::assert_snapshot!(line(Some(SameSite::Strict)), @"sid=v; Path=/; HttpOnly; Secure; Max-Age=86400; SameSite=Strict");
        insta::assert_snapshot!(line(Some(SameSite::None)), @"sid=v; Path=/; HttpOnly; Secure; Max-Age=86400; SameSite=None");
        let clear = |same_site| {
            SessionCookie {
                name: "sid",
                same_site,
            }
            .clear()
        };
        insta::assert_snapshot!(clear(None), @"sid=; Path=/; HttpOnly; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        insta::assert_snapshot!(clear(Some(SameSite::None)), @"sid=; Path=/; HttpOnly; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=None");
    }

    #[test]
    fn refuses_what_a_cookie_cannot_hold() {
        let cookie = SessionCookie {
            name: "sid",
            same_site: None,
        };
        for value in [
            "a b",
            "a;b",
            "a,b",
            "a\"",
            "a\\",
            "a\r\nSet-Cookie: x",
            "ü",
            "\0",
        ] {
            assert_eq!(
                cookie.set(value, Duration::ZERO),
                Err(CookieError::Value),
                "{value}"
            );
        }
        assert!(
            cookie
                .set(&"a".repeat(4_000), Duration::from_secs(86_400))
                .is_ok()
        );
        assert_eq!(
            cookie.set(&"a".repeat(4_096), Duration::ZERO),
            Err(CookieError::TooLarge)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read(header: Vec<u8>) {
            let _ = CookieValue::find(std::iter::once(header.as_slice()), "sid");
        }

        #[test]
        fn reads_as_an_independent_parser_does(header in "[ -:<-~]{0,8}(; ?(sid|a|sidx)=[!#-+--:<-~]{0,6}){0,4}") {
            let theirs: Vec<_> = cookie::Cookie::split_parse(header.as_str())
                .filter_map(Result::ok)
                .filter(|cookie| cookie.name() == "sid")
                .map(|cookie| cookie.value_trimmed().to_owned())
                .collect();
            match (find(&[&header]), theirs.as_slice()) {
                (None, []) => {}
                (Some(Ok(ours)), [theirs]) => proptest::prop_assert_eq!(&ours, theirs),
                (Some(Err(())), [_, _, ..]) => {}
                (ours, theirs) => panic!("{header:?}: {ours:?} against {theirs:?}"),
            }
        }

        #[test]
        fn an_independent_parser_reads_what_is_written(value in "[!#-+--:<-\\[\\]-~]{0,40}") {
            let line = SessionCookie { name: "sid", same_site: Some(SameSite::Lax) }
                .set(&value, Duration::from_secs(5)).unwrap();
            let parsed = cookie::Cookie::parse(line.as_str()).unwrap();
            proptest::prop_assert_eq!(parsed.value(), value.as_str());
            proptest::prop_assert_eq!(parsed.http_only(), Some(true));
            proptest::prop_assert_eq!(parsed.secure(), Some(true));
            proptest::prop_assert_eq!(parsed.path(), Some("/"));
            proptest::prop_assert_eq!(parsed.max_age(), Some(::cookie::time::Duration::seconds(5)));
        }
    }
}

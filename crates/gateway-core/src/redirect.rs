//! Where a browser may be sent: nowhere but where it came from, or where the configuration says.

use url::Url;

/// A redirect target that has been judged good: a path on this host, or an allowed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget(String);

impl RedirectTarget {
    /// Judges a target.
    ///
    /// Good are a path on this host (`/x?y=1`), and an absolute URL whose origin and path are among
    /// `allowed` (its query is free), written the way the URL standard prints it, without user
    /// information or fragment.
    ///
    /// Browsers read a URL more freely than a grammar would (`/\host`, tabs in `//`), so a path is
    /// resolved by the same standard and must come out on the host it started from.
    #[must_use]
    pub fn parse(text: &str, allowed: &[Url]) -> Option<Self> {
        if text.len() > MAX_LENGTH || text.chars().any(|c| c.is_control() || c == '\\') {
            return None;
        }
        if text.starts_with('/') {
            Self::path(text)
        } else {
            Self::absolute(text, allowed)
        }
    }

    fn path(text: &str) -> Option<Self> {
        if text.starts_with("//") {
            return None;
        }
        let host = Url::parse("https://host.invalid/").ok()?;
        let resolved = host.join(text).ok()?;
        // `/.//host` resolves to the path `//host`, which would be another host once it is sent.
        if resolved.origin() != host.origin() || resolved.path().starts_with("//") {
            return None;
        }
        Some(Self(resolved[url::Position::BeforePath..].to_owned()))
    }

    fn absolute(text: &str, allowed: &[Url]) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = url.as_str() == text
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        let known = allowed
            .iter()
            .any(|allowed| allowed.origin() == url.origin() && allowed.path() == url.path());
        // An opaque origin (`data:`, `javascript:`) equals no other, not even itself.
        (plain && known && url.origin().is_tuple()).then(|| Self(text.to_owned()))
    }

    /// The target as it goes into a `Location` header: visible ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The target as an absolute URL, a path taken as on `origin` (`https://host`).
    #[must_use]
    pub fn absolute_on(&self, origin: &str) -> String {
        if self.0.starts_with('/') {
            format!("{origin}{}", self.0)
        } else {
            self.0.clone()
        }
    }
}

/// Longest target in bytes; the state it is kept in must stay small.
const MAX_LENGTH: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<Url> {
        [
            "https://app.example.org/done",
            "https://xn--bcher-kva.example/",
        ]
        .iter()
        .map(|url| Url::parse(url).unwrap())
        .collect()
    }

    #[test]
    fn good_targets() {
        for (target, sent) in [
            ("/", "/"),
            (
                "/orders?x=1&y=//evil.example",
                "/orders?x=1&y=//evil.example",
            ),
            ("/a/../b", "/b"),
            ("/app#/orders", "/app#/orders"),
            ("/caffè", "/caff%C3%A8"),
            (
                "https://app.example.org/done?x=1",
                "https://app.example.org/done?x=1",
            ),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example/",
            ),
        ] {
            let parsed = RedirectTarget::parse(target, &allowed());
            assert_eq!(
                parsed.as_ref().map(RedirectTarget::as_str),
                Some(sent),
                "{target}"
            );
        }
    }

    #[test]
    fn bad_targets() {
        for target in [
            "",
            "x",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/.//evil.example",
            "/x/..//evil.example",
            "/%2e//evil.example",
            "https://app.example.org",
            "https:app.example.org/done",
            "https:///app.example.org/done",
            "HTTPS://app.example.org/done",
            "https://app.example.org/done#x",
            "https://app.example.org/done/",
            "https://app.example.org/Done",
            "https://user@app.example.org/done",
            "https://app.example.org@evil.example/done",
            "https://app.example.org.evil.example/done",
            "http://app.example.org/done",
            "https://app.example.org:444/done",
            "https://app.example.org:443/done",
            "https://bücher.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example.org/x/../done",
            "https://app。example.org/done",
            "mailto:a@b",
        ] {
            assert_eq!(RedirectTarget::parse(target, &allowed()), None, "{target}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_leaves_this_host(text in r"[/\\.%0-9a-z:@?#\t\n ]{0,24}") {
            if let Some(target) = RedirectTarget::parse(&text, &[]) {
                let base = Url::parse("https://here.example/login").unwrap();
                let followed = base.join(target.as_str()).unwrap();
                proptest::prop_assert_eq!(followed.host_str(), Some("here.example"));
                proptest::prop_assert_eq!(followed.scheme(), "https");
            }
        }
    }
}

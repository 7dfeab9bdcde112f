//! Which URLs an application may be sent back to.

use std::net::IpAddr;

use url::{Host, Url};

use crate::seed::Application;

/// Whether a callback is allowed: one of the list, literally, text after `#` ignored.
pub(crate) fn callback_allowed(app: &Application, redirect_uri: &str) -> bool {
    let sent = without_fragment(redirect_uri);
    app.callbacks
        .iter()
        .any(|allowed| without_fragment(allowed) == sent)
        || (app.any_loopback_callback && is_loopback(sent))
}

/// Text before `#`.
pub(crate) fn without_fragment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

/// Whether `returnTo` of `/v2/logout` is in a list: scheme and host whatever their case,
/// path exactly, query and fragment ignored, `*` as the left-most label of a host.
pub(crate) fn return_to_allowed(list: &[String], return_to: &str) -> bool {
    let Ok(sent) = Url::parse(return_to) else {
        return false;
    };
    list.iter()
        .filter_map(|allowed| Url::parse(allowed).ok())
        .any(|allowed| same_place(&allowed, &sent))
}

/// Whether `post_logout_redirect_uri` of `/oidc/logout` is in a list: as
/// [`return_to_allowed`], and the query counts too.
pub(crate) fn post_logout_allowed(list: &[String], uri: &str) -> bool {
    let Ok(sent) = Url::parse(uri) else {
        return false;
    };
    list.iter()
        .filter_map(|allowed| Url::parse(allowed).ok())
        .any(|allowed| same_place(&allowed, &sent) && allowed.query() == sent.query())
}

fn same_place(allowed: &Url, sent: &Url) -> bool {
    // User information would show one host and lead to another.
    sent.username().is_empty()
        && sent.password().is_none()
        && allowed.scheme() == sent.scheme()
        && allowed.port_or_known_default() == sent.port_or_known_default()
        && allowed.path() == sent.path()
        && same_host(
            allowed.host_str().unwrap_or_default(),
            sent.host_str().unwrap_or_default(),
        )
}

fn same_host(allowed: &str, sent: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(parent) => sent
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => allowed == sent,
    }
}

/// Whether this is an `http` or `https` URL on a loopback host, without user
/// information.
pub(crate) fn is_loopback(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => false,
        }
}

/// A URL with parameters added to its query. What is not a URL stays as it is.
pub(crate) fn with_query(target: &str, parameters: &[(&str, &str)]) -> String {
    match Url::parse(target) {
        Ok(mut url) => {
            if !parameters.is_empty() {
                url.query_pairs_mut().extend_pairs(parameters);
            }
            url.into()
        }
        Err(_) => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|&url| url.to_owned()).collect()
    }

    #[test]
    fn callbacks_are_compared_literally() {
        let app = Application {
            callbacks: list(&["https://shop.example.org/callback", "com.shop://login"]),
            ..Application::default()
        };
        for (sent, allowed) in [
            ("https://shop.example.org/callback", true),
            ("https://shop.example.org/callback#x", true),
            ("com.shop://login", true),
            ("https://shop.example.org/callback/", false),
            ("https://shop.example.org/callback?x=1", false),
            ("https://Shop.example.org/callback", false),
            ("https://shop.example.org.evil.example/callback", false),
            ("http://localhost:3000/callback", false),
        ] {
            assert_eq!(callback_allowed(&app, sent), allowed, "{sent}");
        }
    }

    #[test]
    fn loopback_hosts_are_told_from_their_look_alikes() {
        for (url, loopback) in [
            ("http://localhost:3000/callback", true),
            ("https://127.0.0.1/x", true),
            ("http://127.9.9.9:1/x", true),
            ("http://[::1]:8080/", true),
            ("http://localhost.evil.example/", false),
            ("http://localhost@evil.example/", false),
            ("http://user@localhost/", false),
            ("http://127.0.0.1.evil.example/", false),
            ("ftp://localhost/", false),
            ("//localhost/", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(is_loopback(url), loopback, "{url}");
        }
    }

    #[test]
    fn the_two_logout_rules_differ_in_the_query() {
        let allowed = list(&[
            "https://shop.example.org/bye?from=shop",
            "https://*.example.com/x",
        ]);
        for (sent, v2, oidc) in [
            ("https://shop.example.org/bye?from=shop", true, true),
            ("HTTPS://SHOP.example.org/bye?from=shop", true, true),
            ("https://shop.example.org:443/bye?from=shop", true, true),
            ("https://shop.example.org/bye", true, false),
            ("https://shop.example.org/bye?other=1#f", true, false),
            ("https://shop.example.org/Bye?from=shop", false, false),
            ("https://evil@shop.example.org/bye?from=shop", false, false),
            ("http://shop.example.org/bye?from=shop", false, false),
            ("https://a.example.com/x", true, true),
            ("https://a.b.example.com/x", false, false),
            ("https://example.com/x", false, false),
            ("/bye", false, false),
        ] {
            assert_eq!(return_to_allowed(&allowed, sent), v2, "v2 {sent}");
            assert_eq!(post_logout_allowed(&allowed, sent), oidc, "oidc {sent}");
        }
    }

    #[test]
    fn parameters_join_the_query() {
        assert_eq!(
            with_query(
                "http://localhost/cb?a=1",
                &[("code", "x&y"), ("state", "é")]
            ),
            "http://localhost/cb?a=1&code=x%26y&state=%C3%A9"
        );
    }
}

//! The pages that a person sees. Plain HTML, no scripts, nothing from elsewhere.

mod login;

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

pub(crate) use self::login::{LoginPage, OtpPage};
use crate::message::{Refusal, Response, set_header, with_body};

const STYLE: &str = include_str!("style.css");

/// Text for a place in HTML, element or quoted attribute: whatever a request brought
/// cannot become markup.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// A whole page around `body`, which is markup.
fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        title = Escaped(title),
    );
    let mut response = with_body(status, "text/html; charset=utf-8", html);
    set_header(&mut response, "content-security-policy", policy());
    set_header(&mut response, "x-frame-options", "DENY");
    set_header(&mut response, "x-content-type-options", "nosniff");
    // The address holds the state of the login.
    set_header(&mut response, "referrer-policy", "no-referrer");
    response
}

/// No `form-action`: browsers apply it to the redirects after a form too, and those lead
/// to the application and on from there.
fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
        format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'",
            STANDARD.encode(hash.as_ref())
        )
    })
}

/// What Auth0 shows when it cannot send the person back to the application.
pub(crate) fn error_page(refusal: &Refusal) -> Response {
    let body = format!(
        "<h1>Oops, something went wrong</h1>\n\
         <p class=\"error\" role=\"alert\"><strong>{}</strong>: {}</p>",
        Escaped(refusal.error),
        Escaped(&refusal.description),
    );
    page(refusal.status, "Error", &body)
}

/// The end of a logout that leads nowhere.
pub(crate) fn signed_out() -> Response {
    page(
        StatusCode::OK,
        "Signed out",
        "<h1>You are signed out</h1>\n<p>You can close this page.</p>",
    )
}

/// Asks before a logout that the application has not vouched for. `parameters` are sent
/// again with the answer.
pub(crate) fn confirm_logout(parameters: &[(&str, &str)]) -> Response {
    let mut body = String::from(
        "<h1>Sign out?</h1>\n<p>An application asks to sign you out.</p>\n\
         <form method=\"post\" action=\"/oidc/logout\">\n",
    );
    for (name, value) in parameters {
        body.push_str(&hidden(name, value));
    }
    body.push_str("<button type=\"submit\">Sign out</button>\n</form>");
    page(StatusCode::OK, "Sign out", &body)
}

/// An invisible form field.
fn hidden(name: &str, value: &str) -> String {
    format!(
        "<input type=\"hidden\" name=\"{}\" value=\"{}\">\n",
        Escaped(name),
        Escaped(value)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaped_text_holds_no_markup(text in ".*") {
            let escaped = Escaped(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped
                .replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}

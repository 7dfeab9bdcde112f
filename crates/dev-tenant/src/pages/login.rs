//! The login page and the page for the second factor.

use std::fmt::Write as _;

use http::StatusCode;

use super::{Escaped, hidden, page};
use crate::message::Response;
use crate::tenant::Hint;

/// Asks for identifier and password.
#[derive(Debug)]
pub(crate) struct LoginPage<'a> {
    /// State of the login under way.
    pub(crate) state: &'a str,
    /// The application that wants the person to sign in.
    pub(crate) application: &'a str,
    /// What stands in the first field.
    pub(crate) identifier: &'a str,
    /// Why the last attempt failed.
    pub(crate) error: Option<&'a str>,
    /// People of the seed who can sign in here, and whether each is blocked.
    pub(crate) hints: &'a [(&'a Hint, bool)],
}

impl LoginPage<'_> {
    pub(crate) fn render(&self, status: StatusCode) -> Response {
        let mut body = format!(
            "<h1>Sign in</h1>\n<p>to continue to <strong>{}</strong></p>\n",
            Escaped(self.application)
        );
        push_error(&mut body, self.error);
        // Without a known identifier the first field has the focus, else the second.
        let (first, second) = if self.identifier.is_empty() {
            (" autofocus", "")
        } else {
            ("", " autofocus")
        };
        let described = described_by(self.error);
        let _ = write!(
            body,
            "<form method=\"post\" action=\"/u/login\">\n{state}\
             <label for=\"username\">Email address</label>\n\
             <input id=\"username\" name=\"username\" type=\"text\" autocomplete=\"username\" \
             autocapitalize=\"none\" spellcheck=\"false\" required{described}{first} value=\"{identifier}\">\n\
             <label for=\"password\">Password</label>\n\
             <input id=\"password\" name=\"password\" type=\"password\" \
             autocomplete=\"current-password\" required{described}{second}>\n\
             <button type=\"submit\">Continue</button>\n</form>\n",
            state = hidden("state", self.state),
            identifier = Escaped(self.identifier),
        );
        self.push_hints(&mut body);
        page(status, "Sign in", &body)
    }

    fn push_hints(&self, body: &mut String) {
        if self.hints.is_empty() {
            return;
        }
        body.push_str(
            "<details open>\n<summary>This is a development tenant. Who can sign in</summary>\n\
             <table>\n<tr><th scope=\"col\">Email</th><th scope=\"col\">Password</th></tr>\n",
        );
        for (hint, blocked) in self.hints {
            let _ = write!(
                body,
                "<tr><td>{}</td><td>{}",
                Escaped(&hint.email),
                Escaped(hint.password.expose())
            );
            if let Some(otp) = &hint.otp {
                let _ = write!(body, " then {}", Escaped(otp.expose()));
            }
            if *blocked {
                body.push_str(" (blocked)");
            }
            body.push_str("</td></tr>\n");
        }
        body.push_str("</table>\n</details>");
    }
}

/// Asks for the one-time password.
#[derive(Debug)]
pub(crate) struct OtpPage<'a> {
    /// State of the login under way.
    pub(crate) state: &'a str,
    /// Why the last attempt failed.
    pub(crate) error: Option<&'a str>,
}

impl OtpPage<'_> {
    pub(crate) fn render(&self, status: StatusCode) -> Response {
        let mut body = String::from("<h1>Verify your identity</h1>\n");
        push_error(&mut body, self.error);
        let _ = write!(
            body,
            "<form method=\"post\" action=\"/u/mfa-otp-challenge\">\n{state}\
             <label for=\"code\">One-time code</label>\n\
             <input id=\"code\" name=\"code\" type=\"text\" inputmode=\"numeric\" \
             autocomplete=\"one-time-code\" required autofocus{described}>\n\
             <button type=\"submit\">Continue</button>\n</form>",
            state = hidden("state", self.state),
            described = described_by(self.error),
        );
        page(status, "Verify your identity", &body)
    }
}

fn push_error(body: &mut String, error: Option<&str>) {
    if let Some(error) = error {
        let _ = writeln!(
            body,
            "<p class=\"error\" id=\"error\" role=\"alert\">{}</p>",
            Escaped(error)
        );
    }
}

/// Ties a field to the message about it, for screen readers.
fn described_by(error: Option<&str>) -> &'static str {
    if error.is_some() {
        " aria-invalid=\"true\" aria-describedby=\"error\""
    } else {
        ""
    }
}

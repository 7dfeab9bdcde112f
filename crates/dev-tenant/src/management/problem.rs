//! The error body of the Management API.

use http::StatusCode;
use serde_json::{Value, json};

use crate::message::{Response, with_body};

/// What a failed call is answered with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    attributes: Option<Value>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            attributes: None,
        }
    }

    /// 400 without a code.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message)
    }

    /// 400 for a body: `reason` is what stands between the quotes.
    pub(crate) fn body(reason: &str, property: &str, description: &str) -> Self {
        Self::invalid("Payload", "invalid_body", reason, property, description)
    }

    /// 400 for a query parameter.
    pub(crate) fn query(reason: &str, property: &str, description: &str) -> Self {
        Self::invalid(
            "Query",
            "invalid_query_string",
            reason,
            property,
            description,
        )
    }

    /// 400 for a part of the path.
    pub(crate) fn path(reason: &str, property: &str, description: &str) -> Self {
        Self::invalid("Path", "invalid_uri", reason, property, description)
    }

    fn invalid(
        kind: &str,
        code: &'static str,
        reason: &str,
        property: &str,
        description: &str,
    ) -> Self {
        let place = match (property, description) {
            ("", _) => String::new(),
            (property, "") => format!(" on property {property}"),
            (property, description) => format!(" on property {property} ({description})"),
        };
        Self::new(
            StatusCode::BAD_REQUEST,
            Some(code),
            format!("{kind} validation error: '{reason}'{place}."),
        )
    }

    /// 401 without a code.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, message)
    }

    /// 401 for a token that is good for something else.
    pub(crate) fn invalid_token() -> Self {
        Self {
            attributes: Some(json!({ "error": "Invalid token" })),
            ..Self::unauthorized("Invalid token")
        }
    }

    pub(crate) fn no_such_user() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Some("inexistent_user"),
            "The user does not exist.",
        )
    }

    /// 409 of the user store.
    pub(crate) fn user_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Some("auth0_idp_error"),
            "The user already exists.",
        )
    }

    pub(crate) fn uri_too_long() -> Self {
        Self::new(StatusCode::URI_TOO_LONG, None, "Request-URI Too Large")
    }

    /// 429 of the limiter.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Some("too_many_requests"),
            "Global limit has been reached",
        )
    }

    pub(crate) fn response(&self) -> Response {
        if self.status == StatusCode::URI_TOO_LONG {
            // What is in front of the API says this, and not in JSON.
            let page = "<html><head><title>414 Request-URI Too Large</title></head><body>\
                        <h1>414 Request-URI Too Large</h1></body></html>\n";
            return with_body(self.status, "text/html", page);
        }
        let mut body = json!({
            "statusCode": self.status.as_u16(),
            "error": reason(self.status),
            "message": self.message,
        });
        if let Some(code) = self.code {
            body["errorCode"] = json!(code);
        }
        if let Some(attributes) = &self.attributes {
            body["attributes"] = attributes.clone();
        }
        super::json(self.status, &body)
    }
}

fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        other => other.canonical_reason().unwrap_or_default(),
    }
}

/// No random numbers: a fault of the machine.
impl From<getrandom::Error> for Problem {
    fn from(_: getrandom::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, "Internal error.")
    }
}

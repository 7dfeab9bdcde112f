//! JSON shapes of Auth0, converted on the way in.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{AccessToken, Error, ErrorCode, IdToken, MfaToken, RefreshToken, Refusal, TokenSet};

/// Longest life of an access token that is believed. Auth0's own limit is 30 days.
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A successful answer of the token endpoint, as it comes.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Value,
    scope: Option<String>,
}

/// Reads a successful answer of the token endpoint.
pub(crate) fn token_set(body: &[u8]) -> Result<TokenSet, Error> {
    // The cause of a parse error may quote the body: it stays here.
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| Error::Unexpected("a token answer that is not the documented JSON"))?;
    let seconds = match &answer.expires_in {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let expires_in = seconds
        .map(Duration::from_secs)
        .filter(|life| !life.is_zero() && *life <= TEN_YEARS)
        .ok_or(Error::Unexpected(
            "a token answer without a sensible expires_in",
        ))?;
    if answer.access_token.is_empty() {
        return Err(Error::Unexpected(
            "a token answer with an empty access token",
        ));
    }
    let present = |token: Option<String>| token.filter(|text| !text.is_empty());
    Ok(TokenSet {
        access_token: AccessToken::new(answer.access_token),
        id_token: present(answer.id_token).map(IdToken::new),
        refresh_token: present(answer.refresh_token).map(RefreshToken::new),
        expires_in,
        scope: answer.scope,
    })
}

/// Reads a refusal of the Management API, which is any JSON object, and keeps it whole.
pub(crate) fn management_refusal(status: u16, body: &[u8]) -> Option<Refusal> {
    let Ok(Value::Object(whole)) = serde_json::from_slice(body) else {
        return None;
    };
    let mut refusal = refusal(status, body).unwrap_or_else(|| Refusal {
        status,
        code: ErrorCode::Other("unknown".to_owned()),
        description: None,
        mfa_token: None,
        mfa_requirements: None,
        body: None,
    });
    refusal.body = Some(Box::new(whole));
    Some(refusal)
}

/// Reads an error body in any of Auth0's shapes: `error` or `code`, and `error_description`,
/// `description` (a text, or an object of password rules) or `message`. `None` when it is none.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Option<Refusal> {
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
        return None;
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    // The Management API puts the status' name in `error` and the code in `errorCode`.
    let code = text("errorCode")
        .or_else(|| text("code"))
        .or_else(|| text("error"))?;
    Some(Refusal {
        status,
        code: ErrorCode::from_wire(&code),
        description: text("error_description")
            .or_else(|| text("description"))
            .or_else(|| text("message")),
        mfa_token: text("mfa_token").map(MfaToken::new),
        mfa_requirements: body.get("mfa_requirements").cloned().map(Box::new),
        body: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_token_answer_and_ignores_what_it_does_not_know() {
        let tokens = token_set(
            br#"{"access_token":"a","id_token":"","refresh_token":"r","expires_in":"60","x":1}"#,
        )
        .unwrap();
        assert_eq!(tokens.access_token.expose(), "a");
        assert!(tokens.id_token.is_none());
        assert_eq!(tokens.refresh_token.unwrap().expose(), "r");
        assert_eq!(tokens.expires_in, Duration::from_secs(60));
    }

    #[test]
    fn refuses_a_token_answer_that_makes_no_sense() {
        for body in [
            r#"{"expires_in":60}"#,
            r#"{"access_token":"","expires_in":60}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","expires_in":0}"#,
            r#"{"access_token":"a","expires_in":-1}"#,
            r#"{"access_token":"a","expires_in":1e300}"#,
            r#"{"access_token":"a","expires_in":18446744073709551615}"#,
            "<html>",
            "[]",
        ] {
            assert!(
                matches!(token_set(body.as_bytes()), Err(Error::Unexpected(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn reads_every_shape_of_a_refusal() {
        for (body, code, description) in [
            (
                r#"{"error":"invalid_grant","error_description":"No."}"#,
                "invalid_grant",
                Some("No."),
            ),
            (
                r#"{"code":"invalid_signup","description":"No."}"#,
                "invalid_signup",
                Some("No."),
            ),
            (
                r#"{"code":"invalid_password","description":{"rules":[]},"message":"No."}"#,
                "invalid_password",
                Some("No."),
            ),
            (
                r#"{"statusCode":404,"error":"Not Found","message":"No.","errorCode":"inexistent_user"}"#,
                "inexistent_user",
                Some("No."),
            ),
        ] {
            let refusal = refusal(400, body.as_bytes()).unwrap();
            assert_eq!(
                (refusal.code.as_str(), refusal.description.as_deref()),
                (code, description)
            );
        }
        for body in ["", "Unauthorized", "[]", "{}", r#"{"error":1}"#] {
            assert!(refusal(400, body.as_bytes()).is_none(), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(body: Vec<u8>) {
            let _ = token_set(&body);
            let _ = refusal(400, &body);
            let _ = management_refusal(400, &body);
        }
    }
}

//! The second factor, by API and in the browser.

use std::time::Duration;

use dev_tenant::DevTenant;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::*;

const GRANT: &str = "http://auth0.com/oauth/grant-type/mfa-otp";

async fn mfa_token(tenant: &DevTenant) -> String {
    let answer = token(
        tenant,
        &[
            ("grant_type", "password"),
            ("username", "mfa@example.org"),
            ("password", "Correct-Horse-5"),
            ("scope", "openid offline_access"),
        ],
    )
    .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let body = answer.json();
    assert_eq!(
        masked(body.clone(), &["mfa_token"]),
        json!({
            "error": "mfa_required",
            "error_description": "Multifactor authentication required",
            "mfa_token": "[mfa_token]",
            "mfa_requirements": { "challenge": [{ "type": "otp" }] },
        })
    );
    text(&body, "mfa_token")
}

async fn finish(tenant: &DevTenant, mfa_token: &str, otp: &str) -> Answer {
    token(
        tenant,
        &[
            ("grant_type", GRANT),
            ("mfa_token", mfa_token),
            ("otp", otp),
        ],
    )
    .await
}

#[tokio::test]
async fn the_otp_grant_finishes_a_password_login_once() {
    let tenant = tenant().await;
    let waiting = mfa_token(&tenant).await;
    let wrong = finish(&tenant, &waiting, "000000").await;
    assert_eq!(
        wrong.line(),
        r#"403 {"error":"invalid_grant","error_description":"Invalid otp_code."}"#
    );
    let tokens = finish(&tenant, &waiting, "123456").await.json();
    assert!(tokens["refresh_token"].is_string());
    let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
    assert_eq!(id["amr"], json!(["mfa"]));
    let again = finish(&tenant, &waiting, "123456").await;
    assert_eq!(
        again.line(),
        r#"403 {"error":"invalid_grant","error_description":"Malformed mfa_token"}"#
    );
}

#[tokio::test]
async fn an_mfa_token_ends_and_cannot_be_guessed_at() {
    let tenant = tenant().await;
    let waiting = mfa_token(&tenant).await;
    for _ in 0..10 {
        assert_eq!(finish(&tenant, &waiting, "000000").await.status, 403);
    }
    let guessed = finish(&tenant, &waiting, "123456").await;
    assert_eq!(
        (guessed.status.as_u16(), text(&guessed.json(), "error")),
        (429, "too_many_attempts".to_owned())
    );

    let waiting = mfa_token(&tenant).await;
    tenant.advance_clock(Duration::from_secs(600));
    let late = finish(&tenant, &waiting, "123456").await;
    assert_eq!(
        (late.status.as_u16(), text(&late.json(), "error")),
        (403, "expired_token".to_owned())
    );
}

#[tokio::test]
async fn the_browser_asks_for_the_code_on_a_page_of_its_own() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[]).await;
    let state = parameter(&page.location(), "state").unwrap();
    let path = format!("/u/mfa-otp-challenge?state={state}");
    // Nobody gets to the second step without the first.
    assert_eq!(browser.get(&path).await.status, StatusCode::BAD_REQUEST);
    let skipped = browser
        .post(
            "/u/mfa-otp-challenge",
            &[("state", &state), ("code", "123456")],
        )
        .await;
    assert_eq!(skipped.status, StatusCode::BAD_REQUEST);

    let next = browser
        .log_in(&page, "mfa@example.org", "Correct-Horse-5")
        .await;
    assert_eq!(next.location().path(), "/u/mfa-otp-challenge");
    assert!(!browser.cookies.contains_key("auth0"));
    assert!(browser.get(&path).await.text.contains("one-time-code"));
    let wrong = browser
        .post("/u/mfa-otp-challenge", &[("state", &state), ("code", "1")])
        .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("The code is wrong."));
    let done = browser
        .post(
            "/u/mfa-otp-challenge",
            &[("state", &state), ("code", "123456")],
        )
        .await
        .location();
    let tokens = exchange(&tenant, &parameter(&done, "code").unwrap(), &[])
        .await
        .json();
    let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
    assert_eq!(id["amr"], json!(["mfa"]));
    assert!(id["sid"].is_string());
}

//! `/userinfo`.

use std::time::Duration;

use dev_tenant::{DevTenant, Fault, FaultKind, Forgery, RateLimits, TenantSettings};

use crate::support::*;

async fn userinfo(tenant: &DevTenant, token: &str) -> Answer {
    let response = client()
        .get(format!("{}/userinfo", tenant.url()))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    Answer::of(response).await
}

#[tokio::test]
async fn opaque_and_signed_tokens_open_it() {
    let tenant = tenant().await;
    for audience in [None, Some(API)] {
        let tokens = password_tokens(&tenant, "openid", audience).await;
        let answer = userinfo(&tenant, &text(&tokens, "access_token")).await;
        assert_eq!(answer.status, 200, "{audience:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        let profile = answer.json();
        assert!(profile["updated_at"].is_string());
        let profile = masked(profile, &["updated_at", "picture"]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(profile, @r#"{"email":"mia@example.org","email_verified":true,"family_name":"Rossi","given_name":"Mia","https://mia-platform.eu/app_metadata":{"groups":["users","admin"]},"https://mia-platform.eu/user_metadata":{"lang":"it"},"name":"Mia Rossi","nickname":"mia","picture":"[picture]","sub":"auth0|64b0c0ffee0000000000a001","updated_at":"[updated_at]"}"#);
        }
    }
}

#[tokio::test]
async fn scopes_decide_what_it_tells() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[("scope", "openid email")]).await;
    let tokens = exchange(&tenant, &code, &[]).await.json();
    let profile = userinfo(&tenant, &text(&tokens, "access_token"))
        .await
        .json();
    assert_eq!(profile["email"], "mia@example.org");
    assert!(profile.get("name").is_none());
}

#[tokio::test]
async fn everything_else_is_401_in_plain_text() {
    let tenant = tenant().await;
    let without_openid = password_tokens(&tenant, "read:orders", Some(API)).await;
    let id_token = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    let opaque = text(
        &password_tokens(&tenant, "openid", None).await,
        "access_token",
    );
    let signed = text(
        &password_tokens(&tenant, "openid", Some(API)).await,
        "access_token",
    );
    let mut tampered = signed.clone();
    tampered.pop();

    for token in [
        "garbage",
        "",
        &text(&without_openid, "access_token"),
        &id_token,
        &tampered,
    ] {
        let answer = userinfo(&tenant, token).await;
        assert_eq!(answer.line(), "401 Unauthorized", "{token}");
        assert!(!answer.headers.contains_key("content-type"));
        assert!(
            answer
                .header("www-authenticate")
                .starts_with(r#"Bearer realm="Users", error="invalid_token""#)
        );
    }
    assert_eq!(get(&tenant, "/userinfo").await.line(), "401 Unauthorized");

    tenant.advance_clock(Duration::from_secs(86_400));
    assert_eq!(userinfo(&tenant, &opaque).await.status, 401);
    assert_eq!(userinfo(&tenant, &signed).await.status, 401);
}

/// Well signed and with `openid`, but meant for somebody else.
#[tokio::test]
async fn a_token_for_another_audience_is_401() {
    let tenant = tenant().await;
    for forgery in [
        Forgery::SeveralAudiences { azp: None },
        Forgery::Claim {
            name: "scope".to_owned(),
            value: "openid".into(),
        },
    ] {
        tenant.inject(Fault::on("/oauth/token", FaultKind::Forge(forgery)).times(1));
    }
    let token = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    verified(&tenant, &token).await;
    assert_eq!(userinfo(&tenant, &token).await.status, 401);
}

#[tokio::test]
async fn a_revoked_key_kills_its_tokens_and_a_deleted_person_theirs() {
    let tenant = tenant().await;
    let signed = text(
        &password_tokens(&tenant, "openid", Some(API)).await,
        "access_token",
    );
    let opaque = text(
        &password_tokens(&tenant, "openid", None).await,
        "access_token",
    );
    tenant.rotate_keys().await.unwrap();
    assert_eq!(userinfo(&tenant, &signed).await.status, 200);
    assert_eq!(tenant.revoke_previous_keys(), 1);
    assert_eq!(userinfo(&tenant, &signed).await.status, 401);
    assert_eq!(userinfo(&tenant, &opaque).await.status, 200);
    tenant.delete_user(MIA).unwrap();
    assert_eq!(userinfo(&tenant, &opaque).await.status, 401);
}

#[tokio::test]
async fn each_person_may_ask_ten_times_and_then_five_times_a_minute() {
    let tenant = tenant_with(TenantSettings {
        rate_limits: Some(RateLimits::default()),
        ..TenantSettings::default()
    })
    .await;
    let token = text(
        &password_tokens(&tenant, "openid", None).await,
        "access_token",
    );
    for _ in 0..10 {
        assert_eq!(userinfo(&tenant, &token).await.status, 200);
    }
    assert_eq!(userinfo(&tenant, &token).await.status, 429);
    tenant.advance_clock(Duration::from_secs(12));
    assert_eq!(userinfo(&tenant, &token).await.status, 200);
    assert_eq!(userinfo(&tenant, &token).await.status, 429);
}

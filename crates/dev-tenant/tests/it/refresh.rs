//! Refresh tokens over the wire; the rules themselves are tested beside their code.

use std::time::Duration;

use dev_tenant::{DevTenant, RefreshTokenSettings, Seed, TenantSettings};
use serde_json::{Value, json};

use crate::support::*;

const UNKNOWN: &str =
    r#"403 {"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#;

async fn offline(tenant: &DevTenant) -> String {
    let tokens = password_tokens(tenant, "openid offline_access read:orders", Some(API)).await;
    text(&tokens, "refresh_token")
}

#[tokio::test]
async fn each_exchange_gives_a_new_token_and_reuse_kills_them_all() {
    let tenant = tenant().await;
    let first = offline(&tenant).await;
    assert!(tenant.is_refresh_token_live(&first));
    let answer = refresh(&tenant, &first).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let second = text(&answer.json(), "refresh_token");
    assert_ne!(second, first);
    assert!(!tenant.is_refresh_token_live(&first));
    assert!(tenant.is_refresh_token_live(&second));

    assert_eq!(refresh(&tenant, &first).await.line(), UNKNOWN);
    assert!(!tenant.is_refresh_token_live(&second));
    assert_eq!(refresh(&tenant, &second).await.line(), UNKNOWN);
    assert_eq!(tenant.refresh_reuses(), 1);
    assert_eq!(tenant.refresh_exchanges(), 3);
}

#[tokio::test]
async fn of_parallel_exchanges_one_wins_and_the_family_dies() {
    let tenant = tenant().await;
    let token = offline(&tenant).await;
    let answers = futures_util::future::join_all((0..8).map(|_| refresh(&tenant, &token))).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    let newest = answers
        .iter()
        .find(|answer| answer.status == 200)
        .unwrap()
        .json();
    assert!(!tenant.is_refresh_token_live(&text(&newest, "refresh_token")));
}

#[tokio::test]
async fn a_leeway_forgives_a_lost_answer() {
    let tenant = tenant_with(TenantSettings {
        refresh: RefreshTokenSettings {
            leeway: Duration::from_secs(30),
            ..RefreshTokenSettings::default()
        },
        ..TenantSettings::default()
    })
    .await;
    let token = offline(&tenant).await;
    let one = refresh(&tenant, &token).await.json();
    let two = refresh(&tenant, &token).await.json();
    assert_ne!(one["refresh_token"], two["refresh_token"]);
    assert!(tenant.is_refresh_token_live(&text(&one, "refresh_token")));
    assert!(tenant.is_refresh_token_live(&text(&two, "refresh_token")));
    tenant.advance_clock(Duration::from_secs(31));
    assert_eq!(refresh(&tenant, &token).await.line(), UNKNOWN);
}

#[tokio::test]
async fn without_rotation_no_refresh_token_comes_back() {
    let tenant = tenant_with(TenantSettings {
        refresh: RefreshTokenSettings {
            rotation: false,
            ..RefreshTokenSettings::default()
        },
        ..TenantSettings::default()
    })
    .await;
    let token = offline(&tenant).await;
    for _ in 0..2 {
        let answer = refresh(&tenant, &token).await;
        assert_eq!(answer.status, 200);
        assert!(answer.json().get("refresh_token").is_none());
    }
}

#[tokio::test]
async fn lifetimes_run_on_the_tenants_clock() {
    let tenant = tenant().await;
    let token = offline(&tenant).await;
    tenant.advance_clock(Duration::from_secs(1_296_000 - 60));
    let token = text(&refresh(&tenant, &token).await.json(), "refresh_token");
    tenant.advance_clock(Duration::from_secs(1_296_000 - 60));
    // Idle no, but the absolute life ends, active or not.
    let token = text(&refresh(&tenant, &token).await.json(), "refresh_token");
    tenant.advance_clock(Duration::from_secs(180));
    assert_eq!(refresh(&tenant, &token).await.line(), UNKNOWN);
}

#[tokio::test]
async fn a_refreshed_id_token_keeps_sid_and_auth_time_and_has_no_nonce() {
    let tenant = tenant().await;
    let code = Browser::new(&tenant)
        .code(&[("nonce", "n"), ("max_age", "3600"), ("audience", API)])
        .await;
    let first = exchange(&tenant, &code, &[]).await.json();
    tenant.advance_clock(Duration::from_secs(60));
    let metadata = json!({ "groups": ["changed"] });
    let Value::Object(metadata) = metadata else {
        unreachable!()
    };
    tenant.set_app_metadata(MIA, metadata).unwrap();
    let second = refresh(&tenant, &text(&first, "refresh_token"))
        .await
        .json();

    let old = verified(&tenant, &text(&first, "id_token")).await.claims;
    let new = verified(&tenant, &text(&second, "id_token")).await.claims;
    assert_eq!(old["nonce"], "n");
    assert!(new.get("nonce").is_none());
    assert_eq!(new["sid"], old["sid"]);
    assert_eq!(new["auth_time"], old["auth_time"]);
    assert!(new["iat"].as_i64() > old["iat"].as_i64());
    assert_eq!(
        new["https://mia-platform.eu/app_metadata"]["groups"],
        json!(["changed"])
    );
}

#[tokio::test]
async fn scopes_can_only_be_narrowed_and_a_wish_for_more_spends_nothing() {
    let tenant = tenant().await;
    let token = offline(&tenant).await;
    let ask = |token: String, scope: &'static str| {
        let tenant = &tenant;
        async move {
            crate::support::token(
                tenant,
                &[
                    ("grant_type", "refresh_token"),
                    ("refresh_token", &token),
                    ("scope", scope),
                ],
            )
            .await
        }
    };
    let more = ask(token.clone(), "openid write:orders").await;
    assert_eq!(
        (more.status.as_u16(), text(&more.json(), "error")),
        (400, "invalid_scope".to_owned())
    );
    assert!(tenant.is_refresh_token_live(&token));
    let fewer = ask(token, "read:orders").await.json();
    assert_eq!(fewer["scope"], "read:orders");
    assert!(fewer.get("id_token").is_none());
    // The next one has the whole grant again.
    let whole = refresh(&tenant, &text(&fewer, "refresh_token"))
        .await
        .json();
    assert!(whole["id_token"].is_string());
}

#[tokio::test]
async fn blocked_and_deleted_people_are_refused_by_name() {
    let tenant = tenant().await;
    let token = offline(&tenant).await;
    tenant.block_user(MIA, true).unwrap();
    let blocked = refresh(&tenant, &token).await;
    assert_eq!(
        blocked.line(),
        r#"403 {"error":"invalid_grant","error_description":"user is blocked"}"#
    );
    tenant.block_user(MIA, false).unwrap();
    let token = text(&refresh(&tenant, &token).await.json(), "refresh_token");
    tenant.delete_user(MIA).unwrap();
    insta::assert_snapshot!(refresh(&tenant, &token).await.line(), @r#"403 {"error":"invalid_grant","error_description":"The refresh_token was generated for a user who doesn't exist anymore."}"#);
}

#[tokio::test]
async fn revoking_ends_the_family_at_once() {
    let tenant = tenant().await;
    let token = offline(&tenant).await;
    let newest = text(&refresh(&tenant, &token).await.json(), "refresh_token");
    let revoke = |pairs: Vec<(&'static str, String)>| {
        let tenant = &tenant;
        async move {
            let pairs: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            post(tenant, "/oauth/revoke", &pairs).await
        }
    };
    let own = |token: &str| {
        vec![
            ("client_id", "dev-website".to_owned()),
            ("client_secret", "dev-website-secret".to_owned()),
            ("token", token.to_owned()),
        ]
    };
    let wrong_secret = revoke(vec![
        ("client_id", "dev-website".to_owned()),
        ("client_secret", "wrong".to_owned()),
        ("token", newest.clone()),
    ])
    .await;
    assert_eq!(wrong_secret.status, 401);
    let foreign = revoke(vec![
        ("client_id", "dev-cms".to_owned()),
        ("client_secret", "dev-cms-secret".to_owned()),
        ("token", newest.clone()),
    ])
    .await;
    assert_eq!(foreign.status, 403);
    assert!(tenant.is_refresh_token_live(&newest));

    assert_eq!(revoke(own(&newest)).await.line(), "200 ");
    assert!(!tenant.is_refresh_token_live(&newest));
    assert_eq!(refresh(&tenant, &newest).await.line(), UNKNOWN);
    // Garbage and the dead are 200 too.
    assert_eq!(revoke(own(&newest)).await.status, 200);
    assert_eq!(revoke(own("garbage")).await.status, 200);
    assert_eq!(revoke(own("")).await.status, 400);
}

#[tokio::test]
async fn no_refresh_token_without_the_applications_grant() {
    let mut seed = Seed::example();
    seed.applications[0]
        .grant_types
        .retain(|grant| grant != "refresh_token");
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let tokens = password_tokens(&tenant, "openid offline_access", Some(API)).await;
    assert!(tokens.get("refresh_token").is_none());
    assert!(!text(&tokens, "scope").contains("offline_access"));
}

//! Faults on demand, from the same process and over HTTP.

use std::time::{Duration, Instant};

use dev_tenant::{Fault, FaultKind};
use serde_json::json;

use crate::support::*;

const PASSWORD: [(&str, &str); 7] = [
    ("client_id", "dev-website"),
    ("client_secret", "dev-website-secret"),
    ("grant_type", "password"),
    ("username", "mia@example.org"),
    ("password", "Correct-Horse-1"),
    ("scope", "openid offline_access"),
    ("audience", API),
];

#[tokio::test]
async fn a_lost_answer_has_rotated_the_token() {
    let tenant = tenant().await;
    let tokens = post(&tenant, "/oauth/token", &PASSWORD).await.json();
    let token = text(&tokens, "refresh_token");
    let pairs: Vec<(&str, &str)> = CLIENT
        .iter()
        .copied()
        .chain([("grant_type", "refresh_token"), ("refresh_token", &token)])
        .collect();

    tenant.inject(
        Fault::on("/oauth/token", FaultKind::CutBefore)
            .grant_type("refresh_token")
            .times(1),
    );
    try_post(&tenant, "/oauth/token", &pairs).await.unwrap_err();
    assert!(
        tenant.is_refresh_token_live(&token),
        "cut before: nothing is done"
    );

    tenant.inject(
        Fault::on("/oauth/token", FaultKind::CutAfter)
            .grant_type("refresh_token")
            .times(1),
    );
    // The other grant is not hit.
    assert_eq!(post(&tenant, "/oauth/token", &PASSWORD).await.status, 200);
    try_post(&tenant, "/oauth/token", &pairs).await.unwrap_err();
    assert!(
        !tenant.is_refresh_token_live(&token),
        "cut after: the token is spent"
    );
    assert_eq!(tenant.refresh_exchanges(), 2);
}

#[tokio::test]
async fn a_truncated_answer_breaks_off_in_its_body() {
    let tenant = tenant().await;
    tenant.inject(Fault::on("/oauth/token", FaultKind::Truncated).times(1));
    let response = client()
        .post(format!("{}/oauth/token", tenant.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&PASSWORD))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.content_length().unwrap() > 100);
    response.bytes().await.unwrap_err();
    assert_eq!(post(&tenant, "/oauth/token", &PASSWORD).await.status, 200);
}

#[tokio::test]
async fn limits_errors_and_delays() {
    let tenant = tenant().await;
    tenant.inject(
        Fault::on(
            "/oauth/token",
            FaultKind::RateLimited {
                retry_after: Some(2),
                reset_in: 60,
            },
        )
        .times(1),
    );
    let limited = post(&tenant, "/oauth/token", &PASSWORD).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("retry-after"), "2");
    assert_eq!(limited.header("x-ratelimit-remaining"), "0");
    let reset: i64 = limited.header("x-ratelimit-reset").parse().unwrap();
    assert!((reset - tenant.now().unix_timestamp() - 60).abs() <= 2);

    tenant.inject(Fault::on(
        "/.well-known/jwks.json",
        FaultKind::Status {
            status: 502,
            body: "<h1>Bad Gateway</h1>".to_owned(),
        },
    ));
    for _ in 0..2 {
        let broken = get(&tenant, "/.well-known/jwks.json").await;
        assert_eq!(broken.line(), "502 <h1>Bad Gateway</h1>");
        assert_eq!(broken.header("content-type"), "text/html; charset=utf-8");
    }
    tenant.clear_faults();
    assert_eq!(get(&tenant, "/.well-known/jwks.json").await.status, 200);

    tenant.inject(Fault::on("/oauth/token", FaultKind::Delay(Duration::from_millis(300))).times(1));
    let start = Instant::now();
    assert_eq!(post(&tenant, "/oauth/token", &PASSWORD).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn everything_can_be_done_with_curl_too() {
    let tenant = tenant().await;
    let made = post_json(
        &tenant,
        "/_dev/faults",
        &json!({
            "path": "/userinfo", "times": 1,
            "kind": { "status": { "status": 503, "body": "{\"error\":\"x\"}" } },
        }),
    )
    .await;
    assert_eq!(made.line(), r#"201 {"waiting":1}"#);
    let hit = get(&tenant, "/userinfo").await;
    assert_eq!(hit.line(), r#"503 {"error":"x"}"#);
    assert_eq!(hit.header("content-type"), "application/json");
    assert_eq!(get(&tenant, "/userinfo").await.status, 401);

    post_json(
        &tenant,
        "/_dev/faults",
        &json!({ "path": "/userinfo", "kind": "cut_before" }),
    )
    .await;
    client()
        .get(format!("{}/userinfo", tenant.url()))
        .send()
        .await
        .unwrap_err();
    let cleared = client()
        .delete(format!("{}/_dev/faults", tenant.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(cleared.status(), 204);
    assert_eq!(get(&tenant, "/userinfo").await.status, 401);

    let faulty = post_json(
        &tenant,
        "/_dev/faults",
        &json!({ "path": "/x", "kind": "explode" }),
    )
    .await;
    assert_eq!(faulty.status, 400);
    assert!(faulty.text.contains("explode"), "{}", faulty.text);
    // What a foreign page can send without asking is not taken.
    let form = post(&tenant, "/_dev/faults", &[("path", "/userinfo")]).await;
    assert_eq!(form.status, 415);
}

#[tokio::test]
async fn the_dev_routes_move_keys_clock_people_and_calls() {
    let tenant = tenant().await;
    let url = |path: &str| format!("{}{path}", tenant.url());
    let before = get(&tenant, "/.well-known/jwks.json").await.json();
    let next = before["keys"][1]["kid"].clone();
    let rotated = client()
        .post(url("/_dev/keys/rotate"))
        .send()
        .await
        .unwrap();
    let rotated = Answer::of(rotated).await.json();
    assert_eq!(rotated["kid"], next);
    let after = get(&tenant, "/.well-known/jwks.json").await.json();
    assert_eq!(after["keys"].as_array().unwrap().len(), 3);
    client()
        .post(url("/_dev/keys/revoke"))
        .send()
        .await
        .unwrap();
    let revoked = get(&tenant, "/.well-known/jwks.json").await.json();
    assert_eq!(revoked["keys"].as_array().unwrap().len(), 2);

    let then = tenant.now();
    post_json(&tenant, "/_dev/clock/advance", &json!({ "seconds": 3600 })).await;
    assert!(tenant.now() - then >= Duration::from_secs(3600));

    let path = "/_dev/users/auth0%7C64b0c0ffee0000000000a001";
    let patched = client()
        .patch(url(path))
        .header("content-type", "application/json")
        .body(r#"{"blocked":true,"app_metadata":{"plan":"pro"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(patched.status(), 200);
    let user = get(&tenant, path).await.json();
    assert_eq!(user["blocked"], true);
    assert_eq!(user["app_metadata"], json!({ "plan": "pro" }));
    assert!(user.get("password").is_none());
    assert_eq!(
        get(&tenant, "/_dev/users")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(
        client().delete(url(path)).send().await.unwrap().status(),
        204
    );
    assert_eq!(get(&tenant, path).await.status, 404);

    let calls = get(&tenant, "/_dev/calls").await.json();
    assert_eq!(calls["calls"].as_array().unwrap().len(), 3);
    assert_eq!(calls["calls"][0]["path"], "/.well-known/jwks.json");
    client().delete(url("/_dev/calls")).send().await.unwrap();
    assert!(tenant.calls().is_empty());
}

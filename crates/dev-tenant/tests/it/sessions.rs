//! Sessions, refresh tokens, blocks and tickets in the Management API.

use dev_tenant::TenantSettings;
use serde_json::{Value, json};

use crate::support::*;

async fn sessions(api: &Management) -> Vec<Value> {
    let answer = api.get(&format!("{}/sessions", user_path(MIA))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    assert!(sessions(&api).await.is_empty());
    let (mut one, mut two) = (Browser::new(&tenant), Browser::new(&tenant));
    let code = one.code(&[]).await;
    let tokens = exchange(&tenant, &code, &[]).await.json();
    two.code(&[]).await;
    let list = sessions(&api).await;
    assert_eq!(list.len(), 2);
    let dates = [
        "id",
        "created_at",
        "updated_at",
        "authenticated_at",
        "idle_expires_at",
        "expires_at",
        "last_interacted_at",
        "authentication",
    ];
    insta::assert_snapshot!(masked(list[0].clone(), &dates), @r#"{"authenticated_at":"[authenticated_at]","authentication":"[authentication]","clients":[{"client_id":"dev-website"}],"cookie":{"mode":"persistent"},"created_at":"[created_at]","device":{},"expires_at":"[expires_at]","id":"[id]","idle_expires_at":"[idle_expires_at]","last_interacted_at":"[last_interacted_at]","updated_at":"[updated_at]","user_id":"auth0|64b0c0ffee0000000000a001"}"#);
    let sid = verified(&tenant, &text(&tokens, "id_token")).await.claims["sid"].clone();
    assert_eq!(list[0]["id"], sid);
    let path = format!("/sessions/{}", text(&list[0], "id"));
    assert_eq!(api.get(&path).await.json()["user_id"], MIA);
    let page = api
        .get(&format!(
            "{}/sessions?take=1&include_totals=true",
            user_path(MIA)
        ))
        .await
        .json();
    assert_eq!((&page["total"], &page["next"]), (&json!(2), &list[1]["id"]));

    let refresh_token = text(&tokens, "refresh_token");
    assert_eq!(
        api.post(&format!("{path}/revoke"), &json!({})).await.line(),
        "202 {}"
    );
    insta::assert_snapshot!(api.get(&path).await.line(), @r#"404 {"error":"Not Found","errorCode":"inexistent_session","message":"The session does not exist.","statusCode":404}"#);
    assert_eq!(api.delete(&path).await.line(), "202 {}");
    assert_eq!(refresh(&tenant, &refresh_token).await.status, 403);
    assert_eq!(one.authorize(&[]).await.location().path(), "/u/login");
    two.code_again().await;
    assert_eq!(
        api.delete(&format!("{}/sessions", user_path(MIA)))
            .await
            .line(),
        "202 {}"
    );
    assert_eq!(two.authorize(&[]).await.location().path(), "/u/login");
    assert_eq!(api.get("/users/auth0%7Cnobody/sessions").await.status, 404);
}

#[tokio::test]
async fn refresh_tokens_are_listed_and_revoked() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let path = format!("{}/refresh-tokens", user_path(MIA));
    let issue = async || {
        text(
            &password_tokens(&tenant, "openid offline_access", Some(API)).await,
            "refresh_token",
        )
    };
    let first = issue().await;
    let list = api.get(&path).await.json();
    let dates = ["id", "created_at", "idle_expires_at", "expires_at"];
    insta::assert_snapshot!(masked(list["tokens"][0].clone(), &dates), @r#"{"client_id":"dev-website","created_at":"[created_at]","device":{},"expires_at":"[expires_at]","id":"[id]","idle_expires_at":"[idle_expires_at]","last_exchanged_at":null,"resource_servers":[{"audience":"https://api.example.org/","scopes":"openid profile email address phone offline_access"}],"rotating":true,"session_id":null,"user_id":"auth0|64b0c0ffee0000000000a001"}"#);
    let id = text(&list["tokens"][0], "id");
    let successor = text(&refresh(&tenant, &first).await.json(), "refresh_token");
    let rotated = api.get(&format!("/refresh-tokens/{id}")).await.json();
    assert!(rotated["last_exchanged_at"].is_string());
    assert_eq!(
        api.delete(&format!("/refresh-tokens/{id}")).await.line(),
        "202 {}"
    );
    assert_eq!(api.get(&format!("/refresh-tokens/{id}")).await.status, 404);
    assert_eq!(refresh(&tenant, &successor).await.status, 403);

    let second = issue().await;
    assert_eq!(api.delete(&path).await.line(), "202 {}");
    assert_eq!(api.get(&path).await.json(), json!({ "tokens": [] }));
    assert_eq!(refresh(&tenant, &second).await.status, 403);

    let third = issue().await;
    let revoke = format!("{}/revoke-access", user_path(MIA));
    api.post(&revoke, &json!({ "preserve_refresh_tokens": true }))
        .await;
    assert!(tenant.is_refresh_token_live(&third));
    assert_eq!(api.post(&revoke, &json!({})).await.line(), "202 {}");
    assert!(!tenant.is_refresh_token_live(&third));
    assert_eq!(api.send("POST", &revoke, None).await.status, 202);
}

#[tokio::test]
async fn brute_force_blocks_are_not_those_of_administrators() {
    let tenant = tenant_with(TenantSettings {
        brute_force_attempts: Some(2),
        ..TenantSettings::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    let fail = async || {
        let pairs = [
            ("grant_type", "password"),
            ("username", "mia@example.org"),
            ("password", "wrong"),
        ];
        token(&tenant, &pairs).await.status
    };
    for _ in 0..2 {
        assert_eq!(fail().await, 403);
    }
    assert_eq!(fail().await, 429);
    api.patch(MIA, &json!({ "blocked": false })).await;
    let by_id = format!(
        "/user-blocks/{}",
        user_path(MIA).trim_start_matches("/users/")
    );
    for path in [by_id.as_str(), "/user-blocks?identifier=Mia@example.org"] {
        let line = api.get(path).await.line();
        insta::allow_duplicates! {
            insta::assert_snapshot!(line, @r#"200 {"blocked_for":[{"identifier":"mia@example.org","ip":"127.0.0.1"}]}"#);
        }
    }
    assert_eq!(api.delete(&by_id).await.line(), "204 ");
    assert_eq!(api.get(&by_id).await.json(), json!({ "blocked_for": [] }));
    assert_eq!(fail().await, 403);
}

#[tokio::test]
async fn tickets_are_links() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let id = tenant.connection_id("employees").unwrap();
    for (path, body) in [
        (
            "password-change",
            json!({ "user_id": MIA, "ttl_sec": 60, "result_url": "https://example.org/" }),
        ),
        (
            "password-change",
            json!({ "connection_id": id, "email": "bob@example.org" }),
        ),
        ("email-verification", json!({ "user_id": MIA })),
    ] {
        let answer = api.post(&format!("/tickets/{path}"), &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let ticket = text(&answer.json(), "ticket");
        assert!(
            ticket.starts_with(&format!("{}u/", tenant.issuer())),
            "{ticket}"
        );
        assert!(ticket.ends_with('#'));
    }
    for (path, body, status) in [
        ("password-change", json!({}), 400),
        (
            "password-change",
            json!({ "user_id": MIA, "email": "mia@example.org" }),
            400,
        ),
        ("password-change", json!({ "user_id": "auth0|nobody" }), 404),
        (
            "password-change",
            json!({ "connection_id": "con_0000000000000000", "email": "a@example.org" }),
            400,
        ),
        (
            "password-change",
            json!({ "user_id": MIA, "ttl_sec": -1 }),
            400,
        ),
        ("email-verification", json!({}), 400),
        (
            "email-verification",
            json!({ "user_id": "auth0|nobody" }),
            404,
        ),
    ] {
        let answer = api.post(&format!("/tickets/{path}"), &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
    }
}

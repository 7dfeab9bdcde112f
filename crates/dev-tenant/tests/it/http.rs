//! Plain HTTP manners.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let tenant = tenant().await;
    assert_eq!(get(&tenant, "/nothing").await.status, 404);
    assert_eq!(get(&tenant, "/oauth/token/").await.status, 404);
    let wrong = get(&tenant, "/oauth/token").await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.header("allow"), "POST");
    let both = client()
        .put(format!("{}/u/login", tenant.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(both.status(), 405);
    assert_eq!(both.headers()["allow"], "GET, POST");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let tenant = tenant().await;
    let response = client()
        .head(format!("{}/.well-known/openid-configuration", tenant.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn discovery_names_what_is_there() {
    let tenant = tenant().await;
    let answer = get(&tenant, "/.well-known/openid-configuration").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let document = answer.json();
    assert_eq!(document["issuer"], format!("{}/", tenant.url()));
    for name in [
        "authorization_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "end_session_endpoint",
    ] {
        let path = text(&document, name).replacen(tenant.url(), "", 1);
        assert_ne!(get(&tenant, &path).await.status, 404, "{name}");
    }
    for name in ["token_endpoint", "revocation_endpoint"] {
        let path = text(&document, name).replacen(tenant.url(), "", 1);
        assert_eq!(get(&tenant, &path).await.status, 405, "{name}");
    }
    let keys = get(&tenant, "/.well-known/jwks.json").await.json();
    for key in keys["keys"].as_array().unwrap() {
        assert_eq!(
            (&key["alg"], &key["kty"], &key["use"]),
            (&"RS256".into(), &"RSA".into(), &"sig".into())
        );
        assert_eq!(key["e"], "AQAB");
    }
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused() {
    let tenant = tenant().await;
    let body = "x".repeat((1 << 20) + 1);
    let response = client()
        .post(format!("{}/oauth/token", tenant.url()))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 413);
}

async fn raw(tenant: &dev_tenant::DevTenant, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(tenant.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(15), read)
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_slow_heads_are_timed_out() {
    let tenant = tenant().await;
    assert!(
        raw(&tenant, b"hello\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
    let smuggled = raw(
        &tenant,
        b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    )
    .await;
    assert!(smuggled.starts_with("HTTP/1.1 400 "), "{smuggled}");
    // Half a head: the connection ends, with or without an answer.
    raw(&tenant, b"GET /userinfo HTTP/1.1\r\nHost:").await;
}

//! What the owning process does to a tenant.

use std::time::{Duration, Instant};

use dev_tenant::{DevTenant, Seed, StartError, TenantSettings};

use crate::support::*;

#[tokio::test]
async fn it_listens_at_once_and_its_port_can_be_had_again_at_once() {
    let start = Instant::now();
    let tenant = tenant().await;
    assert!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    let address = tenant.address();
    assert_eq!(get(&tenant, "/.well-known/jwks.json").await.status, 200);
    tenant.shutdown().await;
    client()
        .get(format!("http://{address}/"))
        .send()
        .await
        .unwrap_err();
    let again = tenant_with(TenantSettings {
        listen: address,
        ..TenantSettings::default()
    })
    .await;
    assert_eq!(again.address(), address);
    let taken = DevTenant::start(
        TenantSettings {
            listen: address,
            ..TenantSettings::default()
        },
        Seed::example(),
    )
    .await
    .unwrap_err();
    assert!(matches!(taken, StartError::Listen { .. }));
}

#[tokio::test]
async fn paused_it_is_gone_and_comes_back_with_its_state() {
    let tenant = tenant().await;
    let http = client();
    let url = format!("{}/.well-known/jwks.json", tenant.url());
    let before = http.get(&url).send().await.unwrap().text().await.unwrap();
    let token = text(
        &password_tokens(&tenant, "openid offline_access", Some(API)).await,
        "refresh_token",
    );
    tenant.pause().await;
    // Also on the connection that was kept open.
    http.get(&url).send().await.unwrap_err();
    tenant.pause().await;
    tenant.resume().await.unwrap();
    tenant.resume().await.unwrap();
    let after = http.get(&url).send().await.unwrap().text().await.unwrap();
    assert_eq!(after, before);
    assert!(tenant.is_refresh_token_live(&token));
}

#[tokio::test]
async fn a_shutdown_lets_requests_under_way_finish() {
    let tenant = tenant().await;
    get(&tenant, "/.well-known/jwks.json").await;
    tenant.inject(dev_tenant::Fault::on(
        "/userinfo",
        dev_tenant::FaultKind::Delay(Duration::from_millis(300)),
    ));
    let url = format!("{}/userinfo", tenant.url());
    let under_way = tokio::spawn(async move { client().get(url).send().await });
    while tenant.calls().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tenant.shutdown().await;
    assert_eq!(under_way.await.unwrap().unwrap().status(), 401);
}

#[tokio::test]
async fn a_dropped_tenant_closes_its_port() {
    let tenant = tenant().await;
    let url = tenant.url().to_owned();
    drop(tenant);
    // The task is told to end; it needs a turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    client().get(url).send().await.unwrap_err();
}

#[tokio::test]
async fn it_serves_tls_with_the_certificate_it_shows() {
    let tenant = tenant_with(TenantSettings {
        https: true,
        ..TenantSettings::default()
    })
    .await;
    assert!(tenant.url().starts_with("https://127.0.0.1:"));
    let pem = tenant.certificate_pem().unwrap();
    let trusting = || {
        let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([certificate])
            .no_proxy()
            .build()
            .unwrap()
    };
    for host in ["127.0.0.1", "localhost"] {
        let url = format!(
            "https://{host}:{}/.well-known/openid-configuration",
            tenant.address().port()
        );
        let response = trusting().get(url).send().await.unwrap();
        assert!(response.headers().contains_key("strict-transport-security"));
        let document: serde_json::Value =
            serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(document["issuer"], tenant.issuer());
    }
    client().get(tenant.url()).send().await.unwrap_err();
}

#[tokio::test]
async fn a_domain_names_the_issuer() {
    let settings = |domain: &str| TenantSettings {
        domain: Some(domain.to_owned()),
        ..TenantSettings::default()
    };
    let tenant = tenant_with(settings("tenant.example.org:8443")).await;
    assert_eq!(tenant.issuer(), "http://tenant.example.org:8443/");
    let document = get(&tenant, "/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(document["issuer"], tenant.issuer());
    assert_eq!(
        document["token_endpoint"],
        "http://tenant.example.org:8443/oauth/token"
    );
    for bad in ["", "a/b", "user@host", "host?x", "a b", "host/"] {
        let error = DevTenant::start(settings(bad), Seed::example())
            .await
            .unwrap_err();
        assert!(matches!(error, StartError::Domain(_)), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_faulty_seed_does_not_start() {
    let mut seed = Seed::example();
    seed.tenant.default_audience = Some("urn:nothing".to_owned());
    let error = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the seed is faulty: /tenant/default_audience is not an API"
    );
}

#[tokio::test]
async fn calls_are_kept_without_their_values() {
    let tenant = tenant().await;
    password_tokens(&tenant, "openid", None).await;
    let calls = tenant.calls();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("POST", "/oauth/token")
    );
    assert_eq!(call.grant_type.as_deref(), Some("password"));
    assert_eq!(call.client_id.as_deref(), Some("dev-website"));
    assert_eq!(
        call.parameters,
        [
            "client_id",
            "client_secret",
            "grant_type",
            "password",
            "scope",
            "username"
        ]
    );
    assert!(!format!("{call:?}").contains("Correct-Horse"));
    tenant.clear_calls();
    assert!(tenant.calls().is_empty());
}

#[tokio::test]
async fn keys_rotate_next_to_current_and_old_ones_stay_until_revoked() {
    let tenant = tenant().await;
    let kids = || async {
        let keys = get(&tenant, "/.well-known/jwks.json").await.json();
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| text(key, "kid"))
            .collect::<Vec<_>>()
    };
    let before = kids().await;
    assert_eq!(before.len(), 2);
    let old = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    assert_eq!(
        jsonwebtoken::decode_header(&old).unwrap().kid,
        Some(before[0].clone())
    );
    assert_eq!(tenant.rotate_keys().await.unwrap(), before[1]);
    assert_eq!(kids().await.len(), 3);
    verified(&tenant, &old).await;
    let new = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    assert_eq!(
        jsonwebtoken::decode_header(&new).unwrap().kid,
        Some(before[1].clone())
    );
    tenant.revoke_previous_keys();
    assert_eq!(try_verify(&tenant, &old).await.unwrap_err(), "unknown kid");
    verified(&tenant, &new).await;
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let tenant = tenant().await;
    let shown = format!("{tenant:?} {:?}", Seed::example());
    assert!(!shown.contains("Correct-Horse"));
    assert!(!shown.contains("-secret"), "{shown}");
    assert!(!shown.contains("123456"));
}

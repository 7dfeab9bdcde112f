//! Logout tokens, to a receiver that keeps them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dev_tenant::{DevTenant, Fault, FaultKind, Forgery, Seed, TenantSettings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::*;

/// Takes posts on a free port, answers 200, and keeps the bodies.
struct Receiver {
    url: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/backchannel-logout",
            listener.local_addr().unwrap()
        );
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                let mut buffer = [0_u8; 4096];
                // The logout token is the only field, and the body ends with it.
                loop {
                    let read = stream.read(&mut buffer).await.unwrap();
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                    let length = text
                        .to_ascii_lowercase()
                        .split_once("content-length: ")
                        .and_then(|(_, rest)| rest.split_once("\r\n")?.0.parse::<usize>().ok());
                    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                    if let (Some(length), Some(body)) = (length, body)
                        && body.len() >= length
                    {
                        kept.lock().unwrap().push(body);
                        break;
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        Self { url, bodies }
    }

    async fn tokens(&self, count: usize) -> Vec<String> {
        for _ in 0..400 {
            let bodies = self.bodies.lock().unwrap().clone();
            if bodies.len() >= count {
                return bodies
                    .iter()
                    .map(|body| {
                        let fields: Vec<_> = form_urlencoded::parse(body.as_bytes()).collect();
                        assert_eq!(fields.len(), 1);
                        assert_eq!(fields[0].0, "logout_token");
                        fields[0].1.clone().into_owned()
                    })
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no logout token came");
    }
}

async fn tenant_telling(website: &Receiver, cms: &Receiver, settings: TenantSettings) -> DevTenant {
    let mut seed = Seed::example();
    seed.applications[0].backchannel_logout_urls = vec![website.url.clone()];
    seed.applications[1].backchannel_logout_urls = vec![cms.url.clone()];
    DevTenant::start(settings, seed).await.unwrap()
}

#[tokio::test]
async fn a_logout_tells_the_applications_of_the_session() {
    let (website, cms) = (Receiver::start().await, Receiver::start().await);
    let tenant = tenant_telling(&website, &cms, TenantSettings::default()).await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[]).await;
    let id = text(&exchange(&tenant, &code, &[]).await.json(), "id_token");
    let sid = verified(&tenant, &id).await.claims["sid"].clone();
    browser.get("/v2/logout").await;

    let token = website.tokens(1).await.remove(0);
    let token = verified(&tenant, &token).await;
    assert_eq!(token.header.typ.as_deref(), Some("JWT"));
    let claims = token.claims;
    assert_eq!(claims["sid"], sid);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        120
    );
    assert_eq!(
        masked(claims, &["iss", "iat", "exp", "jti", "trace_id", "sid"]),
        json!({
            "iss": "[iss]", "sub": MIA, "aud": "dev-website", "iat": "[iat]", "exp": "[exp]",
            "jti": "[jti]", "sid": "[sid]", "trace_id": "[trace_id]",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        })
    );
    // The other application took no part.
    assert!(cms.bodies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn both_applications_of_one_session_are_told_with_the_same_sid() {
    let (website, cms) = (Receiver::start().await, Receiver::start().await);
    let tenant = tenant_telling(&website, &cms, TenantSettings::default()).await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    browser.authorize(&[("client_id", "dev-cms")]).await;
    browser.get("/v2/logout").await;
    let one = verified(&tenant, &website.tokens(1).await[0]).await.claims;
    let two = verified(&tenant, &cms.tokens(1).await[0]).await.claims;
    assert_eq!(one["sid"], two["sid"]);
    assert_eq!(two["aud"], "dev-cms");
    assert_ne!(one["jti"], two["jti"]);
}

#[tokio::test]
async fn switched_off_nobody_is_told() {
    let (website, cms) = (Receiver::start().await, Receiver::start().await);
    let settings = TenantSettings {
        backchannel_logout: false,
        ..TenantSettings::default()
    };
    let tenant = tenant_telling(&website, &cms, settings).await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    browser.get("/v2/logout").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(website.bodies.lock().unwrap().is_empty());
}

#[tokio::test]
async fn on_demand_everybody_is_told_and_the_answers_are_known() {
    let website = Receiver::start().await;
    let closed = Receiver {
        url: "http://127.0.0.1:1/backchannel-logout".to_owned(),
        bodies: Arc::default(),
    };
    let tenant = tenant_telling(&website, &closed, TenantSettings::default()).await;
    let mut sent = tenant.send_backchannel_logout(MIA, None).await;
    sent.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    let statuses: Vec<_> = sent
        .iter()
        .map(|one| (one.client_id.as_str(), one.status))
        .collect();
    assert_eq!(statuses, [("dev-cms", None), ("dev-website", Some(200))]);
    let claims = verified(&tenant, &website.tokens(1).await[0]).await.claims;
    assert!(claims.get("sid").is_none());
    assert_eq!(tenant.backchannel_deliveries().len(), 2);

    let over_http = post_json(
        &tenant,
        "/_dev/backchannel-logout",
        &json!({ "user_id": MIA, "sid": "the-sid" }),
    )
    .await
    .json();
    assert_eq!(over_http.as_array().unwrap().len(), 2);
    let claims = verified(&tenant, &website.tokens(2).await[1]).await.claims;
    assert_eq!(claims["sid"], "the-sid");
}

#[tokio::test]
async fn a_logout_token_can_be_forged() {
    let (website, cms) = (Receiver::start().await, Receiver::start().await);
    let tenant = tenant_telling(&website, &cms, TenantSettings::default()).await;
    let nonce = Forgery::Claim {
        name: "nonce".to_owned(),
        value: json!("n"),
    };
    tenant.inject(Fault::on("/backchannel-logout", FaultKind::Forge(nonce)));
    tenant.send_backchannel_logout(MIA, Some("sid")).await;
    let claims: Value = verified(&tenant, &website.tokens(1).await[0]).await.claims;
    assert_eq!(claims["nonce"], "n");
}

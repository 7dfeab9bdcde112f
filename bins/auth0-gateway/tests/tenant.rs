//! The gateway against the development tenant, over real sockets on both sides, with the tenant's faults.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth0_api::{Auth0Client, ClientSettings};
use bytes::Bytes;
use dev_tenant::{DevTenant, Fault, FaultKind, Forgery, Seed, TenantSettings};
use gateway_core::config::{Environment, load};
use gateway_core::http::GatewayService;
use gateway_core::{Gateway, Parts};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use sessionkit::{Lifetimes, MemoryStore, Sessions, SystemClock};

const REFRESH: &str = "refresh_token";

struct Configuration(String, &'static [(&'static str, &'static str)]);

impl Environment for Configuration {
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.1.iter().chain(&[("HTTP_HOST", "127.0.0.1")]);
        let found = given.into_iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    fn read_file(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }
}

#[derive(Clone)]
struct World {
    tenant: Arc<DevTenant>,
    gateway: GatewayService,
}

/// A gateway whose access tokens live for this long.
async fn world(access_token_lifetime: u64) -> World {
    world_with(access_token_lifetime, &[]).await
}

async fn world_with(
    access_token_lifetime: u64,
    variables: &'static [(&'static str, &'static str)],
) -> World {
    let settings = TenantSettings {
        access_token_lifetime: Duration::from_secs(access_token_lifetime),
        ..TenantSettings::default()
    };
    let tenant = DevTenant::start(settings, Seed::example()).await.unwrap();
    let client = |scopes: &str| {
        format!(
            r#"{{"auth0Url": "{}", "clientId": "dev-website", "clientSecret": "dev-website-secret",
            "redirectUrl": "http://localhost/web-login/callback", "audience": "https://api.example.org/",
            "scopes": {scopes}}}"#,
            tenant.url()
        )
    };
    let config = format!(
        r#"{{"clients": {{"website": {}, "app": {}}}, "defaultClient": "website"}}"#,
        client(r#"["offline_access", "profile", "website"]"#),
        client(r#"["offline_access", "profile"]"#)
    );
    let loaded = load(&Configuration(config, variables)).unwrap();
    let store = Arc::new(MemoryStore::new());
    let sessions = Sessions::new(
        Arc::clone(&store) as _,
        Arc::new(SystemClock),
        Lifetimes::default(),
    );
    let client = ClientSettings {
        timeout: Duration::from_secs(2),
        rate_limit_wait: Duration::from_secs(1),
        ..ClientSettings::default()
    };
    let gateway = Gateway::new(Parts {
        settings: loaded.settings,
        clients: loaded.clients,
        api: Arc::new(Auth0Client::new(client).unwrap()),
        management: None,
        imports: None,
        metrics: None,
        sessions: Arc::new(sessions),
        one_time: Arc::clone(&store) as _,
        records: store,
    });
    World {
        tenant: Arc::new(tenant),
        gateway: GatewayService::new(Arc::new(gateway)).unwrap(),
    }
}

impl World {
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "www.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
        let (parts, body) = self
            .gateway
            .handle(request, None)
            .await
            .unwrap()
            .into_parts();
        (
            parts.status,
            parts.headers,
            body.collect().await.unwrap().to_bytes(),
        )
    }

    async fn password(&self, client: &str) -> (StatusCode, HeaderMap, Bytes) {
        let headers = [
            ("client-type", client),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = "grant_type=password&username=mia%40example.org&password=Correct-Horse-1";
        self.send("POST", "/oauth/token", &headers, body).await
    }

    /// Signs in and gives the `Cookie` header.
    async fn sign_in(&self) -> String {
        let (status, headers, body) = self.password("website").await;
        assert_eq!(status, 200, "{body:?}");
        let line = headers["set-cookie"].to_str().unwrap();
        line.split(';').next().unwrap().to_owned()
    }

    async fn check(&self, cookie: &str) -> (StatusCode, HeaderMap, Bytes) {
        self.send("GET", "/userinfo", &[("cookie", cookie)], "")
            .await
    }

    fn fail_refreshes(&self, kind: FaultKind) {
        self.tenant
            .inject(Fault::on("/oauth/token", kind).grant_type(REFRESH));
    }
}

#[tokio::test]
async fn a_storm_on_a_run_out_session_is_one_refresh_at_auth0() {
    // Within ten seconds of its end a token counts as run out.
    let world = world(11).await;
    let cookie = world.sign_in().await;
    for round in 1..=2 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let checks: Vec<_> = (0..200)
            .map(|_| {
                let (world, cookie) = (world.clone(), cookie.clone());
                tokio::spawn(async move { world.check(&cookie).await })
            })
            .collect();
        for check in checks {
            let (status, headers, body) = check.await.unwrap();
            assert_eq!(status, 200);
            assert!(!headers.contains_key("set-cookie"));
            let profile: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(profile["name"], "Mia Rossi");
        }
        assert_eq!(world.tenant.refresh_exchanges(), round);
    }
    assert_eq!(world.tenant.refresh_reuses(), 0);
}

#[tokio::test]
async fn auth0_away_and_back() {
    let world = world(11).await;
    let cookie = world.sign_in().await;
    world.tenant.pause().await;
    assert_eq!(world.check(&cookie).await.0, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (status, headers, _) = world.check(&cookie).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after") && !headers.contains_key("set-cookie"));
    world.tenant.resume().await.unwrap();
    assert_eq!(world.check(&cookie).await.0, 200);
}

#[tokio::test]
async fn a_refresh_that_auth0_cannot_do_keeps_the_session() {
    let world = world(5).await;
    let cookie = world.sign_in().await;
    for (kind, retry_after) in [
        (
            FaultKind::Status {
                status: 500,
                body: "<html>".to_owned(),
            },
            None,
        ),
        (
            FaultKind::Status {
                status: 502,
                body: "{}".to_owned(),
            },
            None,
        ),
        (
            FaultKind::RateLimited {
                retry_after: Some(7),
                reset_in: 9,
            },
            Some("7"),
        ),
        (FaultKind::CutBefore, None),
        (
            FaultKind::Status {
                status: 401,
                body: r#"{"error":"access_denied","error_description":"Unauthorized"}"#.to_owned(),
            },
            None,
        ),
    ] {
        world.fail_refreshes(kind.clone());
        let (status, headers, _) = world.check(&cookie).await;
        assert_eq!(status, 503, "{kind:?}");
        if let Some(wait) = retry_after {
            assert_eq!(headers["retry-after"], wait);
        }
        world.tenant.clear_faults();
    }
    // One that takes longer than other calls may is waited for: given up, its token would be lost.
    world.fail_refreshes(FaultKind::Delay(Duration::from_secs(3)));
    assert_eq!(world.check(&cookie).await.0, 200);
}

#[tokio::test]
async fn a_refused_refresh_ends_the_session() {
    let world = world(5).await;
    let cookie = world.sign_in().await;
    let mia = world.tenant.user_id("mia@example.org").unwrap();
    world.tenant.block_user(&mia, true).unwrap();
    assert_eq!(world.check(&cookie).await.0, 401);
    world.tenant.block_user(&mia, false).unwrap();
    assert_eq!(world.check(&cookie).await.0, 401);
    assert_eq!(world.send("GET", "/users/active", &[], "").await.2, "[]");
}

#[tokio::test]
async fn threat_11_a_forged_id_token_makes_no_session() {
    let world = world(3600).await;
    for forgery in [
        Forgery::WrongSignature,
        Forgery::ForeignKey,
        Forgery::UnknownKid,
        Forgery::AlgNone,
        Forgery::Hs256WithPublicKey,
        Forgery::WrongIssuer,
        Forgery::IssuerWithoutSlash,
        Forgery::WrongAudience,
        Forgery::SeveralAudiences { azp: None },
        Forgery::SeveralAudiences {
            azp: Some("other".to_owned()),
        },
        Forgery::Expired,
        Forgery::TimeAsString("exp".to_owned()),
        Forgery::TimeAsFloat("exp".to_owned()),
        Forgery::TimeAsArray("exp".to_owned()),
        Forgery::TimeAsString("iat".to_owned()),
        Forgery::WithoutClaim("exp".to_owned()),
        Forgery::WithoutClaim("sub".to_owned()),
    ] {
        world
            .tenant
            .inject(Fault::on("/oauth/token", FaultKind::Forge(forgery.clone())).times(1));
        assert_eq!(world.password("website").await.0, 401, "{forgery:?}");
    }
    assert_eq!(world.send("GET", "/users/active", &[], "").await.2, "[]");
    world.tenant.inject(
        Fault::on(
            "/oauth/token",
            FaultKind::Forge(Forgery::SeveralAudiences {
                azp: Some("dev-website".to_owned()),
            }),
        )
        .times(1),
    );
    assert_eq!(world.password("website").await.0, 200);
}

#[tokio::test]
async fn keys_rotate_under_a_running_gateway() {
    let world = world(3600).await;
    world.sign_in().await;
    // The key in use next was published before.
    world.tenant.rotate_keys().await.unwrap();
    world.sign_in().await;
}

#[tokio::test]
async fn signing_out_kills_the_refresh_token_at_auth0() {
    let world = world(3600).await;
    let (_, _, body) = world.password("app").await;
    let tokens: Value = serde_json::from_slice(&body).unwrap();
    let (refresh, access) = (
        tokens["refreshToken"].as_str().unwrap(),
        tokens["accessToken"].as_str().unwrap(),
    );
    assert!(world.tenant.is_refresh_token_live(refresh));
    let bearer = format!("Bearer {access}");
    assert_eq!(
        world
            .send("GET", "/logout", &[("authorization", &bearer)], "")
            .await
            .0,
        302
    );
    assert!(!world.tenant.is_refresh_token_live(refresh));
    assert_eq!(
        world
            .send("GET", "/userinfo", &[("authorization", &bearer)], "")
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn sign_ins_of_one_person_in_one_second_are_sessions_of_their_own() {
    let world = world(3600).await;
    let sign_ins: Vec<_> = (0..20)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.sign_in().await })
        })
        .collect();
    let mut cookies = Vec::new();
    for sign_in in sign_ins {
        cookies.push(sign_in.await.unwrap());
    }
    cookies.sort();
    cookies.dedup();
    assert_eq!(cookies.len(), 20);
    world
        .send("GET", "/logout", &[("cookie", &cookies[0])], "")
        .await;
    assert_eq!(world.check(&cookies[0]).await.0, 401);
    assert_eq!(world.check(&cookies[1]).await.0, 200);
}

/// A token as the service before this one handed it out.
async fn foreign_token(world: &World) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = [
        ("grant_type", "password"),
        ("username", "mia@example.org"),
        ("password", "Correct-Horse-1"),
        ("client_id", "dev-website"),
        ("client_secret", "dev-website-secret"),
        ("audience", "https://api.example.org/"),
        ("scope", "openid profile email"),
    ];
    let url = format!("{}/oauth/token", world.tenant.url());
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let answer = http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap();
    let tokens: Value = answer.json().await.unwrap();
    tokens["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn on_swap_day_a_known_token_becomes_a_session_once() {
    let world = world_with(3600, &[("ADOPT_BEARER_SECONDS", "86400")]).await;
    let token = foreign_token(&world).await;
    let cookie = format!("sid={token}");
    // Many at once make one session.
    let checks: Vec<_> = (0..20)
        .map(|_| {
            let (world, cookie) = (world.clone(), cookie.clone());
            tokio::spawn(async move { world.check(&cookie).await })
        })
        .collect();
    for check in checks {
        let (status, _, body) = check.await.unwrap();
        let profile: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (status.as_u16(), &profile["name"]),
            (200, &"Mia Rossi".into())
        );
        assert_eq!(profile["permissions"][0], "read:orders");
    }
    let (_, _, sessions) = world.send("GET", "/sessions", &[], "").await;
    let sessions: Value = serde_json::from_slice(&sessions).unwrap();
    assert_eq!(sessions.as_array().unwrap().len(), 1);
    assert_eq!(sessions[0]["client"], "website");
    assert_eq!(
        world
            .send("GET", "/logout", &[("cookie", &cookie)], "")
            .await
            .0,
        302
    );
    assert_eq!(world.check(&cookie).await.0, 401);
    assert_eq!(world.check(&cookie).await.0, 401);

    // By bearer it belongs to a client that keeps its tokens itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bearer = format!("Bearer {}", foreign_token(&world).await);
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(world.send("GET", "/auth", &headers, "").await.0, 200);
    let (_, _, sessions) = world.send("GET", "/sessions", &[], "").await;
    let sessions: Value = serde_json::from_slice(&sessions).unwrap();
    assert_eq!(sessions[0]["client"], "app");

    // Nothing else does.
    let forged = format!("{}x", foreign_token(&world).await);
    for value in [forged.as_str(), "a.b.c", "..", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(world.check(&format!("sid={value}")).await.0, 401, "{value}");
    }
}

#[tokio::test]
async fn an_old_token_is_not_adopted_and_without_the_setting_none_is() {
    let world = world_with(3600, &[("ADOPT_BEARER_SECONDS", "1")]).await;
    let token = foreign_token(&world).await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(world.check(&format!("sid={token}")).await.0, 401);
    let strict = self::world(3600).await;
    let token = foreign_token(&strict).await;
    assert_eq!(strict.check(&format!("sid={token}")).await.0, 401);
}

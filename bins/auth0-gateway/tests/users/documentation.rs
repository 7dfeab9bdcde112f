//! The gateway's own document, held between a back office and the gateway: a validating proxy (npm's
//! prism) looks at every request and every answer of the whole suite.

use gateway_core::http::GatewayService;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::world::{Plan, World};

async fn serve(service: GatewayService) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone();
            let answer = service_fn(move |request| service.handle(request, Some(peer)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    address
}

async fn asks(world: &World, requests: &[(&str, &str, u16)], headers: &[(&str, &str)]) {
    for (method, path, status) in requests {
        let (answered, _, body) = world.send(method, path, headers, b"").await;
        assert_eq!(answered, *status, "{method} {path}: {body:?}");
    }
}

/// A person, from the sign-in to the end of the session.
async fn somebody_comes_and_goes(world: &World) {
    let token = world.sign_in().await;
    let bearer = format!("Bearer {token}");
    let by_bearer = [("authorization", bearer.as_str())];
    let live = [
        ("GET", "/userinfo", 200),
        ("GET", "/users/me", 200),
        ("GET", "/auth", 200),
        ("GET", "/users/active", 200),
        ("GET", "/users?_explain=true", 200),
        (
            "GET",
            "/users?email=a*&_s=-email&_p=email,name&_l=200&_explain=true",
            200,
        ),
        ("GET", "/sessions", 200),
        ("GET", "/sessions?userId=auth0%7Cnobody", 200),
        ("GET", "/authorize?redirect=//a", 400),
        ("GET", "/web-login", 404),
        ("GET", "/-/healthz", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/documentation/json", 200),
    ];
    let ended = [
        ("GET", "/userinfo", 401),
        ("GET", "/auth", 401),
        ("DELETE", "/sessions/auth0%7Cnobody", 200),
        ("DELETE", "/sessions/auth0%7Cnobody/x", 404),
    ];
    asks(world, &live, &by_bearer).await;
    // The proxy would follow the redirect.
    let mut direct = world.clone();
    direct.through = None;
    asks(&direct, &[("GET", "/logout", 302)], &by_bearer).await;
    asks(world, &ended, &by_bearer).await;
    for (path, body, status) in [
        (
            "/oauth/token",
            json!({"grant_type": "password", "username": "mia@example.org", "password": "wrong"}),
            403,
        ),
        (
            "/oauth/token",
            json!({"grant_type": "authorization_code", "code": "x", "state": "12345678"}),
            401,
        ),
        ("/refreshtoken", json!({}), 401),
        ("/changepassword", json!({"email": "mia@example.org"}), 200),
        ("/backchannel-logout", json!({"logout_token": "x"}), 400),
    ] {
        let (answered, said) = world.json("POST", path, &body).await;
        assert_eq!(answered, status, "{path}: {said}");
    }
}

#[tokio::test]
async fn the_gateway_keeps_to_its_own_document() {
    let mut world = Plan::default().start().await;
    let (_, document) = world.get("/documentation/json").await;
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(file.path(), document.to_string()).unwrap();
    let address = serve(world.service.clone()).await;
    let (_prism, proxy) = crate::contract::prism(file.path().to_str().unwrap(), &address).await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build();
    world.through = Some((http.unwrap(), proxy));

    somebody_comes_and_goes(&world).await;
    crate::suite::everything(&world).await;
    crate::suite::ticket(&world, world.tenant.issuer()).await;
    crate::suite::every_id(&world).await;
    crate::import::upsert(&world).await;
    let violations = world.violations.lock().unwrap().clone();
    // One request comes without a session on purpose: it shows that the proxy looks.
    assert!(
        violations.len() == 1 && violations[0].starts_with("POST /refreshtoken 401"),
        "{violations:#?}"
    );
}

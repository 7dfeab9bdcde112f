//! What the tenant does wrong, and what the caller sees of it.

use std::time::{Duration, Instant};

use auth0_api::management::Lane;
use dev_tenant::{Bucket, Fault, FaultKind, RateLimits, Seed, TenantSettings};
use serde_json::json;

use crate::world::{Plan, World};

async fn list(world: &World) -> (u16, String, Option<String>) {
    let (status, headers, body) = world.send("GET", "/users", &[], b"").await;
    let wait = headers
        .get("retry-after")
        .map(|v| v.to_str().unwrap().to_owned());
    (
        status.as_u16(),
        String::from_utf8(body.to_vec()).unwrap(),
        wait,
    )
}

fn status(status: u16, body: &str) -> FaultKind {
    FaultKind::Status {
        status,
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let mut seed = Seed::example();
    for application in &mut seed.applications {
        for grant in &mut application.client_grants {
            grant.scope.retain(|scope| scope != "delete:users");
        }
    }
    let world = Plan {
        seed,
        ..Plan::default()
    }
    .start()
    .await;
    let mia = world
        .tenant
        .user_id("mia@example.org")
        .unwrap()
        .replace('|', "%7C");
    let (status, body) = world
        .json("DELETE", &format!("/users/{mia}"), &json!(null))
        .await;
    assert_eq!(status, 502);
    assert!(
        body["message"].as_str().unwrap().contains("delete:users"),
        "{body}"
    );
    assert_eq!(body["errorCode"], "insufficient_scope", "{body}");
    assert_eq!(list(&world).await.0, 200);
}

#[tokio::test]
async fn a_wrong_secret_of_the_gateways_own_is_no_callers_fault() {
    let world = Plan {
        secret: "wrong",
        ..Plan::default()
    }
    .start()
    .await;
    let (status, body, _) = list(&world).await;
    assert_eq!(status, 502, "{body}");
    assert!(!body.contains("wrong"), "{body}");
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_renewed_once() {
    let world = Plan::default().start().await;
    assert_eq!(list(&world).await.0, 200);
    let invalid = r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token","attributes":{"error":"Invalid token"}}"#;
    world
        .tenant
        .inject(Fault::on("/api/v2/users", status(401, invalid)).times(1));
    assert_eq!(list(&world).await.0, 200);
    assert_eq!(world.calls("/oauth/token"), 2);
    world
        .tenant
        .inject(Fault::on("/api/v2/users", status(401, invalid)).times(2));
    assert_eq!(list(&world).await.0, 502);
    // One that has run out by the tenant's clock alone.
    let world = Plan::default().start().await;
    assert_eq!(list(&world).await.0, 200);
    world.tenant.advance_clock(Duration::from_secs(86_400));
    let (status, body, _) = list(&world).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_bad_moment_is_tried_again_where_that_does_no_harm() {
    let world = Plan::default().start().await;
    let users = "/api/v2/users";
    for fault in [
        status(502, "<h1>Bad Gateway</h1>"),
        FaultKind::CutBefore,
        FaultKind::Truncated,
    ] {
        world
            .tenant
            .inject(Fault::on(users, fault.clone()).times(1));
        assert_eq!(list(&world).await.0, 200, "{fault:?}");
    }
    // A creation that may have arrived is not sent again.
    world.tenant.clear_calls();
    world
        .tenant
        .inject(Fault::on(users, FaultKind::CutAfter).times(1));
    let body = json!({"email": "once@example.org", "password": "Correct-Horse-7"});
    let (code, _) = world.json("POST", "/users", &body).await;
    assert_eq!(code, 502);
    assert_eq!(world.calls(users), 1);
    assert_eq!(
        world.get("/users/count?email=once@example.org").await.1,
        json!(1)
    );
    // For good.
    world.tenant.inject(Fault::on(users, status(503, "away")));
    assert_eq!(list(&world).await.0, 502);
    world.tenant.clear_faults();
}

#[tokio::test]
async fn a_tenant_that_does_not_answer_is_504_within_the_deadline() {
    let variables = vec![
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
        ("REQUEST_TIMEOUT_SECONDS", "2"),
    ];
    let world = Plan {
        variables,
        ..Plan::default()
    }
    .start()
    .await;
    world.tenant.inject(Fault::on(
        "/api/v2/users",
        FaultKind::Delay(Duration::from_secs(20)),
    ));
    let since = Instant::now();
    assert_eq!(list(&world).await.0, 504);
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn an_export_that_breaks_in_the_middle_breaks_the_connection() {
    let world = Plan::default().start().await;
    for number in 0..250 {
        world.tenant.add_user(crate::world::person(number));
    }
    // Read chunk by chunk: the tenant goes away after the first.
    use http_body_util::BodyExt as _;
    let request = http::Request::get("/users/export")
        .header("host", "www.example.org")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let mut body = world
        .service
        .handle(request, None)
        .await
        .unwrap()
        .into_body();
    world
        .tenant
        .inject(Fault::on("/api/v2/users", status(403, "{}")));
    let mut broken = false;
    while let Some(frame) = body.frame().await {
        broken |= frame.is_err();
        if broken {
            break;
        }
    }
    assert!(broken, "a list that is cut short looks whole");
}

fn limits(management: Bucket) -> TenantSettings {
    let generous = Bucket {
        burst: 1000,
        per_minute: 60_000,
    };
    TenantSettings {
        rate_limits: Some(RateLimits {
            token: generous,
            management,
            global: None,
            ..RateLimits::default()
        }),
        ..TenantSettings::default()
    }
}

#[tokio::test]
async fn a_wait_that_fits_is_waited_and_one_that_does_not_is_told() {
    let two_a_second = Bucket {
        burst: 2,
        per_minute: 120,
    };
    let world = Plan {
        tenant: limits(two_a_second),
        ..Plan::default()
    }
    .start()
    .await;
    let work: Vec<_> = (0..8)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { list(&world).await.0 })
        })
        .collect();
    for work in work {
        assert_eq!(work.await.unwrap(), 200);
    }
    // One in a minute, and a request that may take two seconds.
    let slow = Bucket {
        burst: 1,
        per_minute: 1,
    };
    let variables = vec![
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
        ("REQUEST_TIMEOUT_SECONDS", "2"),
    ];
    let world = Plan {
        tenant: limits(slow),
        variables,
        ..Plan::default()
    }
    .start()
    .await;
    assert_eq!(list(&world).await.0, 200);
    let since = Instant::now();
    let (status, body, wait) = list(&world).await;
    assert_eq!(status, 429, "{body}");
    let code = r#""errorCode":"too_many_requests""#;
    assert!(body.contains(code), "{body}");
    let wait: u64 = wait.unwrap().parse().unwrap();
    assert!((50..=61).contains(&wait), "{wait}");
    assert!(since.elapsed() < Duration::from_secs(2));
}

/// A tenant of two calls a second, and thirty calls at once from three callers.
#[tokio::test]
async fn a_burst_completes_in_the_order_of_the_lanes() {
    use auth0_api::management::{Call, ListUsers, ManagementApi as _};
    let two_a_second = Bucket {
        burst: 2,
        per_minute: 120,
    };
    let world = Plan {
        tenant: limits(two_a_second),
        ..Plan::default()
    }
    .start()
    .await;
    let url = auth0_api::Tenant::parse(world.tenant.url()).unwrap();
    let application = auth0_api::Application {
        tenant: url.clone(),
        client_id: "dev-management".to_owned(),
        client_secret: auth0_api::ClientSecret::new("dev-management-secret"),
    };
    let audience = auth0_api::ManagementClient::audience(&url);
    let client = auth0_api::ManagementClient::new(world.client.clone(), application, audience);
    let client = std::sync::Arc::new(client);
    let request = ListUsers {
        per_page: 1,
        ..ListUsers::default()
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
    // The bucket is emptied and known first.
    for _ in 0..3 {
        client
            .list_users(
                Call {
                    lane: Lane::Admin,
                    deadline,
                },
                &request,
            )
            .await
            .unwrap();
    }
    let done = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut work = Vec::new();
    // The last lane asks first.
    for lane in [Lane::Import, Lane::Admin, Lane::Refresh] {
        for _ in 0..10 {
            let (client, request, done) = (
                std::sync::Arc::clone(&client),
                request.clone(),
                std::sync::Arc::clone(&done),
            );
            work.push(tokio::spawn(async move {
                client
                    .list_users(Call { lane, deadline }, &request)
                    .await
                    .unwrap();
                done.lock().unwrap().push(lane);
            }));
        }
        tokio::task::yield_now().await;
    }
    for work in work {
        work.await.unwrap();
    }
    let order = done.lock().unwrap().clone();
    let misplaced = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    // Two calls may have been under way when an earlier lane came.
    assert!(misplaced <= 2, "{order:?}");
    assert_eq!(order.last(), Some(&Lane::Import));
}

/// Threat 25: what administers is reachable where it should not be; a debug surface is left open.
#[tokio::test]
async fn threat_25_listeners_are_apart_and_nothing_else_is_served() {
    use gateway_core::http::Listener;
    let variables = vec![("MANAGEMENT_HTTP_PORT", "9000")];
    let mut world = Plan {
        variables,
        ..Plan::default()
    }
    .start()
    .await;
    let main = world.service.clone();
    let paths = [
        ("GET", "/users"),
        ("GET", "/users/count"),
        ("GET", "/users/active"),
        ("GET", "/users/export"),
        ("GET", "/users/auth0%7Cx"),
        ("POST", "/users/import"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/auth0%7Cx"),
    ];
    for (method, path) in paths {
        assert_eq!(
            world.json(method, path, &json!(null)).await.0,
            404,
            "{path}"
        );
    }
    world.service = main.on(Listener::Management);
    assert_eq!(world.get("/users/count").await.0, 200);
    assert_eq!(world.get("/users/active").await.0, 200);
    for path in ["/userinfo", "/users/me", "/auth", "/authorize", "/logout"] {
        assert_eq!(world.get(path).await.0, 404, "{path}");
    }
    for service in [main.clone(), main.on(Listener::Management)] {
        world.service = service;
        for path in [
            "/debug/pprof",
            "/debug",
            "/-/debug",
            "/_dev/users",
            "/actuator",
            "/-/env",
            "/.env",
        ] {
            assert_eq!(world.get(path).await.0, 404, "{path}");
        }
    }
}

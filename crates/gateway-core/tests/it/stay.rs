//! Staying signed in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Version};
use serde_json::json;

use crate::world::{Answer, World, world};

async fn by_cookie(world: &World, sid: &str) -> Answer {
    world
        .get("/userinfo", &[("cookie", &format!("sid={sid}"))])
        .await
}

async fn by_bearer(world: &World, token: &str) -> Answer {
    world
        .get(
            "/userinfo",
            &[("authorization", &format!("Bearer {token}"))],
        )
        .await
}

#[tokio::test]
async fn the_profile_is_what_the_services_behind_read() {
    let world = world();
    let sid = world.sign_in("website", "mia").await.sid();
    let answer = by_cookie(&world, &sid).await;
    insta::assert_snapshot!(answer.body, @r#"{"app_metadata":{"groups":["users","a,b"]},"groups":["users","a,b"],"name":"Zoë","sub":"mia"}"#);
    assert_eq!(answer.header("vary"), "Authorization, Cookie");
    let auth = world
        .get("/auth", &[("cookie", &format!("sid={sid}"))])
        .await;
    assert_eq!((auth.status.as_u16(), auth.body.as_str()), (200, ""));
    assert_eq!(auth.header("miauserid"), "mia");
    assert_eq!(auth.header("miausergroups"), "users,a%2Cb");
    assert!(auth.header("miauserproperties").contains(r"Zo\u00eb"));
    let envoy = world
        .send(
            "DELETE",
            "/auth/orders/1",
            &[("cookie", &format!("sid={sid}"))],
            "",
        )
        .await;
    assert_eq!(envoy.header("miauserid"), "mia");
    // No token is ever part of an answer about a person (threat 24).
    assert!(!answer.body.contains("canary"));
}

#[tokio::test]
async fn without_a_session_it_is_401() {
    let world = world();
    for headers in [
        &[][..],
        &[("cookie", "sid=x")],
        &[("cookie", "sid=")],
        &[("authorization", "Bearer x")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic eDp5")],
    ] {
        let answer = world.get("/userinfo", headers).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("www-authenticate")),
            (401, "Bearer")
        );
    }
    let sid = world.sign_in("website", "mia").await.sid();
    let both = format!("sid={sid}; sid={sid}");
    assert_eq!(
        world.get("/userinfo", &[("cookie", &both)]).await.status,
        400
    );
    // The header wins.
    let headers = [
        ("cookie", format!("sid={sid}")),
        ("authorization", "Bearer x".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(world.get("/userinfo", &headers).await.status, 401);
}

#[tokio::test]
async fn two_hundred_checks_of_a_run_out_session_make_one_refresh() {
    let world = Arc::new(world());
    for client in ["website", "opaque"] {
        let sid = world.sign_in(client, "mia").await.sid();
        for round in 1..=3 {
            world.auth0.refreshes.store(0, Ordering::SeqCst);
            world.clock.advance(Duration::from_secs(51));
            let checks: Vec<_> = (0..200)
                .map(|_| {
                    let (world, sid) = (Arc::clone(&world), sid.clone());
                    tokio::spawn(async move { by_cookie(&world, &sid).await })
                })
                .collect();
            for check in checks {
                let answer = check.await.unwrap();
                assert_eq!(answer.json()["sub"], "mia", "round {round}");
                assert_eq!(answer.header("set-cookie"), "");
            }
            assert_eq!(world.auth0.refreshes.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test]
async fn nothing_is_refreshed_behind_a_bearers_back() {
    let world = world();
    let token = world.sign_in("api", "mia").await.json()["accessToken"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(by_bearer(&world, &token).await.status, 200);
    world.clock.advance(Duration::from_secs(51));
    assert_eq!(by_bearer(&world, &token).await.status, 401);
    assert_eq!(world.auth0.refreshes.load(Ordering::SeqCst), 0);
    // One value in both places is a bearer.
    let headers = [
        ("cookie", format!("sid={token}")),
        ("authorization", format!("Bearer {token}")),
    ];
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(world.get("/userinfo", &headers).await.status, 401);
}

#[tokio::test]
async fn auth0_away_keeps_everybody() {
    let world = world();
    let sid = world.sign_in("website", "mia").await.sid();
    *world.auth0.away.lock().unwrap() = true;
    assert_eq!(by_cookie(&world, &sid).await.status, 200);
    world.clock.advance(Duration::from_secs(51));
    for _ in 0..3 {
        let answer = by_cookie(&world, &sid).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "2");
        assert_eq!(answer.header("set-cookie"), "");
    }
    *world.auth0.away.lock().unwrap() = false;
    assert_eq!(by_cookie(&world, &sid).await.status, 200);
}

#[tokio::test]
async fn threat_12_a_refresh_that_does_not_hold_ends_the_session() {
    let world = world();
    let sid = world.sign_in("website", "mia").await.sid();
    world.clock.advance(Duration::from_secs(51));
    *world.auth0.edit.lock().unwrap() = |claims| claims["sub"] = json!("bob");
    assert_eq!(by_cookie(&world, &sid).await.status, 401);
    *world.auth0.edit.lock().unwrap() = |_| {};
    assert_eq!(by_cookie(&world, &sid).await.status, 401);
    assert_eq!(world.get("/users/active", &[]).await.body, "[]");
}

#[tokio::test]
async fn threat_23_refreshed_claims_replace_the_old_ones() {
    let world = world();
    let sid = world.sign_in("website", "mia").await.sid();
    world.clock.advance(Duration::from_secs(51));
    *world.auth0.edit.lock().unwrap() =
        |claims| claims["https://mia-platform.eu/app_metadata"] = json!({"groups": ["new"]});
    assert_eq!(
        by_cookie(&world, &sid).await.json()["groups"],
        json!(["new"])
    );
}

#[tokio::test]
async fn an_explicit_refresh_replaces_the_bearer() {
    let world = world();
    let first = world.sign_in("api", "mia").await.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (old, refresh) = (text(&first["accessToken"]), text(&first["refreshToken"]));
    let bearer = format!("Bearer {old}");
    let ask = |headers: Vec<(&'static str, String)>, body: String| {
        let world = &world;
        async move {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            world.form("/refreshtoken", &headers, &body).await
        }
    };
    let auth = || vec![("authorization", bearer.clone())];
    assert_eq!(ask(auth(), String::new()).await.status, 400);
    assert_eq!(
        ask(auth(), "refresh_token=foreign".into()).await.status,
        401
    );
    let mut other_client = auth();
    other_client.push(("client-type", "website".into()));
    assert_eq!(
        ask(other_client, format!("refresh_token={refresh}"))
            .await
            .status,
        401
    );
    assert_eq!(
        ask(
            auth(),
            format!("refresh_token={refresh}&refreshToken={refresh}")
        )
        .await
        .status,
        400
    );

    let second = ask(auth(), format!("refresh_token={refresh}")).await.json();
    let new = text(&second["accessToken"]);
    assert_ne!(new, old);
    // Late, with what the refresh replaced: the same result, and no other call.
    let third = ask(auth(), format!("refresh_token={refresh}")).await.json();
    assert_eq!(second, third);
    assert_eq!(world.auth0.refreshes.load(Ordering::SeqCst), 1);
    assert_eq!(by_bearer(&world, &old).await.status, 200);
    assert_eq!(by_bearer(&world, &new).await.status, 200);
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(by_bearer(&world, &old).await.status, 401);
    assert_eq!(by_bearer(&world, &new).await.status, 200);
    assert_eq!(
        ask(auth(), format!("refresh_token={refresh}")).await.status,
        401
    );
    assert_eq!(
        world.get("/users/active", &[]).await.body,
        r#"[{"userId":"mia"}]"#
    );
}

#[tokio::test]
async fn an_explicit_refresh_by_cookie_gives_two_tabs_the_same_cookie() {
    let world = world();
    for client in ["website", "opaque"] {
        let old = world.sign_in(client, "mia").await.sid();
        let cookie = format!("sid={old}");
        let headers = [("cookie", cookie.as_str())];
        let (one, two) = tokio::join!(
            world.form("/refreshtoken", &headers, ""),
            world.form("/refreshtoken", &headers, "")
        );
        let late = world.form("/refreshtoken", &headers, "").await;
        assert_eq!((one.status.as_u16(), one.body.as_str()), (200, ""));
        assert_ne!(one.sid(), old);
        assert_eq!((one.sid(), one.sid()), (two.sid(), late.sid()), "{client}");
        assert_eq!(by_cookie(&world, &one.sid()).await.status, 200);
        assert_eq!(by_cookie(&world, &old).await.status, 200);
        world.clock.advance(Duration::from_secs(31));
        assert_eq!(by_cookie(&world, &old).await.status, 401);
        assert_eq!(by_cookie(&world, &one.sid()).await.status, 200);
    }
}

/// Between a refresh and the new cookie there is a moment. Who comes in it gets what the refresh brought,
/// and does not use the next token up for a cookie of its own.
#[tokio::test]
async fn who_comes_between_a_refresh_and_the_new_cookie_gets_what_it_brought() {
    for client in ["website", "opaque"] {
        let world = world();
        let refreshes = || world.auth0.refreshes.load(Ordering::SeqCst);
        let first = world.sign_in(client, "mia").await.sid();
        world.clock.advance(Duration::from_secs(51));
        // A refresh that leaves the cookie as it is.
        assert_eq!(by_cookie(&world, &first).await.status, 200);
        assert_eq!(refreshes(), 1);
        let refresh = async |sid: &str| {
            let cookie = format!("sid={sid}");
            let answer = world
                .form("/refreshtoken", &[("cookie", &cookie)], "")
                .await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            answer.sid()
        };
        let second = refresh(&first).await;
        assert_eq!(
            (refreshes(), refresh(&first).await),
            (1, second.clone()),
            "{client}"
        );
        assert_ne!(first, second);
        // Who holds the newest asks for more, and so does who asks long after.
        world.clock.advance(Duration::from_millis(1));
        let third = refresh(&second).await;
        assert_eq!(
            (refreshes(), refresh(&second).await),
            (2, third.clone()),
            "{client}"
        );
        world.clock.advance(Duration::from_secs(51));
        assert_eq!(by_cookie(&world, &third).await.status, 200);
        world.clock.advance(Duration::from_secs(31));
        assert_ne!(refresh(&third).await, third);
        assert_eq!(refreshes(), 4, "{client}");
    }
}

#[tokio::test]
async fn active_users_come_once_in_order() {
    let world = world();
    for name in ["zoe", "mia", "bob", "mia"] {
        world.sign_in("api", name).await;
    }
    let body = |path: &'static str| {
        let world = &world;
        async move { world.get(path, &[]).await.body }
    };
    assert_eq!(
        body("/users/active").await,
        r#"[{"userId":"bob"},{"userId":"mia"},{"userId":"zoe"}]"#
    );
    assert_eq!(
        body("/users/active?_l=1&_sk=1").await,
        r#"[{"userId":"mia"}]"#
    );
    assert_eq!(body("/users/active?_sk=9").await, "[]");
    assert_eq!(world.get("/users/active?_l=0", &[]).await.status, 400);
    assert_eq!(world.get("/users/active?x=1", &[]).await.status, 400);
    world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(body("/users/active").await, "[]");
}

#[tokio::test]
async fn threat_3_health_answers_on_its_own_paths_alone() {
    let world = world();
    let probe = [("user-agent", "kube-probe/1.30")];
    assert_eq!(world.get("/-/healthz", &probe).await.status, 200);
    assert_eq!(world.get("/userinfo", &probe).await.status, 401);
    assert_eq!(world.get("/-/ready", &[]).await.status, 200);
    world.service.drain();
    assert_eq!(world.get("/-/ready", &[]).await.json()["status"], "KO");
}

#[tokio::test]
async fn once_it_drains_answers_say_that_the_connection_ends() {
    let world = world();
    let ask = |version| {
        let request = Request::get("https://www.example.org/-/healthz");
        let request = request.version(version).header("host", "www.example.org");
        world.ask(request, "")
    };
    let http_11 = |path| world.get(path, &[]);
    for path in ["/-/healthz", "/userinfo", "/nowhere"] {
        assert_eq!(http_11(path).await.header("connection"), "");
    }
    world.service.drain();
    for path in ["/-/healthz", "/userinfo", "/nowhere"] {
        assert_eq!(http_11(path).await.header("connection"), "close");
    }
    assert_eq!(ask(Version::HTTP_10).await.header("connection"), "close");
    // There is no such header in HTTP/2.
    assert_eq!(ask(Version::HTTP_2).await.header("connection"), "");
}

#[tokio::test]
async fn the_identity_providers_own_limit_ends_a_session_whatever_is_refreshed() {
    let world = world();
    // An hour from the clock's beginning, and every token lives for a minute.
    *world.auth0.edit.lock().unwrap() = |claims| {
        let end = claims["iat"].as_i64().unwrap() + 3600;
        claims.insert("session_expiry".to_owned(), end.into());
    };
    let sid = world.sign_in("opaque", "mia").await.sid();
    let mut sid = sid;
    for minutes in [30, 29] {
        world.clock.advance(Duration::from_secs(minutes * 60));
        let cookie = format!("sid={sid}");
        let answer = world
            .form("/refreshtoken", &[("cookie", &cookie)], "")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        sid = answer.sid();
        assert_eq!(by_cookie(&world, &sid).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(by_cookie(&world, &sid).await.status, 401);
}

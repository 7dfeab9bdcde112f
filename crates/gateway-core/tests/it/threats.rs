//! Named after the advisories they are about.

use std::collections::HashMap;

use crate::world::world;

#[tokio::test]
async fn threat_17_no_cache_keeps_an_answer_about_a_person() {
    let world = world();
    let cookie = format!("sid={}", world.sign_in("website", "mia").await.sid());
    for path in ["/userinfo", "/auth", "/users/me"] {
        let answer = world.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("vary"), "Authorization, Cookie");
    }
    for answer in [
        world.sign_in("website", "bob").await,
        world
            .form("/refreshtoken", &[("cookie", &cookie)], "")
            .await,
        world.get("/logout", &[("cookie", &cookie)]).await,
        world.get("/userinfo", &[]).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn threat_19_a_redirect_target_makes_no_oauth_parameters() {
    let world = world();
    let target =
        "/x%26audience%3Devil%26connection%3Devil%26redirect_uri%3Dhttps%3A%2F%2Fevil.example";
    let hint = "a%26audience%3Devil";
    let (_, answer) = world
        .begin(
            &format!("/authorize?redirect={target}&login_hint={hint}"),
            "website",
        )
        .await;
    let url = url::Url::parse(answer.header("location")).unwrap();
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(
        query["redirect_uri"],
        "https://www.example.org/web-login/callback"
    );
    assert_eq!(query["login_hint"], "a&audience=evil");
    assert!(!query.contains_key("audience") && !query.contains_key("connection"));
}

#[tokio::test]
async fn threat_20_a_max_age_that_was_asked_for_is_checked() {
    let world = world();
    for (auth_time, status) in [(None, 401), (Some(-400), 401), (Some(-100), 200)] {
        let (state, answer) = world.begin("/authorize?max_age=300", "website").await;
        assert!(answer.header("location").contains("max_age=300"));
        // The clock of the tests stands at a round instant.
        *world.auth0.edit.lock().unwrap() = match auth_time {
            Some(-400) => |claims| {
                claims.insert("auth_time".into(), (1_790_000_000_i64 - 400).into());
            },
            Some(_) => |claims| {
                claims.insert("auth_time".into(), (1_790_000_000_i64 - 100).into());
            },
            None => |_| {},
        };
        let answer = world
            .form("/oauth/token", &[], &format!("code=mia&state={state}"))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{auth_time:?}");
    }
    assert_eq!(world.get("/authorize?max_age=soon", &[]).await.status, 400);
}

#[tokio::test]
async fn threat_24_no_answer_about_people_holds_a_token() {
    let world = world();
    let cookie = format!("sid={}", world.sign_in("website", "mia").await.sid());
    for path in ["/userinfo", "/users/me", "/auth", "/users/active"] {
        let answer = world.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(answer.status, 200);
        let shown = format!("{:?} {}", answer.headers, answer.body);
        for secret in ["canary", "eyJ"] {
            assert!(!shown.contains(secret), "{path}: {shown}");
        }
    }
}

#[tokio::test]
async fn threat_42_a_session_opens_to_its_whole_credential_alone() {
    let world = world();
    let sid = world.sign_in("opaque", "mia").await.sid();
    let shorter = &sid[..42];
    for value in [
        shorter,
        &format!("{sid}x"),
        &sid.to_lowercase(),
        &sid.to_uppercase(),
        "mia",
    ] {
        let answer = world
            .get("/userinfo", &[("cookie", &format!("sid={value}"))])
            .await;
        assert_eq!(answer.status, 401, "{value}");
    }
}

#[tokio::test]
async fn threat_2_and_28_identity_headers_of_the_caller_are_not_believed() {
    let world = world();
    let forged = [
        ("miauserid", "admin"),
        ("MIAUSERID", "admin"),
        ("mia_userid", "admin"),
        ("connection", "miauserid"),
    ];
    assert_eq!(world.get("/auth", &forged).await.status, 401);
    let cookie = format!("sid={}", world.sign_in("website", "mia").await.sid());
    let headers = [&forged[..], &[("cookie", cookie.as_str())]].concat();
    let answer = world.get("/auth", &headers).await;
    assert_eq!(answer.headers.get_all("miauserid").iter().count(), 1);
    assert_eq!(answer.header("miauserid"), "mia");
}

/// Threat 22: a token leaks by a URL.
#[tokio::test]
async fn threat_22_no_token_is_ever_in_a_url() {
    let world = world();
    let sid = world.sign_in("website", "mia").await.sid();
    let cookie = format!("sid={sid}");
    let mut locations = Vec::new();
    for path in [
        "/authorize?redirect=/x",
        "/web-login?redirect=/x",
        "/logout?redirect=/x",
        "/logout",
    ] {
        let client = if path.starts_with("/web-login") {
            "pages"
        } else {
            "website"
        };
        let headers = [("cookie", cookie.as_str()), ("client-type", client)];
        let answer = world.get(path, &headers).await;
        locations.push(answer.header("location").to_owned());
    }
    let (state, _) = world.begin("/authorize?redirect=/x", "website").await;
    let body = format!("grant_type=authorization_code&code=mia&state={state}");
    let answer = world
        .form("/oauth/token", &[("client-type", "website")], &body)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    locations.push(answer.header("location").to_owned());
    for location in locations {
        assert!(!location.is_empty());
        assert!(
            !location.contains("canary") && !location.contains(&sid),
            "{location}"
        );
    }
    // Nor is one read from a URL.
    for name in ["access_token", "token", "sid", "authorization"] {
        let path = format!("/userinfo?{name}={sid}");
        assert_eq!(world.get(&path, &[]).await.status, 401, "{name}");
    }
}

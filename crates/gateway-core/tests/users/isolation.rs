//! An environment touches its own connections' users, by whatever route.

use serde_json::{Value, json};

use crate::tenant::{World, staff_only, world};

fn person(world: &World, id: &str, connection: &str) {
    world.tenant.add(json!({
        "user_id": id, "email": format!("{connection}@example.org"),
        "created_at": "2026-01-01T00:00:00.000Z", "app_metadata": {"team": connection},
        "identities": [{"connection": connection}],
    }));
}

#[tokio::test]
async fn unsupported_connections_alone_are_nobody_and_no_call() {
    let world = staff_only();
    person(&world, "auth0|a", "partners");
    assert_eq!(world.get("/users?connection=partners").await.1, json!([]));
    assert_eq!(
        world.get("/users/count?connection=partners").await.1,
        json!(0)
    );
    assert_eq!(
        world
            .send("GET", "/users/export?connection=partners", &[], b"")
            .await
            .2,
        ""
    );
    assert!(world.calls().is_empty());
    let (_, explained) = world.get("/users?connection=partners&_explain=true").await;
    assert_eq!(explained["pages"], json!([]));
    // Named beside a supported one, it is cut off.
    let (_, explained) = world
        .get("/users?connection=partners,staff&_explain=true")
        .await;
    assert_eq!(explained["q"], r#"(identities.connection:"staff")"#);
    assert_eq!(world.get("/users").await.1, json!([]));
}

#[tokio::test]
async fn a_create_goes_to_a_supported_connection() {
    let world = staff_only();
    let (status, body) = world
        .json(
            "POST",
            "/users",
            &json!({"email": "a@b.cd", "connection": "partners"}),
        )
        .await;
    assert_eq!(status, 400, "{body}");
    assert!(world.calls().is_empty());
    let (status, _) = world
        .json("POST", "/users", &json!({"email": "a@b.cd"}))
        .await;
    assert_eq!(status, 201);
    assert_eq!(world.calls(), [r#"create in "staff""#]);
    for body in [
        "{\"connection\":7}",
        "[]",
        "{\"email\":\"a\",\"email\":\"b\"}",
        "{",
        "\"x\"",
    ] {
        let headers = [("content-type", "application/json")];
        let (status, _, said) = world
            .send("POST", "/users", &headers, body.as_bytes())
            .await;
        assert_eq!(status, 400, "{body}: {said}");
    }
    let headers = [("content-type", "text/plain")];
    assert_eq!(world.send("POST", "/users", &headers, b"{}").await.0, 415);
    let large = format!("{{\"email\":\"{}\"}}", "x".repeat(5000));
    let headers = [("content-type", "application/json")];
    assert_eq!(
        world
            .send("POST", "/users", &headers, large.as_bytes())
            .await
            .0,
        413
    );

    // Nothing is restricted, and nothing is a default.
    let open = world_without_connections();
    let (status, body) = open
        .json("POST", "/users", &json!({"email": "a@b.cd"}))
        .await;
    assert_eq!(status, 400);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("defaultManagementConnectionName")
    );
}

fn world_without_connections() -> World {
    world(Some(json!({})))
}

#[tokio::test]
async fn another_environments_user_is_not_there() {
    let world = staff_only();
    person(&world, "auth0|theirs", "partners");
    person(&world, "auth0|ours", "staff");
    for (method, path, body) in [
        ("GET", "/users/auth0%7Ctheirs", Value::Null),
        ("PATCH", "/users/auth0%7Ctheirs", json!({"blocked": true})),
        ("DELETE", "/users/auth0%7Ctheirs", Value::Null),
        ("POST", "/users/auth0%7Ctheirs/change-password", json!({})),
    ] {
        world.open_session("auth0|theirs", method).await;
        let (status, answer) = world.json(method, path, &body).await;
        assert_eq!(status, 404, "{method} {answer}");
        assert_eq!(answer["errorCode"], "inexistent_user");
        // Nothing is sent but look-ups.
        assert!(
            world.calls().iter().all(|call| call == "get auth0|theirs"),
            "{method}"
        );
        // The same words as for somebody who is nowhere.
        let nobody = path.replace("theirs", "nobody");
        assert_eq!(world.json(method, &nobody, &body).await.1, answer);
        world.calls();
    }
    assert_eq!(world.tenant.users.lock().unwrap().len(), 2);
    // Their sessions go on: there are as many as were opened.
    let sessions = world.get("/sessions?userId=auth0%7Ctheirs").await.1;
    assert_eq!(sessions.as_array().unwrap().len(), 4);

    let (status, _) = world
        .json(
            "PATCH",
            "/users/auth0%7Cours",
            &json!({"connection": "partners"}),
        )
        .await;
    assert_eq!(status, 400);
    assert!(world.calls().is_empty());
    assert_eq!(world.get("/users/auth0%7Cours").await.0, 200);
    assert_eq!(
        world
            .json("DELETE", "/users/auth0%7Cours", &Value::Null)
            .await
            .0,
        204
    );
}

#[tokio::test]
async fn the_check_can_be_switched_off() {
    let world = world(Some(json!({
        "supportedConnectionsMap": {"staff": {"connectionId": "con_AbCdEfGh12345678"}},
        "enforceConnections": false,
    })));
    person(&world, "auth0|theirs", "partners");
    assert_eq!(
        world
            .json("DELETE", "/users/auth0%7Ctheirs", &Value::Null)
            .await
            .0,
        204
    );
    assert_eq!(world.calls(), ["delete auth0|theirs"]);
}

#[tokio::test]
async fn an_acl_binds_the_routes_of_one_user() {
    let world = world_without_connections();
    person(&world, "auth0|a", "staff");
    let staff = ("acl_rows", r#"{"app_metadata.team":"staff"}"#);
    let others = ("acl_rows", r#"[{"app_metadata.team":{"$ne":"staff"}}]"#);
    for (method, body) in [("GET", ""), ("PATCH", "{}"), ("DELETE", "")] {
        let json = ("content-type", "application/json");
        let path = "/users/auth0%7Ca";
        assert_eq!(
            world
                .send(method, path, &[others, json], body.as_bytes())
                .await
                .0,
            404,
            "{method}"
        );
        let (status, _, said) = world
            .send(method, path, &[staff, json], body.as_bytes())
            .await;
        assert!(status.is_success(), "{method} {said}");
    }
    for broken in ["", "{", "{\"nope\":1}"] {
        for (method, path) in [
            ("GET", "/users"),
            ("GET", "/users/auth0%7Ca"),
            ("DELETE", "/users/auth0%7Ca"),
            ("POST", "/users"),
        ] {
            let (status, _, said) = world.send(method, path, &[("acl_rows", broken)], b"").await;
            assert_eq!(status, 400, "{method} {path} {said}");
        }
    }
    assert_eq!(
        world.send("GET", "/users", &[staff, staff], b"").await.0,
        400
    );
}

/// What Auth0's search makes of two types is not documented: so it opens nothing here.
#[tokio::test]
async fn an_acl_that_compares_two_types_lets_nobody_through() {
    let world = world_without_connections();
    for (at, level) in [json!("7"), json!(7), json!(5.0), json!(["x", 7])]
        .into_iter()
        .enumerate()
    {
        world.tenant.add(json!({
            "user_id": format!("auth0|{at}"), "email": format!("{at}@example.org"),
            "identities": [{"connection": "staff"}], "app_metadata": {"level": level},
        }));
    }
    for (user, condition, passes) in [
        (0, json!({"$gte": 5}), false),
        (0, json!({"$gte": "5"}), true),
        (1, json!({"$gte": "5"}), false),
        (1, json!({"$gte": 5}), true),
        (1, json!("7"), true),
        (2, json!("5"), false),
        (2, json!("6"), false),
        (3, json!({"$gte": 5}), true),
        (3, json!("x"), true),
    ] {
        let path = format!("/users/auth0%7C{user}");
        let ask = async |acl: Value| {
            let acl = acl.to_string();
            let answer = world.send("GET", &path, &[("acl_rows", &acl)], b"").await;
            answer.0.is_success()
        };
        let told = ask(json!({"app_metadata.level": condition})).await;
        assert_eq!(told, passes, "{user} {condition}");
        let opposite = ask(json!({"$nor": [{"app_metadata.level": condition}]})).await;
        let certain = passes || condition == json!("6");
        assert_eq!(opposite, certain && !passes, "{user} not {condition}");
    }
}

#[tokio::test]
async fn an_acl_binds_sessions() {
    let world = world_without_connections();
    person(&world, "auth0|a", "staff");
    world.open_session("auth0|a", "s1").await;
    let staff = r#"{"app_metadata.team":"staff"}"#;
    let others = r#"{"app_metadata.team":{"$ne":"staff"}}"#;
    let id = world.get("/sessions?userId=auth0%7Ca").await.1[0]["sessionId"].clone();
    let one = format!("/sessions/auth0%7Ca/{}", id.as_str().unwrap());
    for (method, path, acl, status, said) in [
        ("GET", "/sessions?userId=auth0%7Ca", others, 200, "[]"),
        ("GET", "/sessions?userId=auth0%7Cnobody", staff, 200, "[]"),
        ("GET", "/sessions?userId=auth0%7Ca", staff, 200, "sessionId"),
        ("GET", "/sessions", "{}", 200, "sessionId"),
        ("GET", "/sessions", staff, 400, "userId"),
        ("GET", "/users/active", staff, 400, "acl_rows"),
        ("DELETE", &one, others, 404, "session"),
        (
            "DELETE",
            "/sessions/auth0%7Ca",
            others,
            200,
            r#"{"count":0}"#,
        ),
        (
            "DELETE",
            "/sessions/auth0%7Ca",
            staff,
            200,
            r#"{"count":1}"#,
        ),
        ("GET", "/sessions", "{", 400, "acl_rows"),
        ("GET", "/users/active", "{", 400, "acl_rows"),
        ("DELETE", "/sessions/auth0%7Ca", "{", 400, "acl_rows"),
        ("DELETE", &one, "{", 400, "acl_rows"),
        ("GET", "/users/import/status/job_1", "{", 400, "acl_rows"),
        (
            "GET",
            "/users/import/status/job_1/errors",
            "{",
            400,
            "acl_rows",
        ),
        (
            "GET",
            "/users/import/status/job_1?x=1",
            "{}",
            400,
            "x is not",
        ),
    ] {
        let (got, _, body) = world.send(method, path, &[("acl_rows", acl)], b"").await;
        assert_eq!(got, status, "{method} {path} {acl}: {body}");
        assert!(body.contains(said), "{method} {path} {acl}: {body}");
    }
}

#[tokio::test]
async fn deleting_or_blocking_ends_sessions() {
    let world = world_without_connections();
    person(&world, "auth0|a", "staff");
    for (at, (method, body, left)) in [
        ("PATCH", json!({"blocked": false}), 2),
        ("PATCH", json!({"blocked": true}), 0),
        ("DELETE", Value::Null, 0),
    ]
    .into_iter()
    .enumerate()
    {
        world.open_session("auth0|a", &format!("{at}-1")).await;
        world.open_session("auth0|a", &format!("{at}-2")).await;
        world.open_session("auth0|b", &format!("{at}-3")).await;
        world.json(method, "/users/auth0%7Ca", &body).await;
        let sessions = world.get("/sessions?userId=auth0%7Ca").await.1;
        assert_eq!(sessions.as_array().unwrap().len(), left, "{method}");
    }
    assert_eq!(
        world.get("/users/active").await.1,
        json!([{"userId": "auth0|b"}])
    );
}

#[tokio::test]
async fn sessions_are_listed_without_tokens_and_ended() {
    let world = world_without_connections();
    for number in 0..30 {
        world
            .open_session(&format!("auth0|{:02}", number / 2), &format!("s{number}"))
            .await;
    }
    let (_, first) = world.get("/sessions").await;
    assert_eq!(first.as_array().unwrap().len(), 25);
    let (_, rest) = world.get("/sessions?_sk=25&_l=100").await;
    assert_eq!(rest.as_array().unwrap().len(), 5);
    assert!(!first.to_string().contains("canary"), "threat 24");
    let session = &first[0];
    assert_eq!(session["userId"], "auth0|00");
    assert_eq!(session["ipAddress"], "192.0.2.7");
    assert_eq!(session["userAgent"], "Firefox");
    assert_eq!(session["client"], "app");
    let path = format!(
        "/sessions/auth0%7C00/{}",
        session["sessionId"].as_str().unwrap()
    );
    assert_eq!(world.json("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(world.json("DELETE", &path, &Value::Null).await.0, 404);
    assert_eq!(
        world
            .json("DELETE", "/sessions/auth0%7C00/x", &Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(
        world
            .json("DELETE", "/sessions/auth0%7C01", &Value::Null)
            .await
            .1,
        json!({"count": 2})
    );
    assert_eq!(
        world
            .json("DELETE", "/sessions/auth0%7C01", &Value::Null)
            .await
            .1,
        json!({"count": 0})
    );
    assert_eq!(world.get("/sessions?_l=0").await.0, 400);
    assert_eq!(world.get("/sessions?user=x").await.0, 400);
}

#[tokio::test]
async fn threat_27_ids_reach_auth0_as_they_are_and_never_as_another_path() {
    let world = world_without_connections();
    for (path, id) in [
        ("auth0%7Cx", "auth0|x"),
        ("auth0|x", "auth0|x"),
        ("google-oauth2%7C1", "google-oauth2|1"),
        ("samlp%7Ca%7Cb%40c", "samlp|a|b@c"),
        ("auth0%7Ca%2Fb", "auth0|a/b"),
        ("auth0%7C100%25", "auth0|100%"),
        ("auth0%7C%252e%252e", "auth0|%2e%2e"),
        ("auth0%7C..%2F..", "auth0|../.."),
        ("ad%7CJ%C3%B6rg%20M", "ad|J\u{f6}rg M"),
    ] {
        world
            .json("DELETE", &format!("/users/{path}"), &Value::Null)
            .await;
        assert_eq!(world.calls(), [format!("delete {id}")], "{path}");
    }
    for path in [
        "",
        ".",
        "..",
        "%2e%2e",
        "%2e",
        "x",
        "auth0%7C",
        "%7Cx",
        "auth0%7C%00",
        "auth0%7C%ff",
        "auth0%7C%",
        "a/b",
        "..%2F..",
        "%20",
    ] {
        for method in ["GET", "DELETE"] {
            let (status, _) = world
                .json(method, &format!("/users/{path}"), &Value::Null)
                .await;
            assert!(
                [400, 404, 405].contains(&status.as_u16()),
                "{method} {path} {status}"
            );
        }
        assert!(world.calls().is_empty(), "{path}");
    }
    assert_eq!(world.json("DELETE", "/users", &Value::Null).await.0, 405);
    assert_eq!(world.json("DELETE", "/users/", &Value::Null).await.0, 404);
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_ticket_takes_what_it_says() {
    let world = world_without_connections();
    let body = json!({"resultUrl": "https://app.example.org/done", "ttlSeconds": 60});
    let (status, answer) = world
        .json("POST", "/users/auth0%7Ca/change-password", &body)
        .await;
    assert_eq!(
        (status.as_u16(), answer),
        (201, json!({"ticket": "https://tenant/ticket#1"}))
    );
    let calls = world.calls();
    assert!(
        calls[0].contains("app.example.org") && calls[0].contains("60"),
        "{calls:?}"
    );
    assert_eq!(
        world
            .send("POST", "/users/auth0%7Ca/change-password", &[], b"")
            .await
            .0,
        201
    );
    for body in [
        json!({"resultUrl": "javascript:alert(1)"}),
        json!({"ttlSeconds": 0}),
        json!({"ttlSeconds": "60"}),
        json!({"user_id": "x"}),
    ] {
        assert_eq!(
            world
                .json("POST", "/users/auth0%7Ca/change-password", &body)
                .await
                .0,
            400,
            "{body}"
        );
    }
}

/// A parameter that says less than the caller means never ends or shows more.
#[tokio::test]
async fn sessions_are_shown_and_ended_by_what_was_said() {
    let world = world_without_connections();
    world.open_session("auth0|a", "c1").await;
    world.open_session("auth0|a", "c2").await;
    for (method, path, named) in [
        ("GET", "/sessions?userId=", "userId"),
        ("DELETE", "/sessions/auth0%7Ca?sessionId=x", "sessionId"),
        ("DELETE", "/sessions/auth0%7Ca/x?client=app", "client"),
    ] {
        let (status, body) = world.json(method, path, &Value::Null).await;
        assert_eq!(status, 400, "{method} {path}: {body}");
        assert!(body["message"].as_str().unwrap().contains(named), "{body}");
    }
    // What the back office sends to every collection.
    for path in ["/sessions", "/users/active"] {
        let path = format!("{path}?_st=PUBLIC&_useEstimate=true");
        assert_eq!(world.get(&path).await.0, 200, "{path}");
    }
    let (_, sessions) = world.get("/sessions").await;
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let (_, ended) = world
        .json("DELETE", "/sessions/auth0%7Ca", &Value::Null)
        .await;
    assert_eq!(ended, json!({"count": 2}));
}

#[tokio::test]
async fn without_a_management_client_the_routes_say_so() {
    let world = world(None);
    for (method, path) in [
        ("GET", "/users"),
        ("GET", "/users/count"),
        ("GET", "/users/export"),
        ("GET", "/users/auth0%7Ca"),
        ("POST", "/users"),
        ("PATCH", "/users/auth0%7Ca"),
        ("DELETE", "/users/auth0%7Ca"),
        ("POST", "/users/auth0%7Ca/change-password"),
        ("POST", "/users/import"),
        ("GET", "/users/import/status/job_1"),
        ("GET", "/users/import/status/job_1/errors"),
    ] {
        let (status, body) = world.json(method, path, &json!({})).await;
        assert_eq!(status, 501, "{method} {path}");
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .contains("managementClient"),
            "{body}"
        );
    }
    assert_eq!(world.get("/users/active").await.0, 200);
    assert_eq!(world.get("/sessions").await.0, 200);
}

//! Signing in and out.

use serde_json::{Map, Value, json};

use url::form_urlencoded;

use crate::world::{CLIENT_SECRET, PASSWORD, world};

#[tokio::test]
async fn without_website_the_four_fields_come() {
    let world = world();
    let answer = world.sign_in("api", "mia").await.json();
    assert_eq!(answer["accessToken"], "canary-access-mia-0");
    assert_eq!(answer["refreshToken"], "canary-refresh-mia-0");
    assert!(answer["idToken"].as_str().unwrap().starts_with("eyJ"));
    insta::assert_snapshot!(answer["expireAt"].as_str().unwrap(), @"2026-09-21T14:14:20Z");
    assert_eq!(answer.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn with_website_an_empty_200_and_the_cookie_come() {
    let world = world();
    let answer = world.sign_in("website", "mia").await;
    assert_eq!(answer.body, "");
    insta::assert_snapshot!(answer.header("set-cookie"), @"sid=canary-access-mia-0; Path=/; HttpOnly; Secure; Max-Age=86400; SameSite=Lax");
    let opaque = world.sign_in("opaque", "mia").await;
    assert_eq!(opaque.sid().len(), 43);
    assert!(
        opaque
            .header("set-cookie")
            .ends_with("; Path=/; HttpOnly; Secure; Max-Age=86400")
    );
}

#[tokio::test]
async fn wrong_credentials_are_403_with_auth0s_code() {
    let world = world();
    let answer = world
        .form(
            "/oauth/token",
            &[],
            "grant_type=password&username=mia&password=no",
        )
        .await;
    assert_eq!(answer.status, 403);
    insta::assert_snapshot!(answer.body, @r#"{"code":"invalid_grant","error":"Forbidden","error_description":"Wrong email or password.","message":"Wrong email or password.","statusCode":403}"#);
}

#[tokio::test]
async fn what_is_missing_or_given_twice_is_named() {
    let world = world();
    for (body, status, word) in [
        ("", 400, "grant_type"),
        ("grant_type=x", 400, "grant_type"),
        ("grant_type=password&password=x", 400, "username"),
        ("grant_type=password&username=x", 400, "password"),
        ("grant_type=password&grant_type=password", 400, "twice"),
        (
            "grant_type=password&username=x&password=y&connection=a&realm=a",
            400,
            "twice",
        ),
        ("grant_type=authorization_code&code=x", 400, "state"),
        ("grant_type=%zz", 400, "grant_type"),
        ("code=x&state=unknown-state", 401, "start again"),
        ("grant_type=refresh_token&refresh_token=x", 401, "sign in"),
    ] {
        let answer = world.form("/oauth/token", &[], body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
        assert!(
            answer.json()["message"].as_str().unwrap().contains(word),
            "{body}: {}",
            answer.body
        );
    }
    let json = [("content-type", "application/json")];
    let answer = world
        .send(
            "POST",
            "/oauth/token",
            &json,
            r#"{"code":"a","code":"b","state":"c"}"#,
        )
        .await;
    assert_eq!(answer.status, 400);
    let answer = world
        .send(
            "POST",
            "/oauth/token",
            &[("content-type", "text/xml")],
            "<x/>",
        )
        .await;
    assert_eq!(answer.status, 415);
    let answer = world
        .form("/oauth/token", &[], &"x".repeat((1 << 20) + 1))
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn clients_are_selected_by_name() {
    let world = world();
    let body = format!("grant_type=password&username=a&password={PASSWORD}");
    assert_eq!(
        world
            .form("/oauth/token", &[("client-type", "nobody")], &body)
            .await
            .status,
        401
    );
    let twice = [("client-type", "api"), ("client-type", "api")];
    assert_eq!(world.form("/oauth/token", &twice, &body).await.status, 400);
    // Without keys of our own the header has been consumed by whoever is in front.
    assert_eq!(
        world
            .form("/oauth/token", &[("secret", "x")], &body)
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .get("/userinfo", &[("client-type", "nobody")])
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_state_is_used_once_even_by_two_at_once() {
    let world = world();
    let (state, _) = world.begin("/authorize?redirect=/orders", "website").await;
    let body = format!("code=mia&state={state}");
    let (one, two) = tokio::join!(
        world.form("/oauth/token", &[], &body),
        world.form("/oauth/token", &[], &body)
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let good = if one.status == 200 { one } else { two };
    assert_eq!(good.header("location"), "/orders");
    assert_eq!(world.form("/oauth/token", &[], &body).await.status, 401);
}

#[tokio::test]
async fn a_state_lives_ten_minutes_and_for_its_client() {
    let world = world();
    let (state, _) = world.begin("/authorize", "website").await;
    world.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(
        world
            .form("/oauth/token", &[], &format!("code=mia&state={state}"))
            .await
            .status,
        401
    );
    let (state, _) = world.begin("/authorize", "website").await;
    let other = [("client-type", "api")];
    assert_eq!(
        world
            .form("/oauth/token", &other, &format!("code=mia&state={state}"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_required_state_is_the_callers_own() {
    let world = world();
    let strict = [("client-type", "strict")];
    assert_eq!(world.get("/authorize", &strict).await.status, 400);
    assert_eq!(
        world.get("/authorize?state=short", &strict).await.status,
        400
    );
    let (state, _) = world.begin("/authorize?state=my-own-state", "strict").await;
    assert_eq!(state, "my-own-state");
    // Characters count, not bytes.
    for (length, status) in [(7, 400), (8, 302), (512, 302), (513, 400)] {
        let path = format!("/authorize?state={}", "%C3%B6".repeat(length));
        assert_eq!(world.get(&path, &strict).await.status, status, "{length}");
    }
    let (state, _) = world
        .begin("/authorize?state=my-own-state", "website")
        .await;
    assert_ne!(state, "my-own-state");
}

#[tokio::test]
async fn threat_40_a_bound_state_needs_its_browser() {
    let world = world();
    let bound = ("client-type", "bound");
    let (state, answer) = world.begin("/authorize", "bound").await;
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(cookie.starts_with("__Host-login="));
    let body = format!("code=mia&state={state}");
    assert_eq!(
        world.form("/oauth/token", &[bound], &body).await.status,
        401
    );
    let (state, _) = world.begin("/authorize", "bound").await;
    let body = format!("code=mia&state={state}");
    let planted = [
        bound,
        (
            "cookie",
            "__Host-login=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
    ];
    assert_eq!(
        world.form("/oauth/token", &planted, &body).await.status,
        401
    );
    // A second tab of the same browser keeps the first one's secret.
    let again = world.get("/authorize", &[bound, ("cookie", &cookie)]).await;
    assert!(again.header("set-cookie").starts_with(&cookie));
}

#[tokio::test]
async fn web_login_sets_the_cookie_and_returns() {
    let world = world();
    let (state, answer) = world.begin("/web-login?redirect=/orders", "pages").await;
    let binding = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let path = format!("/web-login/callback?code=mia&state={state}");
    let answer = world.get(&path, &[("cookie", &binding)]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (302, "/orders")
    );
    let cookie = format!("sid={}", answer.sid());
    assert_eq!(
        world.get("/userinfo", &[("cookie", &cookie)]).await.json()["sub"],
        "mia"
    );
    assert_eq!(
        world
            .get("/web-login", &[("client-type", "api")])
            .await
            .status,
        404
    );
}

/// Whoever has made somebody else open a link with their own code must not get them signed in as
/// themselves.
#[tokio::test]
async fn the_login_pages_finish_only_what_this_browser_began_there() {
    let world = world();
    let own = format!("sid={}", world.sign_in("pages", "ada").await.sid());
    for (path, client) in [
        ("/web-login", "pages"),
        ("/authorize?redirect=/x", "pages"),
        ("/authorize", "website"),
        ("/authorize", "bound"),
        ("/authorize", "api"),
    ] {
        for right_browser in [false, true] {
            let (state, answer) = world.begin(path, client).await;
            let binding = answer.header("set-cookie").split(';').next().unwrap();
            let cookie = if right_browser { binding } else { &own };
            let callback = format!("/web-login/callback?code=mia&state={state}");
            let answer = world.get(&callback, &[("cookie", cookie)]).await;
            // The pages serve one client alone.
            let good = right_browser && client == "pages";
            assert_eq!(
                answer.status,
                if good { 302 } else { 401 },
                "{path} {client}"
            );
            assert_eq!(answer.headers.contains_key("set-cookie"), good);
        }
    }
    let still = world.get("/userinfo", &[("cookie", &own)]).await;
    assert_eq!(still.json()["sub"], "ada");
}

#[tokio::test]
async fn threat_15_the_callbacks_error_is_no_text_of_ours() {
    let world = world();
    let (state, answer) = world.begin("/web-login", "pages").await;
    let binding = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let path = format!(
        "/web-login/callback?error=<script>x&error_description=<script>alert(1)</script>&state={state}"
    );
    let path = path.replace('<', "%3C").replace('>', "%3E");
    for accept in ["text/html", "application/json"] {
        let answer = world
            .get(&path, &[("cookie", &binding), ("accept", accept)])
            .await;
        assert!(answer.status.is_client_error());
        assert!(!answer.body.contains("script>"), "{}", answer.body);
    }
    assert_eq!(
        world
            .form("/oauth/token", &[], &format!("code=mia&state={state}"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn threats_7_8_14_43_no_spelling_leaves_this_host() {
    let world = world();
    let hosts = [
        "evil.example",
        "app.example.org.evil.example",
        "app.example.org@evil.example",
        "evil。example",
        "xn--evil-.example",
    ];
    let heads = [
        "//",
        "///",
        "/\\",
        "\\\\",
        "/\t/",
        "/\n/",
        "/%09/",
        "/%5c",
        " //",
        "\u{a0}//",
        "https:",
        "https:/",
        "https://",
        "https:///",
        "HTTPS://",
        "http://",
        "//\u{0}",
        "/.//",
        "/..//",
        "/%2e//",
        "javascript://",
        "data:text/html,",
        "https://www.example.org@",
        "https://app.example.org/done@",
        "https://app.example.org\\@",
        ".",
        "?//",
        "#//",
    ];
    let tails = [
        "",
        "/",
        "/done",
        "/done#x",
        "%2fdone",
        "?x=https://app.example.org/done",
        "\\.app.example.org/done",
    ];
    let mut tried = 0;
    for host in hosts {
        for head in heads {
            for tail in tails {
                let target = format!("{head}{host}{tail}");
                for name in ["redirect", "redirectUri"] {
                    let query = form_urlencoded::Serializer::new(String::new())
                        .append_pair(name, &target)
                        .finish();
                    let answer = world.get(&format!("/authorize?{query}"), &[]).await;
                    assert!(matches!(answer.status.as_u16(), 400 | 302), "{target}");
                    if answer.status == 302 {
                        let state = url::Url::parse(answer.header("location")).unwrap();
                        let query: std::collections::HashMap<_, _> =
                            state.query_pairs().into_owned().collect();
                        *world.auth0.nonce.lock().unwrap() = query.get("nonce").cloned();
                        let done = world
                            .form(
                                "/oauth/token",
                                &[],
                                &format!("code=mia&state={}", query["state"]),
                            )
                            .await;
                        let base = url::Url::parse("https://www.example.org/x").unwrap();
                        let followed = base.join(done.header("location")).unwrap();
                        assert_eq!(followed.host_str(), Some("www.example.org"), "{target}");
                    }
                    let out = world.get(&format!("/logout?{query}"), &[]).await;
                    let location = url::Url::parse(out.header("location")).unwrap();
                    assert_eq!(location.host_str(), Some("acme.eu.auth0.com"));
                    let return_to = location
                        .query_pairs()
                        .find(|(name, _)| name == "returnTo")
                        .unwrap()
                        .1
                        .into_owned();
                    let host = url::Url::parse(&return_to).unwrap();
                    assert_eq!(
                        host.host_str(),
                        Some("www.example.org"),
                        "{target}: {return_to}"
                    );
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1000);
}

#[tokio::test]
async fn signing_out_ends_revokes_and_clears() {
    let world = world();
    let cookie = format!("sid={}", world.sign_in("website", "mia").await.sid());
    let answer = world
        .get(
            "/logout?redirect=/bye",
            &[("cookie", &cookie), ("client-type", "nobody")],
        )
        .await;
    assert_eq!(answer.status, 302);
    insta::assert_snapshot!(answer.header("set-cookie"), @"sid=; Path=/; HttpOnly; Secure; Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax");
    insta::assert_snapshot!(answer.header("location"), @"https://acme.eu.auth0.com/v2/logout?client_id=app&returnTo=https%3A%2F%2Fwww.example.org%2Fbye");
    assert_eq!(
        *world.auth0.revoked.lock().unwrap(),
        ["canary-refresh-mia-0"]
    );
    assert_eq!(
        world.get("/userinfo", &[("cookie", &cookie)]).await.status,
        401
    );
    assert_eq!(
        world.get("/logout", &[("cookie", &cookie)]).await.status,
        302
    );
    let bound = [("client-type", "bound")];
    let answer = world.get("/logout", &bound).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("allow")),
        (405, "POST")
    );
    assert_eq!(world.send("POST", "/logout", &bound, "").await.status, 302);
}

#[tokio::test]
async fn threats_5_14_30_a_sign_in_leaves_nothing_of_the_one_before() {
    let world = world();
    let planted = format!("sid={}", world.sign_in("website", "attacker").await.sid());
    let body = format!("grant_type=password&username=mia&password={PASSWORD}");
    let mia = world
        .form("/oauth/token", &[("cookie", &planted)], &body)
        .await;
    let cookie = format!("sid={}", mia.sid());
    assert_eq!(
        world.get("/userinfo", &[("cookie", &planted)]).await.status,
        401
    );
    assert_eq!(
        world.get("/userinfo", &[("cookie", &cookie)]).await.json()["sub"],
        "mia"
    );
    // The next person on the same browser, after a sign-out that kept the cookie.
    world.get("/logout", &[("cookie", &cookie)]).await;
    let bob = world
        .form(
            "/oauth/token",
            &[("cookie", &cookie)],
            &body.replace("mia", "bob"),
        )
        .await;
    let bobs = format!("sid={}", bob.sid());
    for answer in [
        world.get("/userinfo", &[("cookie", &bobs)]).await,
        world.form("/refreshtoken", &[("cookie", &bobs)], "").await,
    ] {
        assert!(
            !answer.body.contains("mia") && answer.status == 200,
            "{}",
            answer.body
        );
    }
    assert_eq!(
        world
            .form("/refreshtoken", &[("cookie", &cookie)], "")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn threats_11_34_a_bad_id_token_makes_no_session() {
    let edits: [fn(&mut Map<String, Value>); 16] = [
        |c| {
            c["iss"] = json!("https://acme.eu.auth0.com");
        },
        |c| {
            c["iss"] = json!("https://evil.example/");
        },
        |c| {
            c["aud"] = json!("other");
        },
        |c| {
            c["aud"] = json!(["app", "other"]);
        },
        |c| {
            c.insert("azp".into(), json!("other"));
        },
        |c| {
            c.remove("exp");
        },
        |c| {
            c["exp"] = json!("1990000000");
        },
        |c| {
            c["exp"] = json!(1e300);
        },
        |c| {
            c["exp"] = json!([1_990_000_000]);
        },
        |c| {
            c["exp"] = json!(1_990_000_000.5);
        },
        |c| {
            c["exp"] = json!(1_789_999_000);
        },
        |c| {
            c.remove("iat");
        },
        |c| {
            c["iat"] = json!("1790000000");
        },
        |c| {
            c["sub"] = json!("");
        },
        |c| {
            c["nonce"] = json!("another");
        },
        |c| {
            c.remove("nonce");
        },
    ];
    let world = world();
    for (number, edit) in edits.into_iter().enumerate() {
        let (state, _) = world.begin("/authorize", "website").await;
        *world.auth0.edit.lock().unwrap() = edit;
        let answer = world
            .form("/oauth/token", &[], &format!("code=mia&state={state}"))
            .await;
        assert_eq!(answer.status, 401, "edit {number}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    *world.auth0.edit.lock().unwrap() = |_| {};
    *world.auth0.spoil_signature.lock().unwrap() = true;
    let (state, _) = world.begin("/authorize", "website").await;
    assert_eq!(
        world
            .form("/oauth/token", &[], &format!("code=mia&state={state}"))
            .await
            .status,
        401
    );
    assert_eq!(world.get("/users/active", &[]).await.body, "[]");
    // What was issued for nothing does not stay good at Auth0.
    assert_eq!(world.auth0.revoked.lock().unwrap().len(), 17);
}

#[tokio::test]
async fn nobody_learns_who_exists() {
    let world = world();
    for email in ["mia@example.org", "nobody@example.org"] {
        let body = json!({ "email": email }).to_string();
        let answer = world
            .send(
                "POST",
                "/changepassword",
                &[("content-type", "application/json")],
                &body,
            )
            .await;
        assert_eq!(answer.status, 200);
        insta::allow_duplicates! {
            insta::assert_snapshot!(answer.body, @r#"{"message":"If the address belongs to an account, a mail is on its way."}"#);
        }
    }
    assert_eq!(
        world.form("/changepassword", &[], "email=x").await.status,
        400
    );
}

#[tokio::test]
async fn threat_13_no_secret_is_in_any_debug_output() {
    let world = world();
    let cookie = format!("sid={}", world.sign_in("website", "mia").await.sid());
    world.get("/userinfo", &[("cookie", &cookie)]).await;
    let shown = format!("{:?}", world.service);
    for secret in [CLIENT_SECRET, PASSWORD, "canary-access", "canary-refresh"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

//! `/authorize`, the login page and the code.

use reqwest::StatusCode;

use crate::support::*;

#[tokio::test]
async fn a_person_signs_in_and_the_code_gives_tokens() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser
        .authorize(&[("nonce", "the-nonce"), ("audience", API)])
        .await;
    let done = browser
        .log_in(&page, "Mia@Example.org", "Correct-Horse-1")
        .await
        .location();
    assert!(done.as_str().starts_with(CALLBACK));
    assert_eq!(parameter(&done, "state").as_deref(), Some("the-state"));
    let code = parameter(&done, "code").unwrap();

    let answer = exchange(&tenant, &code, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let tokens = answer.json();
    assert_eq!(tokens["scope"], "openid profile email offline_access");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 86_400);

    let id = verified(&tenant, &text(&tokens, "id_token")).await;
    assert_eq!(id.header.typ.as_deref(), Some("JWT"));
    let claims = masked(id.claims, &["iss", "iat", "exp", "sid", "updated_at"]);
    insta::assert_json_snapshot!(claims, @r#"
    {
      "aud": "dev-website",
      "email": "mia@example.org",
      "email_verified": true,
      "exp": "[exp]",
      "family_name": "Rossi",
      "given_name": "Mia",
      "https://mia-platform.eu/app_metadata": {
        "groups": [
          "users",
          "admin"
        ]
      },
      "https://mia-platform.eu/user_metadata": {
        "lang": "it"
      },
      "iat": "[iat]",
      "iss": "[iss]",
      "name": "Mia Rossi",
      "nickname": "mia",
      "nonce": "the-nonce",
      "picture": "https://s.gravatar.com/avatar/2185f8d9db3e25555b813ec60e4873cc5452aa80dc94ef6fd231b751c8c8dd25",
      "sid": "[sid]",
      "sub": "auth0|64b0c0ffee0000000000a001",
      "updated_at": "[updated_at]"
    }
    "#);
}

#[tokio::test]
async fn what_is_wrong_with_client_or_callback_never_redirects() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    for (pairs, status) in [
        (vec![("client_id", "nobody")], 400),
        (vec![("client_id", "")], 400),
        (vec![("redirect_uri", "https://evil.example/callback")], 403),
        (
            vec![("redirect_uri", "http://localhost.evil.example/")],
            403,
        ),
        (
            vec![("redirect_uri", "http://localhost@evil.example/")],
            403,
        ),
        (
            vec![("client_id", "dev-management"), ("redirect_uri", "")],
            400,
        ),
    ] {
        let answer = browser.authorize(&pairs).await;
        assert_eq!(answer.status.as_u16(), status, "{pairs:?}");
        assert!(!answer.headers.contains_key("location"));
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    }
    let twice = browser
        .get("/authorize?client_id=dev-website&state=a&state=b")
        .await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    assert!(twice.text.contains("Duplicate parameter: state"));
}

#[tokio::test]
async fn every_other_fault_goes_to_the_callback_with_the_state() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let mut lines = Vec::new();
    for pairs in [
        vec![("response_type", "")],
        vec![("response_type", "token")],
        vec![("response_mode", "form_post")],
        vec![("request_uri", "urn:x")],
        vec![("audience", "https://api.example.org")],
        vec![("connection", "nowhere")],
        vec![("prompt", "none")],
        vec![("prompt", "none login")],
        vec![("max_age", "-1")],
        vec![("code_challenge", "x"), ("code_challenge_method", "S512")],
        vec![("code_challenge_method", "S256")],
        vec![("organization", "shop")],
    ] {
        let target = browser.authorize(&pairs).await.location();
        assert!(target.as_str().starts_with(CALLBACK), "{target}");
        assert_eq!(parameter(&target, "state").as_deref(), Some("the-state"));
        assert_eq!(parameter(&target, "code"), None);
        lines.push(format!(
            "{}: {}",
            parameter(&target, "error").unwrap(),
            parameter(&target, "error_description").unwrap()
        ));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    invalid_request: Missing required parameter: response_type
    unsupported_response_type: Unsupported response type: token
    invalid_request: Unsupported response_mode
    invalid_request: Request objects are not supported
    access_denied: Service not found: https://api.example.org
    invalid_request: the connection was not found
    login_required: Login required
    invalid_request: prompt=none cannot be combined
    invalid_request: max_age must be a number of seconds
    invalid_request: code_challenge_method must be S256 or plain
    invalid_request: Missing required parameter: code_challenge
    invalid_request: parameter organization must be an organization id
    "#);
}

#[tokio::test]
async fn a_callback_left_out_is_the_first_allowed_one_and_keeps_its_query() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let target = browser
        .authorize(&[("redirect_uri", ""), ("prompt", "none")])
        .await
        .location();
    assert!(target.as_str().starts_with(CALLBACK));

    let target = browser
        .authorize(&[
            ("redirect_uri", "http://127.0.0.1:5000/cb?tab=1#gone"),
            ("prompt", "none"),
        ])
        .await
        .location();
    assert!(
        target
            .as_str()
            .starts_with("http://127.0.0.1:5000/cb?tab=1&error=login_required"),
        "{target}"
    );
}

#[tokio::test]
async fn a_signed_in_browser_gets_a_code_at_once_with_the_same_sid() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let first = browser.code(&[]).await;
    let first = exchange(&tenant, &first, &[]).await.json();
    let sid = verified(&tenant, &text(&first, "id_token")).await.claims["sid"].clone();
    assert!(sid.is_string());

    for more in [
        vec![("prompt", "none")],
        vec![("screen_hint", "signup")],
        vec![("prompt", "none"), ("client_id", "dev-cms")],
        vec![("max_age", "3600")],
    ] {
        let target = browser.authorize(&more).await.location();
        let code = parameter(&target, "code").unwrap_or_else(|| panic!("{more:?}: {target}"));
        let client = if more.contains(&("client_id", "dev-cms")) {
            vec![
                ("client_id", "dev-cms"),
                ("client_secret", "dev-cms-secret"),
            ]
        } else {
            CLIENT.to_vec()
        };
        let mut pairs = client;
        pairs.extend([
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", CALLBACK),
        ]);
        let tokens = post(&tenant, "/oauth/token", &pairs).await.json();
        let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
        assert_eq!(id["sid"], sid, "{more:?}");
        assert_eq!(
            id["auth_time"].is_i64(),
            more.contains(&("max_age", "3600")),
            "{more:?}"
        );
    }
}

#[tokio::test]
async fn prompt_login_max_age_and_another_connection_ask_again() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    for more in [
        vec![("prompt", "login")],
        vec![("prompt", "select_account")],
        vec![("connection", "employees")],
    ] {
        let answer = browser.authorize(&more).await;
        assert_eq!(answer.location().path(), "/u/login", "{more:?}");
    }
    tenant.advance_clock(std::time::Duration::from_secs(61));
    let answer = browser.authorize(&[("max_age", "60")]).await;
    assert_eq!(answer.location().path(), "/u/login");
    let target = browser
        .authorize(&[("max_age", "60"), ("prompt", "none")])
        .await
        .location();
    assert_eq!(
        parameter(&target, "error").as_deref(),
        Some("login_required")
    );

    let code = {
        let done = browser
            .log_in(&answer, "mia@example.org", "Correct-Horse-1")
            .await;
        parameter(&done.location(), "code").unwrap()
    };
    let tokens = exchange(&tenant, &code, &[]).await.json();
    let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
    let passed = id["iat"].as_i64().unwrap() - id["auth_time"].as_i64().unwrap();
    assert!((0..=1).contains(&passed), "{id}");
}

#[tokio::test]
async fn a_session_ends_by_itself_and_its_cookie_changes_at_each_login() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    let planted = browser.cookies["auth0"].clone();

    // The next person on this browser does not inherit the cookie value.
    let page = browser.authorize(&[("prompt", "login")]).await;
    browser
        .log_in(&page, "alice@example.org", "Correct-Horse-2")
        .await;
    assert_ne!(browser.cookies["auth0"], planted);
    let mut thief = Browser::new(&tenant);
    thief.cookies.insert("auth0".to_owned(), planted);
    let target = thief.authorize(&[("prompt", "none")]).await.location();
    assert_eq!(
        parameter(&target, "error").as_deref(),
        Some("login_required")
    );

    tenant.advance_clock(std::time::Duration::from_secs(3 * 86_400));
    let target = browser.authorize(&[("prompt", "none")]).await.location();
    assert_eq!(
        parameter(&target, "error").as_deref(),
        Some("login_required")
    );
}

#[tokio::test]
async fn a_code_is_good_once_for_ten_minutes_and_for_its_own_client() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[]).await;

    // Another application's attempt fails and does not spend it.
    let stolen = post(
        &tenant,
        "/oauth/token",
        &[
            ("grant_type", "authorization_code"),
            ("client_id", "dev-cms"),
            ("client_secret", "dev-cms-secret"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
        ],
    )
    .await;
    let invalid =
        r#"403 {"error":"invalid_grant","error_description":"Invalid authorization code"}"#;
    assert_eq!(stolen.line(), invalid);

    let (one, two) = tokio::join!(exchange(&tenant, &code, &[]), exchange(&tenant, &code, &[]));
    let won = [&one, &two]
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    assert_eq!(won, 1, "{} {}", one.line(), two.line());
    assert_eq!(exchange(&tenant, &code, &[]).await.line(), invalid);
    assert_eq!(exchange(&tenant, "never-issued", &[]).await.line(), invalid);

    let late = browser.code_again().await;
    tenant.advance_clock(std::time::Duration::from_secs(600));
    assert_eq!(exchange(&tenant, &late, &[]).await.line(), invalid);
}

#[tokio::test]
async fn a_code_is_bound_to_its_redirect_uri_and_verifier() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let s256 = [
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ];
    let verifier = (
        "code_verifier",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    browser.code(&s256).await;

    let mut lines = Vec::new();
    for (authorize, exchanged) in [
        (&s256[..], vec![verifier]),
        (&s256[..], vec![("code_verifier", "wrong")]),
        (&s256[..], vec![]),
        (&[], vec![verifier]),
        (
            &[("code_challenge", "plain-text")],
            vec![("code_verifier", "plain-text")],
        ),
        (&[], vec![("redirect_uri", "http://localhost:8080/other")]),
        (&[], vec![("redirect_uri", "")]),
    ] {
        let target = browser.authorize(authorize).await.location();
        let code = parameter(&target, "code").unwrap();
        let answer = exchange(&tenant, &code, &exchanged).await;
        lines.push(if answer.status == StatusCode::OK {
            "200".to_owned()
        } else {
            answer.line()
        });
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    200
    403 {"error":"invalid_grant","error_description":"Failed to verify code verifier"}
    400 {"error":"invalid_request","error_description":"Missing required parameter: code_verifier"}
    403 {"error":"invalid_grant","error_description":"Failed to verify code verifier"}
    200
    403 {"error":"unauthorized_client","error_description":"The redirect URI is wrong."}
    403 {"error":"unauthorized_client","error_description":"The redirect URI is wrong."}
    "#);
}

#[tokio::test]
async fn a_request_can_be_posted_too() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let answer = browser
        .post(
            "/authorize",
            &[
                ("client_id", "dev-website"),
                ("response_type", "code"),
                ("redirect_uri", CALLBACK),
            ],
        )
        .await;
    assert_eq!(answer.location().path(), "/u/login");
}

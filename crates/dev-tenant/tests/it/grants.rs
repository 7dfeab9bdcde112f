//! `/oauth/token`: who calls, which grant, what goes wrong.

use dev_tenant::{DevTenant, RateLimits, Seed, TenantSettings};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::*;

const PASSWORD: [(&str, &str); 4] = [
    ("grant_type", "password"),
    ("username", "mia@example.org"),
    ("password", "Correct-Horse-1"),
    ("scope", "openid"),
];
const REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = base
        .iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    kept.chain(more).copied().collect()
}

#[tokio::test]
async fn the_password_grant_answers_as_recorded() {
    let tenant = tenant().await;
    let answer = token(&tenant, &PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    for name in [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-auth0-requestid",
        "vary",
    ] {
        assert!(!answer.header(name).is_empty());
    }
    let cookies: Vec<&str> = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap().split('=').next().unwrap())
        .collect();
    assert_eq!(cookies, ["did", "did_compat"]);

    let tokens = answer.json();
    assert_eq!(tokens["scope"], "openid profile email address phone");
    assert_eq!(tokens["expires_in"], 86_400);
    assert!(tokens.get("refresh_token").is_none());
    let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
    assert!(id.get("sid").is_none());
    assert!(id.get("nonce").is_none());
    assert_eq!(
        id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(),
        36_000
    );
}

#[tokio::test]
async fn form_and_json_body_and_basic_all_work() {
    let tenant = tenant().await;
    let body = json!({
        "grant_type": "password", "username": "mia@example.org", "password": "Correct-Horse-1",
        "client_id": "dev-website", "client_secret": "dev-website-secret",
    });
    let answer = post_json(&tenant, "/oauth/token", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);

    let basic = |id: &'static str, secret: &'static str, more: &'static [(&str, &str)]| {
        let url = format!("{}/oauth/token", tenant.url());
        async move {
            let response = client()
                .post(url)
                .basic_auth(id, Some(secret))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form(&with(&PASSWORD, more)))
                .send()
                .await
                .unwrap();
            response.status().as_u16()
        }
    };
    assert_eq!(basic("dev-website", "dev-website-secret", &[]).await, 200);
    // Form-encoded as RFC 6749 has it.
    assert_eq!(
        basic("dev%2Dwebsite", "dev-website%2dsecret", &[]).await,
        200
    );
    assert_eq!(
        basic("dev-website", "dev-website-secret", &CLIENT).await,
        200
    );
    assert_eq!(
        basic(
            "dev-website",
            "dev-website-secret",
            &[("client_secret", "other")]
        )
        .await,
        401
    );
    assert_eq!(
        basic(
            "dev-website",
            "dev-website-secret",
            &[("client_id", "dev-cms")]
        )
        .await,
        401
    );
    assert_eq!(basic("dev-website", "wrong", &CLIENT).await, 401);
}

#[tokio::test]
async fn every_refusal_has_its_recorded_status_and_code() {
    let tenant = tenant().await;
    let mut lines = Vec::new();
    for pairs in [
        vec![("client_id", "dev-website")],
        with(&PASSWORD, &[("client_id", "dev-website")]),
        with(
            &PASSWORD,
            &[("client_id", "dev-website"), ("client_secret", "wrong")],
        ),
        with(
            &PASSWORD,
            &[("client_id", "nobody"), ("client_secret", "x")],
        ),
        PASSWORD.to_vec(),
        with(&CLIENT, &[("grant_type", "implicit")]),
        with(&CLIENT, &[("grant_type", "client_credentials")]),
        with(&CLIENT, &[("grant_type", "password")]),
        with(
            &CLIENT,
            &[("grant_type", "password"), ("username", "mia@example.org")],
        ),
        with(&with(&CLIENT, &PASSWORD), &[("password", "wrong")]),
        with(
            &with(&CLIENT, &PASSWORD),
            &[("username", "nobody@example.org")],
        ),
        with(
            &with(&CLIENT, &PASSWORD),
            &[
                ("username", "blocked@example.org"),
                ("password", "Correct-Horse-4"),
            ],
        ),
        with(&with(&CLIENT, &PASSWORD), &[("audience", "urn:nothing")]),
        with(&with(&CLIENT, &PASSWORD), &[("grant_type", REALM)]),
        with(
            &with(&CLIENT, &PASSWORD),
            &[("grant_type", REALM), ("realm", "nowhere")],
        ),
        with(
            &with(&CLIENT, &PASSWORD),
            &[("grant_type", REALM), ("realm", "employees")],
        ),
        with(&CLIENT, &[("grant_type", "authorization_code")]),
        with(&CLIENT, &[("grant_type", "refresh_token")]),
        with(
            &CLIENT,
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", "unknown"),
            ],
        ),
    ] {
        lines.push(post(&tenant, "/oauth/token", &pairs).await.line());
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    400 {"error":"invalid_request","error_description":"Missing required parameter: grant_type"}
    401 {"error":"access_denied","error_description":"Unauthorized"}
    401 {"error":"access_denied","error_description":"Unauthorized"}
    401 {"error":"access_denied","error_description":"Unauthorized"}
    400 {"error":"invalid_request","error_description":"Missing required parameter: client_id"}
    400 {"error":"unsupported_grant_type","error_description":"Unsupported grant type: implicit"}
    403 {"error":"unauthorized_client","error_description":"Grant type 'client_credentials' not allowed for the client."}
    400 {"error":"invalid_request","error_description":"Missing required parameter: username"}
    400 {"error":"invalid_request","error_description":"Missing required parameter: password"}
    403 {"error":"invalid_grant","error_description":"Wrong email or password."}
    403 {"error":"invalid_grant","error_description":"Wrong email or password."}
    403 {"error":"unauthorized","error_description":"user is blocked"}
    400 {"error":"invalid_request","error_description":"invalid audience specified for password grant exchange"}
    400 {"error":"invalid_request","error_description":"Missing required parameter: realm"}
    400 {"error":"invalid_request","error_description":"the connection was not found"}
    403 {"error":"invalid_grant","error_description":"Wrong email or password."}
    400 {"error":"invalid_request","error_description":"Missing required parameter: code"}
    400 {"error":"invalid_request","error_description":"Missing required parameter: refresh_token"}
    403 {"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}
    "#);
}

#[tokio::test]
async fn errors_have_the_recorded_cache_header() {
    let tenant = tenant().await;
    let answer = token(&tenant, &with(&PASSWORD, &[("password", "wrong")])).await;
    assert_eq!(
        answer.header("cache-control"),
        "private, no-store, no-cache, must-revalidate, post-check=0, pre-check=0, no-transform"
    );
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_an_invalid_request() {
    let tenant = tenant().await;
    for (content_type, body) in [
        (
            "application/x-www-form-urlencoded",
            "grant_type=a&grant_type=b",
        ),
        ("application/json", "{\"grant_type\":"),
        ("application/json", "{\"grant_type\":{}}"),
        (
            "application/json",
            "{\"grant_type\":\"a\",\"grant_type\":\"b\"}",
        ),
        ("text/plain", "grant_type=password"),
    ] {
        let response = client()
            .post(format!("{}/oauth/token", tenant.url()))
            .header("content-type", content_type)
            .body(body)
            .send()
            .await
            .unwrap();
        let answer = Answer::of(response).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
}

#[tokio::test]
async fn a_realm_is_where_somebody_lives() {
    let tenant = tenant().await;
    let bob = [
        ("grant_type", REALM),
        ("username", "bob@example.org"),
        ("password", "Correct-Horse-3"),
        ("scope", "openid"),
    ];
    assert_eq!(
        token(&tenant, &with(&bob, &[("realm", "employees")]))
            .await
            .status,
        200
    );
    assert_eq!(
        token(
            &tenant,
            &with(&bob, &[("realm", "Username-Password-Authentication")])
        )
        .await
        .status,
        403
    );
    // The password grant looks in the default directory only.
    assert_eq!(
        token(&tenant, &with(&bob, &[("grant_type", "password")]))
            .await
            .status,
        403
    );

    let mut seed = Seed::example();
    seed.tenant.default_directory = None;
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    insta::assert_snapshot!(token(&tenant, &PASSWORD).await.line(), @r#"500 {"error":"server_error","error_description":"Authorization server not configured with default connection."}"#);
}

#[tokio::test]
async fn scope_left_out_grants_all_of_the_apis() {
    let tenant = tenant().await;
    let pairs: Vec<_> = PASSWORD[..3]
        .iter()
        .copied()
        .chain([("audience", API)])
        .collect();
    assert_eq!(
        token(&tenant, &pairs).await.json()["scope"],
        "openid profile email address phone read:orders write:orders"
    );
}

#[tokio::test]
async fn a_machine_gets_a_token_for_what_it_is_granted() {
    let tenant = tenant().await;
    let machine = [
        ("grant_type", "client_credentials"),
        ("client_id", "dev-management"),
        ("client_secret", "dev-management-secret"),
    ];
    let management = format!("{}api/v2/", tenant.issuer());
    let answer = post(
        &tenant,
        "/oauth/token",
        &with(
            &machine,
            &[("audience", &management), ("scope", "read:users")],
        ),
    )
    .await;
    let tokens = answer.json();
    assert_eq!(tokens["scope"], "read:users");
    assert!(tokens.get("id_token").is_none());
    assert!(tokens.get("refresh_token").is_none());
    let claims = verified(&tenant, &text(&tokens, "access_token"))
        .await
        .claims;
    assert_eq!(claims["sub"], "dev-management@clients");
    assert_eq!(claims["gty"], "client-credentials");
    assert_eq!(claims["aud"], json!(management));

    let mut lines = Vec::new();
    for more in [
        vec![],
        vec![("audience", "https://api.example.org")],
        vec![("audience", API), ("scope", "write:orders")],
    ] {
        lines.push(
            post(&tenant, "/oauth/token", &with(&machine, &more))
                .await
                .line(),
        );
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    403 {"error":"access_denied","error_description":"Non-global clients are not allowed access to APIv1"}
    403 {"error":"access_denied","error_description":"Service not found: https://api.example.org"}
    400 {"error":"invalid_scope","error_description":"The scope asks for more than was granted."}
    "#);

    let mut seed = Seed::example();
    seed.applications[2].client_grants.clear();
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let answer = post(
        &tenant,
        "/oauth/token",
        &with(&machine, &[("audience", API)]),
    )
    .await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("Client is not authorized to access"));
}

#[tokio::test]
async fn failed_logins_are_counted_by_the_address_of_the_person() {
    let mut seed = Seed::example();
    seed.applications[1].is_token_endpoint_ip_header_trusted = false;
    let settings = TenantSettings {
        brute_force_attempts: Some(2),
        ..TenantSettings::default()
    };
    let tenant = DevTenant::start(settings, seed).await.unwrap();
    let login = |client: &'static str, address: &'static str, password: &'static str| {
        let url = format!("{}/oauth/token", tenant.url());
        async move {
            let secret = format!("{client}-secret");
            let pairs = with(
                &PASSWORD,
                &[
                    ("password", password),
                    ("client_id", client),
                    ("client_secret", &secret),
                ],
            );
            let response = crate::support::client()
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("auth0-forwarded-for", address)
                .body(form(&pairs))
                .send()
                .await
                .unwrap();
            Answer::of(response).await
        }
    };
    for _ in 0..2 {
        assert_eq!(login("dev-website", "192.0.2.7", "wrong").await.status, 403);
    }
    let blocked = login("dev-website", "192.0.2.7", "Correct-Horse-1").await;
    assert_eq!(blocked.status, 429);
    assert_eq!(blocked.json()["error"], "too_many_attempts");
    assert_eq!(
        login("dev-website", "2001:db8::7", "Correct-Horse-1")
            .await
            .status,
        200
    );
    // An application without trust: its own address counts, whatever it says.
    for _ in 0..2 {
        assert_eq!(login("dev-cms", "192.0.2.8", "wrong").await.status, 403);
    }
    assert_eq!(
        login("dev-cms", "192.0.2.9", "Correct-Horse-1")
            .await
            .status,
        429
    );
    assert_eq!(
        tenant.calls()[0].forwarded_for.as_deref(),
        Some("192.0.2.7")
    );
}

#[tokio::test]
async fn a_bucket_that_is_empty_answers_429() {
    let limits = RateLimits {
        token: dev_tenant::Bucket {
            burst: 1,
            per_minute: 60,
        },
        ..RateLimits::default()
    };
    let tenant = tenant_with(TenantSettings {
        rate_limits: Some(limits),
        ..TenantSettings::default()
    })
    .await;
    assert_eq!(token(&tenant, &PASSWORD).await.status, 200);
    let refused = token(&tenant, &PASSWORD).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"], "too_many_requests");
    assert_eq!(refused.header("x-ratelimit-limit"), "1");
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert!(refused.header("x-ratelimit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    assert!(!refused.headers.contains_key("retry-after"));
    tenant.advance_clock(std::time::Duration::from_secs(1));
    assert_eq!(token(&tenant, &PASSWORD).await.status, 200);
}

#[tokio::test]
async fn change_password_tells_nobody_who_exists() {
    let tenant = tenant().await;
    for email in ["mia@example.org", "nobody@example.org"] {
        let answer = post_json(
            &tenant,
            "/dbconnections/change_password",
            &json!({
                "client_id": "dev-website", "email": email,
                "connection": "Username-Password-Authentication",
            }),
        )
        .await;
        assert_eq!(
            answer.line(),
            "200 We've just sent you an email to reset your password."
        );
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    }
    for body in [
        json!({ "email": "mia@example.org" }),
        json!({ "connection": "employees" }),
        json!({ "email": "mia@example.org", "connection": "nowhere" }),
        json!({ "email": "mia@example.org", "connection": "employees", "client_id": "nobody" }),
    ] {
        let answer = post_json(&tenant, "/dbconnections/change_password", &body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
}

#[tokio::test]
async fn somebody_new_signs_up_and_in() {
    let tenant = tenant().await;
    let sign_up = |email: &'static str, password: &'static str| {
        let body = json!({
            "client_id": "dev-website", "connection": "Username-Password-Authentication",
            "email": email, "password": password,
        });
        let tenant = &tenant;
        async move { post_json(tenant, "/dbconnections/signup", &body).await }
    };
    let answer = sign_up("New@example.org", "Correct-Horse-9").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["email"], "new@example.org");
    assert_eq!(body["email_verified"], false);
    let id = text(&body, "_id");
    assert_eq!(
        tenant.user_id("new@example.org"),
        Some(format!("auth0|{id}"))
    );
    let pairs = with(
        &PASSWORD,
        &[
            ("username", "new@example.org"),
            ("password", "Correct-Horse-9"),
        ],
    );
    assert_eq!(token(&tenant, &pairs).await.status, 200);

    let taken = sign_up("NEW@example.org", "Correct-Horse-9").await;
    assert_eq!(
        (taken.status.as_u16(), text(&taken.json(), "code")),
        (400, "invalid_signup".to_owned())
    );
    let weak = sign_up("other@example.org", "short").await.json();
    assert_eq!(weak["name"], "PasswordStrengthError");
    assert_eq!(weak["description"]["verified"], false);
}

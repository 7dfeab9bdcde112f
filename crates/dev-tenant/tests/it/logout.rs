//! Both logouts.

use dev_tenant::{DevTenant, Seed, TenantSettings};
use reqwest::StatusCode;

use crate::support::*;

/// An application with one callback and one logout URL that has a query.
async fn strict() -> DevTenant {
    let mut seed = Seed::example();
    let app = &mut seed.applications[0];
    app.any_loopback_logout = false;
    app.allowed_logout_urls = vec!["https://shop.example.org/bye?from=shop".to_owned()];
    seed.tenant.allowed_logout_urls = vec!["https://tenant.example.org/bye".to_owned()];
    DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap()
}

async fn signed_in(browser: &mut Browser<'_>) -> bool {
    let target = browser.authorize(&[("prompt", "none")]).await.location();
    parameter(&target, "code").is_some()
}

#[tokio::test]
async fn v2_logout_ends_the_session_and_leads_to_an_allowed_url_only() {
    let tenant = strict().await;
    let mut browser = Browser::new(&tenant);
    for (pairs, target) in [
        (
            vec![
                ("client_id", "dev-website"),
                ("returnTo", "https://SHOP.example.org/bye?other"),
            ],
            Some("https://shop.example.org/bye?other"),
        ),
        (
            vec![("client_id", "dev-website")],
            Some("https://shop.example.org/bye?from=shop"),
        ),
        (
            vec![("returnTo", "https://tenant.example.org/bye")],
            Some("https://tenant.example.org/bye"),
        ),
        (vec![], None),
    ] {
        browser.code(&[]).await;
        let answer = browser.get(&format!("/v2/logout?{}", form(&pairs))).await;
        match target {
            Some(target) => assert_eq!(answer.location().as_str(), target),
            None => assert_eq!(answer.status, StatusCode::OK),
        }
        assert!(!signed_in(&mut browser).await, "{pairs:?}");
    }

    browser.code(&[]).await;
    for pairs in [
        vec![
            ("client_id", "dev-website"),
            ("returnTo", "https://evil.example/"),
        ],
        vec![
            ("client_id", "dev-website"),
            ("returnTo", "https://tenant.example.org/bye"),
        ],
        vec![("returnTo", "https://shop.example.org/bye")],
        vec![("client_id", "nobody")],
    ] {
        let answer = browser.get(&format!("/v2/logout?{}", form(&pairs))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{pairs:?}");
        assert!(signed_in(&mut browser).await);
    }
    let answer = browser
        .get(&format!(
            "/v2/logout?{}",
            form(&[("returnTo", "https://evil.example/")])
        ))
        .await;
    assert!(answer.text.contains(
        "The &quot;returnTo&quot; querystring parameter &quot;https://evil.example/&quot; is not \
         defined as a valid URL in &quot;Allowed Logout URLs&quot;"
    ));
}

#[tokio::test]
async fn the_cookie_is_cleared_without_max_age() {
    let tenant = tenant().await;
    let answer = get(&tenant, "/v2/logout").await;
    assert_eq!(
        answer.header("set-cookie"),
        "auth0=; Path=/; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    );
}

#[tokio::test]
async fn a_logout_revokes_no_refresh_token() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[("audience", API)]).await;
    let tokens = exchange(&tenant, &code, &[]).await.json();
    browser.get("/v2/logout").await;
    assert!(tenant.is_refresh_token_live(&text(&tokens, "refresh_token")));
}

#[tokio::test]
async fn oidc_logout_with_a_hint_of_this_session_asks_nothing_and_echoes_the_state() {
    let tenant = strict().await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[]).await;
    let id_token = text(&exchange(&tenant, &code, &[]).await.json(), "id_token");
    // An ID token that has run out will do.
    tenant.advance_clock(std::time::Duration::from_secs(40_000));
    let path = |uri: &str| {
        form(&[
            ("id_token_hint", &id_token),
            ("post_logout_redirect_uri", uri),
            ("state", "s"),
        ])
    };
    let wrong_query = browser
        .get(&format!(
            "/oidc/logout?{}",
            path("https://shop.example.org/bye")
        ))
        .await;
    assert_eq!(wrong_query.status, StatusCode::BAD_REQUEST);
    assert!(signed_in(&mut browser).await);
    let target = browser
        .get(&format!(
            "/oidc/logout?{}",
            path("https://shop.example.org/bye?from=shop")
        ))
        .await
        .location();
    assert_eq!(
        target.as_str(),
        "https://shop.example.org/bye?from=shop&state=s"
    );
    assert!(!signed_in(&mut browser).await);
}

#[tokio::test]
async fn oidc_logout_asks_when_nothing_vouches_for_it() {
    let tenant = strict().await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    let other = {
        let code = Browser::new(&tenant).code(&[]).await;
        text(&exchange(&tenant, &code, &[]).await.json(), "id_token")
    };
    for pairs in [
        vec![("client_id", "dev-website")],
        vec![("id_token_hint", other.as_str())],
        vec![("client_id", "dev-website"), ("confirm", "guessed")],
    ] {
        let page = browser.get(&format!("/oidc/logout?{}", form(&pairs))).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("Sign out?"), "{pairs:?}");
        assert!(signed_in(&mut browser).await);
    }
    let page = browser
        .get("/oidc/logout?client_id=dev-website&state=s%26t")
        .await;
    let confirm = page
        .text
        .split_once("name=\"confirm\" value=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .unwrap()
        .0;
    assert!(page.text.contains("name=\"state\" value=\"s&amp;t\""));
    let done = browser
        .post(
            "/oidc/logout",
            &[("client_id", "dev-website"), ("confirm", confirm)],
        )
        .await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(!signed_in(&mut browser).await);
}

#[tokio::test]
async fn hints_that_contradict_each_other_are_refused() {
    let tenant = strict().await;
    let mut browser = Browser::new(&tenant);
    let code = browser.code(&[]).await;
    let id_token = text(&exchange(&tenant, &code, &[]).await.json(), "id_token");
    let sid = {
        let claims = verified(&tenant, &id_token).await.claims;
        text(&claims, "sid")
    };
    for pairs in [
        vec![
            ("id_token_hint", id_token.as_str()),
            ("client_id", "dev-cms"),
        ],
        vec![
            ("id_token_hint", id_token.as_str()),
            ("logout_hint", "other"),
        ],
        vec![("id_token_hint", "garbage")],
        vec![("client_id", "nobody")],
    ] {
        let answer = browser.get(&format!("/oidc/logout?{}", form(&pairs))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{pairs:?}");
    }
    assert!(signed_in(&mut browser).await);
    let done = browser
        .get(&format!("/oidc/logout?{}", form(&[("logout_hint", &sid)])))
        .await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(!signed_in(&mut browser).await);
}

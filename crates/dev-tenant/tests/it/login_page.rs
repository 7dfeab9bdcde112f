//! The page that people see.

use dev_tenant::TenantSettings;
use reqwest::StatusCode;

use crate::support::*;

#[tokio::test]
async fn the_page_is_plain_and_locked_down() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let target = browser
        .authorize(&[("login_hint", "mia@example.org")])
        .await
        .location();
    let page = browser
        .get(&format!("{}?{}", target.path(), target.query().unwrap()))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-frame-options"), "DENY");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    for wanted in [
        "<html lang=\"en\">",
        "<label for=\"username\">",
        "<label for=\"password\">",
        "type=\"password\"",
        "autocomplete=\"current-password\"",
        "value=\"mia@example.org\"",
        "<td>alice@example.org</td><td>Correct-Horse-2</td>",
        "<td>bob@example.org</td>",
        "Correct-Horse-4 (blocked)",
        "Correct-Horse-5 then 123456",
    ] {
        assert!(page.text.contains(wanted), "no {wanted} in {}", page.text);
    }
    for unwanted in ["<script", "src=", "url(", "@import"] {
        assert!(!page.text.contains(unwanted), "{unwanted}");
    }
}

#[tokio::test]
async fn the_hash_in_the_policy_is_the_one_of_the_style() {
    use base64::Engine as _;
    let tenant = tenant().await;
    let page = get(&tenant, "/authorize").await;
    let style = page
        .text
        .split_once("<style>")
        .and_then(|(_, rest)| rest.split_once("</style>"))
        .unwrap()
        .0;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(hash.as_ref());
    assert!(page.header("content-security-policy").contains(&hash));
}

#[tokio::test]
async fn only_people_of_the_connection_are_named() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let target = browser
        .authorize(&[("connection", "employees")])
        .await
        .location();
    let page = browser
        .get(&format!("{}?{}", target.path(), target.query().unwrap()))
        .await;
    assert!(page.text.contains("bob@example.org"));
    assert!(!page.text.contains("alice@example.org"));
}

#[tokio::test]
async fn a_wrong_password_shows_the_page_again_and_the_right_one_still_works() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[]).await;
    for (username, password) in [
        ("mia@example.org", "wrong"),
        ("nobody@example.org", "Correct-Horse-1"),
        ("mia@example.org", ""),
        ("", ""),
    ] {
        let answer = browser.log_in(&page, username, password).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(
            answer
                .text
                .contains("role=\"alert\">Wrong email or password.</p>")
        );
        assert!(answer.text.contains(&format!("value=\"{username}\"")));
        assert!(!answer.text.contains("value=\"wrong\""));
    }
    let done = browser
        .log_in(&page, "mia@example.org", "Correct-Horse-1")
        .await;
    assert!(parameter(&done.location(), "code").is_some());
    // The login is over: its form cannot be sent again.
    let again = browser
        .log_in(&page, "mia@example.org", "Correct-Horse-1")
        .await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert!(!again.headers.contains_key("location"));
}

#[tokio::test]
async fn a_username_serves_too_and_only_in_its_connection() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[("connection", "employees")]).await;
    let refused = browser
        .log_in(&page, "mia@example.org", "Correct-Horse-1")
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let done = browser.log_in(&page, "BOB", "Correct-Horse-3").await;
    let code = parameter(&done.location(), "code").unwrap();
    let tokens = exchange(&tenant, &code, &[]).await.json();
    let id = verified(&tenant, &text(&tokens, "id_token")).await.claims;
    assert_eq!(id["email"], "bob@example.org");
}

#[tokio::test]
async fn a_blocked_person_goes_back_with_an_error_also_from_a_session() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[]).await;
    let target = browser
        .log_in(&page, "blocked@example.org", "Correct-Horse-4")
        .await
        .location();
    assert_eq!(
        target.query(),
        Some("error=unauthorized&error_description=user+is+blocked&state=the-state")
    );

    browser.code(&[]).await;
    tenant.block_user(MIA, true).unwrap();
    let target = browser.authorize(&[]).await.location();
    assert_eq!(parameter(&target, "error").as_deref(), Some("unauthorized"));
    tenant.block_user(MIA, false).unwrap();
    browser.code_again().await;
}

#[tokio::test]
async fn threat_15_request_text_is_never_markup() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let attack = "\"><script>alert('x')</script>";
    let target = browser
        .authorize(&[("login_hint", attack)])
        .await
        .location();
    let state = parameter(&target, "state").unwrap();
    let login = browser.get(&format!("/u/login?state={state}")).await;
    let again = browser
        .post("/u/login", &[("state", &state), ("username", attack)])
        .await;
    let unknown = browser.authorize(&[("client_id", attack)]).await;
    let logout = browser
        .get(&format!("/v2/logout?{}", form(&[("returnTo", attack)])))
        .await;
    let lost = browser.post("/u/login", &[("state", attack)]).await;
    for page in [login, again, unknown, logout, lost] {
        assert!(!page.text.contains("<script"), "{}", page.text);
        assert!(!page.text.contains("'x'"), "{}", page.text);
    }
}

#[tokio::test]
async fn a_login_lives_for_an_hour() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[]).await;
    tenant.advance_clock(std::time::Duration::from_secs(3600));
    let answer = browser
        .log_in(&page, "mia@example.org", "Correct-Horse-1")
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn threat_44_failures_are_counted_for_every_spelling_of_an_identifier() {
    let tenant = tenant_with(TenantSettings {
        brute_force_attempts: Some(3),
        ..TenantSettings::default()
    })
    .await;
    let mut browser = Browser::new(&tenant);
    let page = browser.authorize(&[]).await;
    for spelling in ["mia@example.org", "MIA@example.org", " Mia@Example.ORG "] {
        let answer = browser.log_in(&page, spelling, "wrong").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    let blocked = browser
        .log_in(&page, "mIa@example.org", "Correct-Horse-1")
        .await;
    assert_eq!(blocked.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(blocked.text.contains("consecutive login attempts"));
    let other = browser
        .log_in(&page, "alice@example.org", "Correct-Horse-2")
        .await;
    assert!(parameter(&other.location(), "code").is_some());
}

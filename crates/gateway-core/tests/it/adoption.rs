//! Tokens that the service before this one handed out.

use serde_json::{Value, json};
use sessionkit::Clock as _;

use crate::world::{World, world_with};

fn adopting() -> World {
    world_with(&[("ADOPT_BEARER_SECONDS", "3600")])
}

/// An access token as Auth0 gave it to somebody else.
fn token(world: &World, subject: &str, audience: &Value) -> String {
    let now = world.clock.now().unix_millis() / 1000;
    world.auth0.sign(&json!({
        "iss": "https://acme.eu.auth0.com/", "azp": "app", "aud": audience, "sub": subject,
        "iat": now, "exp": now + 7200,
    }))
}

impl World {
    async fn status(&self, method: &str, path: &str, header: (&str, &str)) -> u16 {
        self.send(method, path, &[header], "").await.status.as_u16()
    }
}

#[tokio::test]
async fn of_several_clients_the_one_with_the_audience_adopts() {
    let world = adopting();
    for (audience, by_cookie, by_bearer) in [
        (json!("https://orders/"), "orders", "orders"),
        (json!("https://stock/"), "stock-pages", "stock"),
        (
            json!(["https://acme.eu.auth0.com/userinfo", "https://stock/"]),
            "stock-pages",
            "stock",
        ),
    ] {
        for (subject, expected) in [("cookie", by_cookie), ("bearer", by_bearer)] {
            let token = token(&world, &format!("{subject} {audience}"), &audience);
            let (cookie, bearer) = (format!("sid={token}"), format!("Bearer {token}"));
            let header = match subject {
                "cookie" => ("cookie", cookie.as_str()),
                _ => ("authorization", bearer.as_str()),
            };
            assert_eq!(world.status("GET", "/userinfo", header).await, 200);
            let sessions = world.get("/sessions", &[]).await.json();
            let clients: Vec<&Value> = sessions
                .as_array()
                .unwrap()
                .iter()
                .filter(|session| session["userId"] == format!("{subject} {audience}"))
                .map(|session| &session["client"])
                .collect();
            assert_eq!(clients, [expected]);
        }
    }
    let other = token(&world, "mia", &json!("https://other/"));
    let cookie = format!("sid={other}");
    let status = world.status("GET", "/userinfo", ("cookie", &cookie)).await;
    assert_eq!(status, 401);
}

#[tokio::test(start_paused = true)]
async fn signing_out_before_the_adoption_is_for_good() {
    let world = adopting();
    let orders = json!("https://orders/");
    let [one, two, three] = ["one", "two", "three"].map(|who| token(&world, who, &orders));
    let cookie = format!("sid={one}");
    // Of a client that the token names, whatever the default is.
    let answer = world.get("/logout", &[("cookie", &cookie)]).await;
    assert_eq!(answer.status, 302);
    assert!(answer.header("set-cookie").starts_with("sid=;"));
    let status = world.status("GET", "/userinfo", ("cookie", &cookie)).await;
    assert_eq!(status, 401);
    // Twice is no error.
    assert_eq!(
        world.status("GET", "/logout", ("cookie", &cookie)).await,
        302
    );
    let bearer = format!("Bearer {two}");
    let bearer = ("authorization", bearer.as_str());
    assert_eq!(world.status("POST", "/logout", bearer).await, 302);
    assert_eq!(world.status("GET", "/userinfo", bearer).await, 401);
    // A sign-in over such a cookie ends it as well.
    let cookie = format!("sid={three}");
    let body = "grant_type=password&username=bob&password=canary-password";
    let headers = [("client-type", "website"), ("cookie", cookie.as_str())];
    let answer = world.form("/oauth/token", &headers, body).await;
    assert_eq!(answer.status, 200);
    let status = world.status("GET", "/userinfo", ("cookie", &cookie)).await;
    assert_eq!(status, 401);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_all_sessions_of_a_person_holds_for_tokens_not_yet_adopted() {
    let world = adopting();
    let orders = json!("https://orders/");
    let [old, other] = ["mia", "bob"].map(|who| format!("sid={}", token(&world, who, &orders)));
    let ended = world.send("DELETE", "/sessions/mia", &[], "").await;
    assert_eq!(ended.status, 200);
    let opens =
        async |cookie: &str| world.status("GET", "/userinfo", ("cookie", cookie)).await == 200;
    assert!(!opens(&old).await);
    assert!(opens(&other).await);
    // What is issued later is good, until the next end.
    world.clock.advance(std::time::Duration::from_secs(1));
    let [later, latest] = [1, 2].map(|number| {
        let audience = json!(["https://orders/", number.to_string()]);
        format!("sid={}", token(&world, "mia", &audience))
    });
    assert!(opens(&later).await);
    let now = world.clock.now().unix_millis() / 1000;
    let logout = world.auth0.sign(&json!({
        "iss": "https://acme.eu.auth0.com/", "aud": "app", "sub": "mia", "iat": now,
        "exp": now + 120, "jti": "1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }));
    let body = format!("logout_token={logout}");
    let answer = world.form("/backchannel-logout", &[], &body).await;
    assert_eq!(answer.status, 200);
    assert!(!opens(&later).await && !opens(&latest).await && !opens(&old).await);
}

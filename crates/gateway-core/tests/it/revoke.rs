//! Ended from elsewhere: by Auth0's back channel, and by asking Auth0 about people from time to time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use sessionkit::testing::MockSessionStore;
use sessionkit::{Clock as _, StoreError};

use crate::world::{World, world, world_with};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn logout_token(world: &World, edit: &Value) -> String {
    let now = world.clock.now().unix_millis() / 1000;
    let mut claims = json!({
        "iss": "https://acme.eu.auth0.com/", "aud": "app", "iat": now, "exp": now + 120,
        "jti": "1", "events": {EVENT: {}},
    });
    for (name, value) in edit.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    world.auth0.sign(&claims)
}

impl World {
    async fn backchannel(&self, edit: &Value) -> u16 {
        let body = format!("logout_token={}", logout_token(self, edit));
        let answer = self.form("/backchannel-logout", &[], &body).await;
        answer.status.as_u16()
    }

    async fn opens(&self, sid: &str) -> bool {
        let cookie = format!("sid={sid}");
        let answer = self.get("/userinfo", &[("cookie", &cookie)]).await;
        answer.status == 200
    }

    /// Signs in with an ID token that names a session of Auth0's.
    async fn sign_in_with(
        &self,
        username: &str,
        edit: fn(&mut serde_json::Map<String, Value>),
    ) -> String {
        *self.auth0.edit.lock().unwrap() = edit;
        self.sign_in("opaque", username).await.sid()
    }
}

#[tokio::test]
async fn a_logout_token_ends_the_sessions_of_its_sid() {
    let world = world();
    let one = world
        .sign_in_with("mia", |c| drop(c.insert("sid".to_owned(), "s1".into())))
        .await;
    let two = world
        .sign_in_with("mia", |c| drop(c.insert("sid".to_owned(), "s2".into())))
        .await;
    let other = world
        .sign_in_with("bob", |c| drop(c.insert("sid".to_owned(), "s1".into())))
        .await;
    assert_eq!(
        world.backchannel(&json!({"sid": "s1", "sub": "mia"})).await,
        200
    );
    assert!(!world.opens(&one).await);
    assert!(world.opens(&two).await);
    // Another person's session is not ended by a token that names both.
    assert!(world.opens(&other).await);
    assert_eq!(
        world.backchannel(&json!({"sid": "s1", "jti": "2"})).await,
        200
    );
    assert!(!world.opens(&other).await);
    // Nobody is known by it: that is no error.
    assert_eq!(
        world.backchannel(&json!({"sid": "s9", "jti": "3"})).await,
        200
    );
    // Their refresh tokens go too, in the background.
    let revoked = async {
        while world.auth0.revoked.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), revoked)
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_sid_all_sessions_of_the_subject_end_and_a_replay_is_refused() {
    let world = world();
    let one = world.sign_in("opaque", "mia").await.sid();
    let two = world.sign_in("opaque", "mia").await.sid();
    let other = world.sign_in("opaque", "bob").await.sid();
    assert_eq!(world.backchannel(&json!({"sub": "mia"})).await, 200);
    assert!(!world.opens(&one).await && !world.opens(&two).await);
    assert!(world.opens(&other).await);
    let again = world.sign_in("opaque", "mia").await.sid();
    assert_eq!(world.backchannel(&json!({"sub": "mia"})).await, 400);
    assert!(world.opens(&again).await);
}

#[tokio::test]
async fn a_logout_token_that_could_not_be_served_may_be_sent_again() {
    let world = world();
    let mut away = MockSessionStore::new();
    let error = || StoreError("away".into());
    away.expect_sessions_of()
        .returning(move |_, _| Err(error()));
    let away = world.replica(away);
    let sid = world.sign_in("opaque", "mia").await.sid();
    assert_eq!(away.backchannel(&json!({"sub": "mia"})).await, 503);
    assert!(world.opens(&sid).await);
    // Who signs in between is not meant.
    world.clock.advance(Duration::from_secs(61));
    let later = world.sign_in("opaque", "mia").await.sid();
    assert_eq!(world.backchannel(&json!({"sub": "mia"})).await, 200);
    assert!(!world.opens(&sid).await);
    assert!(world.opens(&later).await);
    assert_eq!(world.backchannel(&json!({"sub": "mia"})).await, 400);
    assert!(world.opens(&later).await);
}

#[tokio::test]
async fn threat_13_a_logout_token_that_does_not_hold_is_refused() {
    let world = world();
    let sid = world.sign_in("opaque", "mia").await.sid();
    for edit in [
        json!({"sub": "mia", "iss": "https://evil.example.org/"}),
        json!({"sub": "mia", "aud": "other"}),
        json!({"sub": "mia", "exp": 1}),
        json!({"sub": "mia", "exp": null}),
        json!({"sub": "mia", "iat": null}),
        json!({"sub": "mia", "jti": null}),
        json!({"sub": "mia", "nonce": "n"}),
        json!({"sub": "mia", "sid": 1}),
        json!({"sub": "mia", "sid": ""}),
        json!({"sub": ["mia"], "sid": "s1"}),
        json!({"sub": "mia", "events": null}),
        json!({"sub": "mia", "events": {EVENT: "x"}}),
        json!({}),
    ] {
        assert_eq!(world.backchannel(&edit).await, 400, "{edit}");
    }
    *world.auth0.spoil_signature.lock().unwrap() = true;
    assert_eq!(world.backchannel(&json!({"sub": "mia"})).await, 400);
    for body in [
        "",
        "logout_token=",
        "logout_token=a.b.c",
        "logout_token=x&logout_token=y",
    ] {
        let answer = world.form("/backchannel-logout", &[], body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert!(world.opens(&sid).await);
}

#[tokio::test(start_paused = true)]
async fn a_person_blocked_at_auth0_is_signed_out_within_the_time() {
    let world = world_with(&[("SESSION_REVALIDATE_SECONDS", "600")]);
    let mia = world.sign_in("opaque", "mia").await.sid();
    let bob = world.sign_in("opaque", "bob").await.sid();
    world.auth0.blocked.lock().unwrap().push("mia".to_owned());
    let gateway = std::sync::Arc::clone(&world.gateway);
    let background = tokio::spawn(async move { gateway.run_background().await });
    let mut ended_after = None;
    for minute in 1..=12 {
        world.clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let active = world.get("/users/active", &[]).await.json();
        if ended_after.is_none() && active == json!([{"userId": "bob"}]) {
            ended_after = Some(minute);
        }
    }
    background.abort();
    assert!(
        ended_after.is_some_and(|minutes| minutes <= 10),
        "{ended_after:?}"
    );
    assert!(!world.opens(&mia).await);
    assert!(world.opens(&bob).await);
    // Bob was asked about once or twice, not all the time.
    let refreshes = world.auth0.refreshes.load(Ordering::SeqCst);
    assert!((2..=4).contains(&refreshes), "{refreshes}");
}

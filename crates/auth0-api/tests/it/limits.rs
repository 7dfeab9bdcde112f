//! The rate limit over real sockets: a stub with a token bucket.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auth0_api::management::{ImportUsers, Lane, ListUsers, UserId};
use auth0_api::{
    Auth0Client, AuthenticationApi as _, ClientSettings, Error, Grant, ManagementApi as _,
    ManagementClient, Password, RefreshToken,
};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::stub::{Reply, Stub, admin, call, reply, token};

const LIMITED: &str = r#"{"statusCode":429,"error":"Too Many Requests","message":"Global limit has been reached","errorCode":"too_many_requests"}"#;
const USER: &str = r#"{"user_id":"auth0|x"}"#;

/// A bucket that speaks as Auth0's does.
struct Bucket {
    limit: f64,
    per_second: f64,
    level: f64,
    at: Instant,
    begun: Instant,
}

impl Bucket {
    fn new(limit: f64, per_second: f64) -> Mutex<Self> {
        let now = Instant::now();
        Mutex::new(Self {
            limit,
            per_second,
            level: limit,
            at: now,
            begun: now,
        })
    }

    /// Takes a token; the reply, or a 429 in its place.
    fn take(&mut self, reply: Reply) -> Reply {
        let now = Instant::now();
        let gained = (now - self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.limit);
        self.at = now;
        let reply = if self.level >= 1.0 {
            self.level -= 1.0;
            reply
        } else {
            crate::stub::reply(429, LIMITED)
        };
        let clock = (now - self.begun).as_secs_f64();
        let full = clock + (self.limit - self.level) / self.per_second;
        let date = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(clock as u64);
        reply
            .header(
                "date",
                date.format(&Rfc2822).unwrap().replace("+0000", "GMT"),
            )
            .header("x-ratelimit-limit", self.limit)
            .header("x-ratelimit-remaining", self.level.floor())
            .header("x-ratelimit-reset", full.ceil())
    }
}

fn id() -> UserId {
    UserId::parse("auth0|x").unwrap()
}

async fn user(client: &ManagementClient, lane: Lane, seconds: u64) -> Result<(), Error> {
    client.user(call(lane, seconds), &id()).await.map(drop)
}

#[tokio::test]
async fn a_burst_from_three_lanes_passes_in_their_order() {
    let bucket = Bucket::new(2.0, 8.0);
    let stub = Stub::management(move |_, _| bucket.lock().unwrap().take(reply(200, USER))).await;
    let client = Arc::new(stub.client(ClientSettings::default()));
    // The token first, so that all come at the same moment.
    user(&client, Lane::Login, 5).await.unwrap();
    let done = Arc::<Mutex<Vec<Lane>>>::default();
    let mut calls = tokio::task::JoinSet::new();
    for lane in [Lane::Import, Lane::Admin, Lane::Login] {
        for _ in 0..10 {
            let (client, done) = (Arc::clone(&client), Arc::clone(&done));
            calls.spawn(async move {
                user(&client, lane, 60).await.expect("the wait fits");
                done.lock().unwrap().push(lane);
            });
        }
    }
    calls.join_all().await;
    let done = done.lock().unwrap().clone();
    assert_eq!(done.len(), 30);
    // The first two pass before the others have come.
    assert!(done[4..].is_sorted(), "{done:?}");
}

#[tokio::test]
async fn a_wait_that_does_not_fit_is_told_at_once() {
    let limited = reply(429, LIMITED).header("retry-after", 7);
    let stub = Stub::management(move |_, _| limited.clone()).await;
    let client = stub.client(ClientSettings::default());
    let begun = Instant::now();
    for _ in 0..3 {
        let error = user(&client, Lane::Admin, 3).await.unwrap_err();
        let wait = error.retry_after().unwrap();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(7));
        assert!(matches!(error, Error::RateLimited { refusal, .. } if refusal.status == 429));
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(stub.calls().len(), 1);
}

#[tokio::test]
async fn a_post_refused_for_the_rate_is_sent_again() {
    for header in [None, Some(("retry-after", "1"))] {
        let stub = Stub::management(move |before, _| match (before, header) {
            (0, Some((name, value))) => reply(429, LIMITED).header(name, value),
            (0, None) => reply(429, LIMITED),
            _ => reply(201, USER),
        })
        .await;
        let client = stub.client(ClientSettings::default());
        let begun = Instant::now();
        let body = serde_json::Map::new();
        client.create_user(admin(), &body).await.unwrap();
        assert_eq!(stub.calls().len(), 2);
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn two_import_jobs_at_a_time_are_no_rate() {
    let body = r#"{"statusCode":429,"error":"Too Many Requests","message":"There are 2 active import users jobs, please wait until some of them are finished and try again"}"#;
    let stub = Stub::management(move |_, seen| {
        if seen.target.contains("jobs") {
            reply(429, body)
        } else {
            reply(200, USER)
        }
    })
    .await;
    let client = stub.client(ClientSettings::default());
    let import = ImportUsers {
        users: Bytes::from_static(b"[]"),
        connection_id: "con_AbCdEfGh12345678".to_owned(),
        upsert: false,
        external_id: None,
        send_completion_email: false,
    };
    let error = client.import_users(admin(), &import).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { refusal, .. } if refusal.body.is_some()));
    // Nobody else waits for that.
    let begun = Instant::now();
    user(&client, Lane::Import, 5).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(900));
    assert_eq!(stub.calls().len(), 2);
}

#[tokio::test]
async fn a_flood_of_imports_does_not_delay_a_sign_in() {
    let bucket = Bucket::new(10.0, 2.0);
    let stub = Stub::start(move |seen| {
        if seen.is_token() {
            return token(1, 86_400);
        }
        bucket.lock().unwrap().take(reply(200, "[]"))
    })
    .await;
    let auth0 = Auth0Client::new(ClientSettings::default()).unwrap();
    let audience = ManagementClient::audience(&stub.tenant);
    let client = ManagementClient::new(auth0.clone(), stub.application(), audience);
    let client = Arc::new(client);
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let client = Arc::clone(&client);
        flood.spawn(async move {
            let request = ListUsers::default();
            client.list_users(call(Lane::Import, 60), &request).await
        });
    }
    let governor = auth0.governor(&stub.tenant);
    while governor.snapshot().management.waiting[3] < 150 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    let grant = Grant::Password {
        username: "mia".to_owned(),
        password: Password::new("x"),
        realm: None,
        scope: "openid".to_owned(),
        audience: None,
        forwarded_for: None,
    };
    auth0.token(&stub.application(), &grant).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500));
    // Nor a call to the Management API in an earlier lane, by more than a token's time.
    let request = ListUsers::default();
    client
        .list_users(call(Lane::Login, 5), &request)
        .await
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
    flood.shutdown().await;
    assert_eq!(governor.snapshot().management.waiting, [0; 4]);
}

fn refresh() -> Grant {
    Grant::RefreshToken {
        refresh_token: RefreshToken::new("rt-secret"),
        scope: None,
    }
}

#[tokio::test]
async fn a_grant_refused_for_the_tenants_rate_waits_and_is_sent_again() {
    let asked = Mutex::new(0);
    let stub = Stub::start(move |_| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        if *asked == 1 {
            reply(429, r#"{"error":"too_many_requests"}"#).header("retry-after", 1)
        } else {
            token(1, 60)
        }
    })
    .await;
    let client = Auth0Client::new(ClientSettings::default()).unwrap();
    let begun = Instant::now();
    client.token(&stub.application(), &refresh()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(stub.token_calls().len(), 2);
}

#[tokio::test]
async fn a_grant_is_not_sent_again_for_anything_else() {
    for (answer, retry_after) in [
        // Attack protection: this person, for long.
        (
            reply(429, r#"{"error":"too_many_attempts"}"#).header("retry-after", 1),
            Some(Duration::from_secs(1)),
        ),
        // Longer than anybody waits.
        (
            reply(429, r#"{"error":"too_many_requests"}"#).header("retry-after", 60),
            Some(Duration::from_secs(60)),
        ),
        (reply(500, "{}"), None),
        (
            reply(503, "").header("retry-after", 1),
            Some(Duration::from_secs(1)),
        ),
        (crate::stub::cut(), None),
    ] {
        let stub = Stub::start(move |_| answer.clone()).await;
        let client = Auth0Client::new(ClientSettings::default()).unwrap();
        let begun = Instant::now();
        let error = client
            .token(&stub.application(), &refresh())
            .await
            .unwrap_err();
        assert_eq!(error.retry_after(), retry_after);
        assert!(begun.elapsed() < Duration::from_millis(900));
        assert_eq!(stub.token_calls().len(), 1);
    }
}

#[tokio::test]
async fn a_persons_own_limit_is_not_waited_for() {
    let limited = reply(429, r#"{"error":"too_many_requests"}"#).header("retry-after", 1);
    let stub = Stub::start(move |_| limited.clone()).await;
    let client = Auth0Client::new(ClientSettings::default()).unwrap();
    let access_token = auth0_api::AccessToken::new("at");
    let error = client
        .user_info(&stub.tenant, &access_token)
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(stub.calls().len(), 1);
}

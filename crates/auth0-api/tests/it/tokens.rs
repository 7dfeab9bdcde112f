//! The access token for the Management API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth0_api::management::{Lane, UserId};
use auth0_api::{ClientSettings, Error, ManagementApi as _};

use crate::stub::{Reply, SECRET, Seen, Stub, admin, call, cut, refusal, reply, token};

const USER: &str = r#"{"user_id":"auth0|x"}"#;

fn id() -> UserId {
    UserId::parse("auth0|x").unwrap()
}

/// A stub that answers tokens with one function, told how many were asked for before, and everything
/// else with another.
async fn stub(
    tokens: impl Fn(usize) -> Reply + Send + Sync + 'static,
    calls: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> Stub {
    let asked = AtomicUsize::new(0);
    Stub::start(move |seen| {
        if seen.is_token() {
            tokens(asked.fetch_add(1, Ordering::SeqCst))
        } else {
            calls(seen)
        }
    })
    .await
}

#[tokio::test]
async fn a_hundred_callers_share_one_fetch() {
    let stub = stub(
        |_| token(1, 86_400).after(Duration::from_millis(50)),
        |_| reply(200, USER),
    )
    .await;
    let client = Arc::new(stub.client(ClientSettings::default()));
    let calls = (0..100).map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.user(admin(), &id()).await.map(drop) })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(stub.token_calls().len(), 1);
    let form = stub.token_calls()[0].text();
    let audience = format!("{}api/v2/", stub.tenant.issuer());
    let encoded: String = url::form_urlencoded::byte_serialize(audience.as_bytes()).collect();
    assert_eq!(
        form,
        format!(
            "grant_type=client_credentials&client_id=mgmt&client_secret={SECRET}&audience={encoded}"
        )
    );
}

#[tokio::test]
async fn a_fetch_goes_on_without_its_first_caller() {
    let stub = stub(
        |_| token(1, 86_400).after(Duration::from_millis(200)),
        |_| reply(200, USER),
    )
    .await;
    let client = stub.client(ClientSettings::default());
    let user = id();
    let first = client.user(admin(), &user);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), first)
            .await
            .is_err()
    );
    client.user(admin(), &user).await.unwrap();
    assert_eq!(stub.token_calls().len(), 1);
}

#[tokio::test]
async fn renews_before_the_end() {
    let stub = stub(
        |before| token(u32::try_from(before).unwrap() + 1, 2),
        |_| reply(200, USER),
    )
    .await;
    let client = stub.client(ClientSettings::default());
    client.user(admin(), &id()).await.unwrap();
    // Nine tenths of two seconds are over; the token is still good, and serves once more.
    tokio::time::sleep(Duration::from_millis(1_820)).await;
    client.user(admin(), &id()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.user(admin(), &id()).await.unwrap();
    let used: Vec<_> = stub.calls().into_iter().map(|c| c.authorization).collect();
    assert_eq!(used[0], "Bearer mgmt-token-1");
    assert_eq!(used[2], "Bearer mgmt-token-2");
    assert_eq!(stub.token_calls().len(), 2);
}

#[tokio::test]
async fn a_401_renews_once_and_repeats_any_method() {
    let stub = stub(
        |before| token(u32::try_from(before).unwrap() + 1, 86_400),
        |seen| {
            if seen.authorization.ends_with('1') {
                refusal(
                    401,
                    "",
                    "Expired token received for JSON Web Token validation",
                )
            } else {
                reply(201, USER)
            }
        },
    )
    .await;
    let client = stub.client(ClientSettings::default());
    let body = serde_json::Map::new();
    client.create_user(admin(), &body).await.unwrap();
    assert_eq!((stub.calls().len(), stub.token_calls().len()), (2, 2));
}

#[tokio::test]
async fn a_401_that_stays_goes_through() {
    let stub = stub(
        |before| token(u32::try_from(before).unwrap() + 1, 86_400),
        |_| refusal(401, "", "Invalid token"),
    )
    .await;
    let client = stub.client(ClientSettings::default());
    let error = client.user(admin(), &id()).await.unwrap_err();
    assert!(matches!(error, Error::Refused(r) if r.status == 401));
    assert_eq!((stub.calls().len(), stub.token_calls().len()), (2, 2));
    // The next calls do not buy one token each.
    for _ in 0..5 {
        client.user(admin(), &id()).await.unwrap_err();
    }
    assert_eq!(stub.token_calls().len(), 2);
}

#[tokio::test]
async fn a_wrong_secret_is_told_to_all_and_not_tried_for_each() {
    let body = r#"{"error":"access_denied","error_description":"Unauthorized"}"#;
    let stub = stub(move |_| reply(401, body), |_| reply(200, USER)).await;
    let client = Arc::new(stub.client(ClientSettings::default()));
    let calls = (0..20).map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.user(admin(), &id()).await.map(drop) })
    });
    for call in calls.collect::<Vec<_>>() {
        let error = call.await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Refused(r) if r.status == 401 && r.code.as_str() == "access_denied")
        );
    }
    assert_eq!(stub.token_calls().len(), 1);
    assert_eq!(stub.calls().len(), 0);
    // After the pause it is tried again.
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.user(admin(), &id()).await.unwrap_err();
    assert_eq!(stub.token_calls().len(), 2);
}

#[tokio::test]
async fn a_token_endpoint_that_stumbles_is_asked_again() {
    let stub = stub(
        |before| match before {
            0 => cut(),
            1 => reply(503, ""),
            _ => token(1, 86_400),
        },
        |_| reply(200, USER),
    )
    .await;
    let client = stub.client(ClientSettings::default());
    client.user(admin(), &id()).await.unwrap();
    assert_eq!(stub.token_calls().len(), 3);
}

#[tokio::test]
async fn a_slow_token_endpoint_does_not_hold_a_call_past_its_deadline() {
    let stub = stub(
        |_| token(1, 60).after(Duration::from_secs(5)),
        |_| reply(200, USER),
    )
    .await;
    let client = stub.client(ClientSettings::default());
    let result = client.user(call(Lane::Admin, 1), &id()).await;
    assert!(matches!(result, Err(Error::Timeout)));
}

#[tokio::test]
async fn an_unreachable_token_endpoint_tells_everybody_why() {
    let stub = stub(|_| cut(), |_| reply(200, USER)).await;
    let client = stub.client(ClientSettings::default());
    let user = id();
    let (a, b) = tokio::join!(client.user(admin(), &user), client.user(admin(), &user));
    for error in [a.unwrap_err(), b.unwrap_err()] {
        assert!(matches!(error, Error::Transport(_)));
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .source()
                .is_some()
        );
        assert!(!format!("{error:?}").contains(SECRET));
    }
}

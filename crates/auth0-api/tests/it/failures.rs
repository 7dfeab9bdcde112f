//! What is repeated, what is not, and what an error tells.

use std::time::{Duration, Instant};

use auth0_api::management::{ImportUsers, Lane, ListUsers, UserId};
use auth0_api::{ClientSettings, Error, ManagementApi as _, ManagementClient};
use bytes::Bytes;
use serde_json::{Map, json};

use crate::stub::{Reply, SECRET, Stub, TOKEN, admin, call, cut, refusal, reply};

async fn always(answer: Reply) -> Stub {
    Stub::management(move |_, _| answer.clone()).await
}

fn id() -> UserId {
    UserId::parse("auth0|x").unwrap()
}

async fn get(client: &ManagementClient) -> Result<(), Error> {
    client.user(admin(), &id()).await.map(drop)
}

async fn post(client: &ManagementClient) -> Result<(), Error> {
    client.create_user(admin(), &Map::new()).await.map(drop)
}

#[tokio::test]
async fn refusals_carry_auth0s_whole_body() {
    for (status, code) in [
        (400, "invalid_body"),
        (403, "insufficient_scope"),
        (409, "auth0_idp_error"),
        (413, "payload"),
    ] {
        let stub = always(refusal(status, code, "Words of Auth0, expected any of: x")).await;
        let client = stub.client(ClientSettings::default());
        let Err(Error::Refused(refusal)) = post(&client).await else {
            panic!("{status} must be a refusal");
        };
        assert_eq!((refusal.status, refusal.code.as_str()), (status, code));
        assert!(refusal.description.as_deref().unwrap().contains("expected"));
        let body = refusal.body.clone().unwrap();
        assert_eq!(body["statusCode"], json!(status));
        assert_eq!(body["message"], "Words of Auth0, expected any of: x");
        assert!(!format!("{refusal} {refusal:?}").contains("Words"));
        assert_eq!(stub.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_without_a_code_and_one_without_a_body() {
    let stub = always(reply(401, r#"{"statusCode":401,"message":"Missing"}"#)).await;
    let client = stub.client(ClientSettings::default());
    let error = post(&client).await.unwrap_err();
    assert!(matches!(error, Error::Refused(r) if r.status == 401 && r.body.is_some()));

    let stub = always(reply(414, "<html>too long</html>")).await;
    let client = stub.client(ClientSettings::default());
    let error = get(&client).await.unwrap_err();
    assert!(matches!(error, Error::Refused(r) if r.code.as_str() == "uri_too_long"));
}

#[tokio::test]
async fn repeats_by_method() {
    for (answer, gets, posts) in [
        (reply(500, "{}"), 3, 1),
        (reply(502, "<html>"), 3, 1),
        // A search that timed out will mostly time out again.
        (reply(503, "{}"), 2, 1),
        (cut(), 3, 1),
        (refusal(400, "invalid_body", ""), 1, 1),
    ] {
        let stub = always(answer.clone()).await;
        let client = stub.client(ClientSettings::default());
        get(&client).await.unwrap_err();
        assert_eq!(stub.calls().len(), gets, "GET {answer:?}");

        let stub = always(answer.clone()).await;
        let client = stub.client(ClientSettings::default());
        let changed = client.update_user(admin(), &id(), &Map::new()).await;
        changed.unwrap_err();
        assert_eq!(stub.calls().len(), gets, "PATCH {answer:?}");

        let stub = always(answer.clone()).await;
        let client = stub.client(ClientSettings::default());
        client.delete_user(admin(), &id()).await.unwrap_err();
        assert_eq!(stub.calls().len(), gets, "DELETE {answer:?}");

        let stub = always(answer.clone()).await;
        let client = stub.client(ClientSettings::default());
        post(&client).await.unwrap_err();
        assert_eq!(stub.calls().len(), posts, "POST {answer:?}");
    }
}

#[tokio::test]
async fn a_fault_that_passes_is_not_noticed() {
    let stub = Stub::management(|before, _| match before {
        0 => cut(),
        1 => reply(502, ""),
        _ => reply(200, r#"{"user_id":"auth0|x"}"#),
    })
    .await;
    let client = stub.client(ClientSettings::default());
    get(&client).await.unwrap();
    assert_eq!(stub.calls().len(), 3);
}

#[tokio::test]
async fn a_post_whose_answer_is_late_is_not_sent_again() {
    let stub = always(reply(201, "{}").after(Duration::from_secs(5))).await;
    let client = stub.client(ClientSettings {
        timeout: Duration::from_millis(200),
        ..ClientSettings::default()
    });
    let error = post(&client).await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error}");
    let import = ImportUsers {
        users: Bytes::from_static(b"[]"),
        connection_id: String::new(),
        upsert: false,
        external_id: None,
        send_completion_email: false,
    };
    let error = client.import_users(admin(), &import).await.unwrap_err();
    assert!(matches!(error, Error::Timeout), "{error}");
    assert_eq!(stub.calls().len(), 2);
}

#[tokio::test]
async fn nothing_outlives_the_deadline() {
    let stub = always(reply(200, "[]").after(Duration::from_secs(30))).await;
    let client = stub.client(ClientSettings::default());
    let begun = Instant::now();
    let request = ListUsers::default();
    let result = client.list_users(call(Lane::Admin, 1), &request).await;
    assert!(matches!(result, Err(Error::Timeout)));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn what_was_never_sent_may_be_sent_whatever_it_is() {
    let answer = || reply(201, r#"{"user_id":"a|b"}"#).header("connection", "close");
    let mut stub = Stub::management(move |_, _| answer()).await;
    let client = stub.client(ClientSettings::default());
    post(&client).await.unwrap();

    stub.stop().await;
    let address = stub.tenant.issuer().replace("http://", "");
    let address = address.trim_end_matches('/').to_owned();
    let (posted, back) = tokio::join!(post(&client), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Stub::start_on(&address, move |_| answer()).await
    });
    posted.unwrap();
    assert_eq!(back.calls().len(), 1);
}

#[tokio::test]
async fn lists_have_a_limit_of_their_own() {
    let filler = "x".repeat(3 << 20);
    let list = format!(r#"[{{"user_id":"auth0|x","filler":"{filler}"}}]"#);
    let stub = always(reply(200, list)).await;
    let client = stub.client(ClientSettings::default());
    let request = ListUsers::default();
    let page = client.list_users(admin(), &request).await.unwrap();
    assert_eq!(page.users.len(), 1);

    let stub = always(reply(200, vec![b' '; (32 << 20) + 1])).await;
    let client = stub.client(ClientSettings::default());
    let error = client.list_users(admin(), &request).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected(_)));
    let error = get(&client).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected(_)));
    assert_eq!(stub.calls().len(), 2);
}

#[tokio::test]
async fn no_secret_and_no_query_is_shown() {
    let stub = always(cut()).await;
    let client = stub.client(ClientSettings::default());
    let by_email = client.users_by_email(admin(), "mia@example.org").await;
    let error = by_email.unwrap_err();
    let mut shown = format!("{client:?} {error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        shown += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    for secret in [SECRET, TOKEN, "mia"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

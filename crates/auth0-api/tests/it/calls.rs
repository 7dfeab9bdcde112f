//! Every call, as it goes over the wire, and its answers.

use auth0_api::management::{
    ExportUsers, ImportUsers, JobErrors, JobId, JobStatus, ListConnections, ListUsers,
    PasswordChangeTicket, Sort, UserId,
};
use auth0_api::search::{Field, Query, SearchQuery};
use auth0_api::{ClientSettings, Error, ManagementApi as _};
use bytes::Bytes;
use serde_json::json;

use crate::stub::{Reply, Stub, admin, refusal, reply};

fn id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn job_id() -> JobId {
    JobId::parse("job_AbCdEfGh12345678").unwrap()
}

const JOB: &str = r#"{"id":"job_AbCdEfGh12345678","status":"pending","type":"users_import"}"#;

/// A stub with one answer to everything.
async fn always(answer: Reply) -> Stub {
    Stub::management(move |_, _| answer.clone()).await
}

#[tokio::test]
async fn lists_users() {
    let users = r#" [ {"user_id":"auth0|x","n":1.10,"b":{"z":1,"a":2}} ] "#;
    let stub = always(reply(200, users)).await;
    let client = stub.client(ClientSettings::default());
    let field = Field::parse("app_metadata.groups").unwrap();
    let query = Query::phrase(field, r#"a+b|c&d"e\f #ü"#);
    let full = ListUsers {
        query: Some(SearchQuery::new(&query).unwrap()),
        page: 3,
        per_page: 100,
        sort: Some(Sort {
            field: Field::created_at(),
            descending: true,
        }),
        fields: vec!["user_id".to_owned(), "email".to_owned()],
        include_totals: false,
    };
    let page = client.list_users(admin(), &full).await.unwrap();
    assert_eq!(
        page.users[0].json(),
        r#"{"user_id":"auth0|x","n":1.10,"b":{"z":1,"a":2}}"#
    );
    assert_eq!(page.total, None);

    let bare = ListUsers {
        per_page: 50,
        ..ListUsers::default()
    };
    client.list_users(admin(), &bare).await.unwrap();

    let seen = stub.calls();
    assert_eq!(seen[0].authorization, "Bearer mgmt-token-1");
    insta::assert_snapshot!(seen[0].show(), @"GET /api/v2/users?page=3&per_page=100&include_totals=false&sort=created_at%3A-1&fields=user_id%2Cemail&include_fields=true&q=app_metadata.groups%3A%22a%2Bb%7Cc%26d%5C%22e%5C%5Cf%20%23%C3%BC%22&search_engine=v3");
    insta::assert_snapshot!(seen[1].show(), @"GET /api/v2/users?page=0&per_page=50&include_totals=false&search_engine=v3");
}

#[tokio::test]
async fn lists_users_with_totals() {
    let body = r#"{"start":0,"limit":1,"length":1,"total":4711,"users":[{"user_id":"auth0|x"}]}"#;
    let stub = always(reply(200, body)).await;
    let request = ListUsers {
        per_page: 1,
        include_totals: true,
        ..ListUsers::default()
    };
    let client = stub.client(ClientSettings::default());
    let page = client.list_users(admin(), &request).await.unwrap();
    assert_eq!((page.users.len(), page.total), (1, Some(4711)));
    insta::assert_snapshot!(stub.calls()[0].show(), @"GET /api/v2/users?page=0&per_page=1&include_totals=true&search_engine=v3");
}

#[tokio::test]
async fn threat_41_a_value_arrives_as_one_term() {
    for hostile in [
        r#"x" OR email:*"#,
        r#"x\" OR email:*"#,
        "x&q=email:*&search_engine=v1",
        "x#fragment",
        "a+b %2B %20",
        "\u{0}\u{7f}",
        "*?~^/:()[]{}!&&||",
    ] {
        let stub = always(reply(200, "[]")).await;
        let query = Query::phrase(Field::parse("email").unwrap(), hostile);
        let query = SearchQuery::new(&query).unwrap();
        let request = ListUsers {
            query: Some(query.clone()),
            per_page: 1,
            ..ListUsers::default()
        };
        let client = stub.client(ClientSettings::default());
        client.list_users(admin(), &request).await.unwrap();

        let target = stub.calls()[0].target.clone();
        assert!(!target.contains('+'), "{target}");
        let (_, raw) = target.split_once('?').unwrap();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.as_bytes())
            .into_owned()
            .collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["page", "per_page", "include_totals", "q", "search_engine"];
        assert_eq!(names, expected, "{target}");
        assert_eq!(pairs[3].1, query.as_str());
        assert_eq!(pairs[4].1, "v3");
    }
}

#[tokio::test]
async fn finds_by_email() {
    let stub = always(reply(200, r#"[{"user_id":"a|1"},{"user_id":"b|2"}]"#)).await;
    let client = stub.client(ClientSettings::default());
    let users = client.users_by_email(admin(), "mia+x@example.org").await;
    assert_eq!(users.unwrap().len(), 2);
    insta::assert_snapshot!(stub.calls()[0].show(), @"GET /api/v2/users-by-email?email=mia%2Bx%40example.org");
}

#[tokio::test]
async fn ids_are_one_segment_encoded_once() {
    let stub = always(reply(200, r#"{"user_id":"x"}"#)).await;
    let client = stub.client(ClientSettings::default());
    for (text, path) in [
        ("auth0|64b0", "auth0%7C64b0"),
        ("auth0|..", "auth0%7C.."),
        ("..|..", "..%7C.."),
        ("auth0|a/../b", "auth0%7Ca%2F..%2Fb"),
        ("auth0|%2F", "auth0%7C%252F"),
        ("auth0|%2e%2e", "auth0%7C%252e%252e"),
        ("samlp|a|b@c", "samlp%7Ca%7Cb%40c"),
        ("auth0|?x=1#y", "auth0%7C%3Fx%3D1%23y"),
        (r"auth0|a\b", "auth0%7Ca%5Cb"),
        ("ad|J\u{f6}rg M", "ad%7CJ%C3%B6rg%20M"),
    ] {
        client.user(admin(), &id(text)).await.unwrap().unwrap();
        let seen = stub.calls().pop().unwrap();
        assert_eq!(seen.target, format!("/api/v2/users/{path}"), "{text}");
    }
}

#[tokio::test]
async fn an_unknown_user_is_no_error() {
    let stub = always(refusal(404, "inexistent_user", "The user does not exist.")).await;
    let client = stub.client(ClientSettings::default());
    assert!(client.user(admin(), &id("a|b")).await.unwrap().is_none());

    // A 404 that is not about the user is one.
    let stub = always(refusal(404, "other", "Not Found")).await;
    let client = stub.client(ClientSettings::default());
    let error = client.user(admin(), &id("a|b")).await.unwrap_err();
    assert!(matches!(error, Error::Refused(refusal) if refusal.status == 404));
}

#[tokio::test]
async fn changes_users() {
    let stub = Stub::management(|_, seen| match seen.method.as_str() {
        "POST" => reply(201, r#"{"user_id":"auth0|new"}"#),
        "PATCH" => reply(200, r#"{"user_id":"auth0|x"}"#),
        _ => reply(204, ""),
    })
    .await;
    let client = stub.client(ClientSettings::default());
    let body = json!({ "connection": "db", "email": "mia@example.org", "app_metadata": {"z": 1, "a": null} });
    let body = body.as_object().unwrap();
    let user = client.create_user(admin(), body).await.unwrap();
    assert_eq!(user.user_id().unwrap(), "auth0|new");
    client
        .update_user(admin(), &id("auth0|x"), body)
        .await
        .unwrap();
    client.delete_user(admin(), &id("auth0|x")).await.unwrap();
    let shown: Vec<_> = stub.calls().iter().map(|seen| seen.show()).collect();
    insta::assert_snapshot!(shown.join("\n---\n"), @r#"
    POST /api/v2/users
    application/json
    {"app_metadata":{"a":null,"z":1},"connection":"db","email":"mia@example.org"}
    ---
    PATCH /api/v2/users/auth0%7Cx
    application/json
    {"app_metadata":{"a":null,"z":1},"connection":"db","email":"mia@example.org"}
    ---
    DELETE /api/v2/users/auth0%7Cx
    "#);
}

#[tokio::test]
async fn imports_users() {
    let stub = always(reply(202, JOB)).await;
    let client = stub.client(ClientSettings::default());
    let mut import = ImportUsers {
        users: Bytes::from_static(br#"[{"email":"mia@example.org"}]"#),
        connection_id: "con_AbCdEfGh12345678".to_owned(),
        upsert: true,
        external_id: Some("batch-7".to_owned()),
        send_completion_email: false,
    };
    let job = client.import_users(admin(), &import).await.unwrap();
    assert_eq!((job.id, job.status), (job_id(), JobStatus::Pending));
    let seen = stub.calls().pop().unwrap();
    assert_eq!(seen.body.len(), import.multipart_len());
    insta::assert_snapshot!(seen.show(), @r#"
    POST /api/v2/jobs/users-imports
    multipart/form-data; boundary=BOUNDARY
    --BOUNDARY
    Content-Disposition: form-data; name="connection_id"

    con_AbCdEfGh12345678
    --BOUNDARY
    Content-Disposition: form-data; name="upsert"

    true
    --BOUNDARY
    Content-Disposition: form-data; name="send_completion_email"

    false
    --BOUNDARY
    Content-Disposition: form-data; name="external_id"

    batch-7
    --BOUNDARY
    Content-Disposition: form-data; name="users"; filename="users.json"
    Content-Type: application/json

    [{"email":"mia@example.org"}]
    --BOUNDARY--
    "#);

    // To the byte: the largest file goes, one more byte does not.
    let room = ImportUsers::MAX_BYTES - import.overhead();
    import.users = Bytes::from(vec![b' '; room]);
    client.import_users(admin(), &import).await.unwrap();
    let seen = stub.calls();
    assert_eq!(seen[1].body.len(), ImportUsers::MAX_BYTES);
    import.users = Bytes::from(vec![b' '; room + 1]);
    let error = client.import_users(admin(), &import).await.unwrap_err();
    assert!(matches!(error, Error::Refused(r) if r.status == 413 && r.body.is_some()));
    assert_eq!(stub.calls().len(), 2);
}

#[tokio::test]
async fn exports_users() {
    let stub = always(reply(200, JOB)).await;
    let client = stub.client(ClientSettings::default());
    let export = ExportUsers {
        connection_id: Some("con_AbCdEfGh12345678".to_owned()),
        limit: Some(5),
        fields: vec!["email".to_owned(), "identities[0].connection".to_owned()],
    };
    client.export_users(admin(), &export).await.unwrap();
    client
        .export_users(admin(), &ExportUsers::default())
        .await
        .unwrap();
    let shown: Vec<_> = stub.calls().iter().map(|seen| seen.show()).collect();
    insta::assert_snapshot!(shown.join("\n---\n"), @r#"
    POST /api/v2/jobs/users-exports
    application/json
    {"connection_id":"con_AbCdEfGh12345678","fields":[{"name":"email"},{"name":"identities[0].connection"}],"format":"json","limit":5}
    ---
    POST /api/v2/jobs/users-exports
    application/json
    {"format":"json"}
    "#);
}

#[tokio::test]
async fn follows_jobs() {
    let body = r#"{"id":"job_AbCdEfGh12345678","status":"completed","summary":{"failed":1,"inserted":9,"total":10},"new":true}"#;
    let stub = always(reply(200, body)).await;
    let client = stub.client(ClientSettings::default());
    let job = client.job(admin(), &job_id()).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Completed);
    assert_eq!(job.summary.unwrap().inserted, 9);
    assert_eq!(job.body["new"], true);
    insta::assert_snapshot!(stub.calls()[0].show(), @"GET /api/v2/jobs/job_AbCdEfGh12345678");

    let stub = always(refusal(404, "", "Job not found.")).await;
    let client = stub.client(ClientSettings::default());
    assert!(client.job(admin(), &job_id()).await.unwrap().is_none());
    let errors = client.job_errors(admin(), &job_id()).await.unwrap();
    assert!(errors.is_none());
}

#[tokio::test]
async fn reads_every_shape_of_job_errors() {
    let row = r#"{"user":{"email":"a","n":1.0},"errors":[{"code":"FORMAT"}]}"#;
    for (answer, rows) in [
        (reply(204, ""), Some(0)),
        (reply(200, format!("[{row},{row}]")), Some(2)),
        (
            reply(200, r#"{"id":"job_1","status_details":"broken"}"#),
            None,
        ),
    ] {
        let stub = always(answer).await;
        let client = stub.client(ClientSettings::default());
        let errors = client.job_errors(admin(), &job_id()).await.unwrap();
        match (errors.unwrap(), rows) {
            (JobErrors::Rows(found), Some(rows)) => {
                assert_eq!(found.len(), rows);
                assert!(found.iter().all(|found| found.get() == row));
            }
            (JobErrors::Whole(job), None) => assert_eq!(job["status_details"], "broken"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            stub.calls()[0].target,
            "/api/v2/jobs/job_AbCdEfGh12345678/errors"
        );
    }
}

#[tokio::test]
async fn makes_links_and_sends_mails() {
    let stub = Stub::management(|_, seen| {
        if seen.target.contains("tickets") {
            reply(
                201,
                r#"{"ticket":"https://acme.example/lo/reset?ticket=a#"}"#,
            )
        } else {
            reply(201, JOB)
        }
    })
    .await;
    let client = stub.client(ClientSettings::default());
    let ticket = PasswordChangeTicket {
        result_url: Some(url::Url::parse("https://app.example/done?x=1").unwrap()),
        ttl_seconds: Some(3600),
    };
    let user = id("auth0|x");
    let link = client
        .password_change_ticket(admin(), &user, &ticket)
        .await
        .unwrap();
    assert_eq!(link, "https://acme.example/lo/reset?ticket=a#");
    client
        .password_change_ticket(admin(), &user, &PasswordChangeTicket::default())
        .await
        .unwrap();
    client
        .send_verification_email(admin(), &user)
        .await
        .unwrap();
    let shown: Vec<_> = stub.calls().iter().map(|seen| seen.show()).collect();
    insta::assert_snapshot!(shown.join("\n---\n"), @r#"
    POST /api/v2/tickets/password-change
    application/json
    {"result_url":"https://app.example/done?x=1","ttl_sec":3600,"user_id":"auth0|x"}
    ---
    POST /api/v2/tickets/password-change
    application/json
    {"user_id":"auth0|x"}
    ---
    POST /api/v2/jobs/verification-email
    application/json
    {"user_id":"auth0|x"}
    "#);
}

#[tokio::test]
async fn lists_all_pages_of_connections() {
    let connection = |n: usize| json!({ "id": format!("con_{n}"), "name": format!("c{n}"), "strategy": "auth0", "options": {} });
    let stub = Stub::management(move |before, _| {
        let mut page = json!({ "connections": [connection(before)] });
        if before < 2 {
            page["next"] = json!(format!("cursor+{before}"));
        }
        reply(200, page.to_string())
    })
    .await;
    let client = stub.client(ClientSettings::default());
    let request = ListConnections {
        name: None,
        strategy: Some("auth0".to_owned()),
    };
    let connections = client.connections(admin(), &request).await.unwrap();
    let names: Vec<_> = connections.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["c0", "c1", "c2"]);
    let shown: Vec<_> = stub.calls().iter().map(|seen| seen.show()).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    GET /api/v2/connections?take=100&fields=id%2Cname%2Cstrategy&include_fields=true&strategy=auth0
    GET /api/v2/connections?take=100&fields=id%2Cname%2Cstrategy&include_fields=true&strategy=auth0&from=cursor%2B0
    GET /api/v2/connections?take=100&fields=id%2Cname%2Cstrategy&include_fields=true&strategy=auth0&from=cursor%2B1
    ");

    let stub = always(reply(200, "[]")).await;
    let client = stub.client(ClientSettings::default());
    let request = ListConnections {
        name: Some("no such & name".to_owned()),
        strategy: None,
    };
    assert_eq!(client.connections(admin(), &request).await.unwrap(), []);
    insta::assert_snapshot!(stub.calls()[0].show(), @"GET /api/v2/connections?take=100&fields=id%2Cname%2Cstrategy&include_fields=true&name=no%20such%20%26%20name");
}

#[tokio::test]
async fn ends_sessions() {
    for answer in [reply(202, "{}"), reply(204, "")] {
        let stub = always(answer).await;
        let client = stub.client(ClientSettings::default());
        let user = id("auth0|x");
        client.delete_sessions(admin(), &user).await.unwrap();
        client.delete_refresh_tokens(admin(), &user).await.unwrap();
        let shown: Vec<_> = stub.calls().iter().map(|seen| seen.show()).collect();
        assert_eq!(
            shown,
            [
                "DELETE /api/v2/users/auth0%7Cx/sessions",
                "DELETE /api/v2/users/auth0%7Cx/refresh-tokens"
            ]
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_not_documented_is_said_to_be_so() {
    for answer in [
        reply(200, "<html>"),
        reply(200, "{}"),
        reply(200, r#"[1]"#),
        reply(201, "[]"),
        reply(204, ""),
        reply(302, "").header("location", "https://evil.example/"),
    ] {
        let stub = always(answer.clone()).await;
        let client = stub.client(ClientSettings::default());
        let result = client.list_users(admin(), &ListUsers::default()).await;
        assert!(matches!(result, Err(Error::Unexpected(_))), "{answer:?}");
        assert_eq!(stub.calls().len(), 1);
    }
}

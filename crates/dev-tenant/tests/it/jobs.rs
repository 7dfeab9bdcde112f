//! Import and export jobs.

use std::time::{Duration, Instant};

use dev_tenant::{DevTenant, Fault, FaultKind, Seed, TenantSettings};
use serde_json::{Value, json};

use crate::support::*;

const DATABASE: &str = "Username-Password-Authentication";

/// A multipart body with these parts; the one named `users` is a file.
fn multipart(parts: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in parts {
        let file = if *name == "users" {
            "; filename=\"users.json\"\r\nContent-Type: application/json"
        } else {
            ""
        };
        body.push_str(&format!(
            "--the-boundary\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
        ));
    }
    body + "--the-boundary--\r\n"
}

async fn send(api: &Management, tenant: &DevTenant, body: String) -> Answer {
    let request = client()
        .post(format!("{}/api/v2/jobs/users-imports", tenant.url()))
        .bearer_auth(api.token())
        .header("content-type", "multipart/form-data; boundary=the-boundary")
        .body(body);
    Answer::of(request.send().await.unwrap()).await
}

async fn import(api: &Management, tenant: &DevTenant, rows: &Value, upsert: bool) -> Answer {
    let connection = tenant.connection_id(DATABASE).unwrap();
    let (rows, upsert) = (rows.to_string(), upsert.to_string());
    let parts = [
        ("users", rows.as_str()),
        ("connection_id", &connection),
        ("upsert", &upsert),
        ("external_id", "batch-7"),
        ("send_completion_email", "false"),
    ];
    send(api, tenant, multipart(&parts)).await
}

async fn finished(api: &Management, job: &Value) -> Value {
    let path = format!("/jobs/{}", text(job, "id"));
    for _ in 0..400 {
        let job = api.get(&path).await.json();
        if job["status"] != "pending" {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the job does not end");
}

#[tokio::test]
async fn rows_come_in_and_faulty_ones_are_listed() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let hash = format!("$2b$10${}", "a".repeat(53));
    let rows = json!([
        { "email": "One@example.org", "user_id": "one", "app_metadata": { "groups": ["a"] }, "password_hash": hash },
        { "email": "two@example.org", "user_id": "auth0|two", "email_verified": true, "name": "Two",
          "custom_password_hash": { "algorithm": "sha256", "hash": { "value": "canary", "encoding": "hex" } },
          "mfa_factors": [{ "totp": { "secret": "ABCDEFG2" } }] },
        { "email": "mia@example.org", "password_hash": hash },
        { "email": "ONE@example.org" },
        { "email": "x", "password_hash": "canary", "name": 7 },
        { "name": "nobody" },
        { "email": "y@example.org", "groups": [] },
        { "email": "z@example.org", "mfa_factors": [], "app_metadata": { "email": 1 } },
        { "email": "u@example.org", "custom_password_hash": {
            "algorithm": "rot13", "hash": { "value": "canary" }, "salt": { "value": "canary" } } },
        7,
    ]);
    let answer = import(&api, &tenant, &rows, false).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let job = answer.json();
    insta::assert_snapshot!(masked(job.clone(), &["id", "created_at", "connection_id"]), @r#"{"connection":"Username-Password-Authentication","connection_id":"[connection_id]","created_at":"[created_at]","external_id":"batch-7","id":"[id]","status":"pending","type":"users_import"}"#);
    let done = finished(&api, &job).await;
    insta::assert_snapshot!(masked(done, &["id", "created_at", "connection_id"]), @r#"{"connection":"Username-Password-Authentication","connection_id":"[connection_id]","created_at":"[created_at]","external_id":"batch-7","id":"[id]","status":"completed","summary":{"failed":8,"inserted":2,"total":10,"updated":0},"type":"users_import"}"#);
    let errors = api.get(&format!("/jobs/{}/errors", text(&job, "id"))).await;
    assert_eq!(errors.header("content-type"), "application/json");
    assert!(!errors.text.contains("canary"), "{}", errors.text);
    let lines: Vec<String> = errors
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"errors":[{"code":"DUPLICATED_USER","message":"The user already exist and upsert parameter is false"}],"user":{"email":"mia@example.org","password_hash":"*****"}}
    {"errors":[{"code":"CONFLICT_EMAIL","message":"Another user of the file has this email"}],"user":{"email":"ONE@example.org"}}
    {"errors":[{"code":"FORMAT","message":"Object didn't pass validation for format email: x","path":"email"},{"code":"INVALID_TYPE","message":"Expected type string but found type number","path":"name"},{"code":"PATTERN","message":"String does not match pattern ^\\$2[ab]\\$10\\$[./A-Za-z0-9]{53}$","path":"password_hash"}],"user":{"email":"x","name":7,"password_hash":"*****"}}
    {"errors":[{"code":"OBJECT_REQUIRED","message":"Missing required property: email","path":"email"}],"user":{"name":"nobody"}}
    {"errors":[{"code":"NOT_PASSED","message":"Additional properties not allowed: groups"}],"user":{"email":"y@example.org","groups":[]}}
    {"errors":[{"code":"ARRAY_LENGTH_SHORT","message":"Array is too short (0), minimum 1","path":"mfa_factors"},{"code":"NOT_PASSED","message":"Invalid metadata key: email"}],"user":{"app_metadata":{"email":1},"email":"z@example.org","mfa_factors":[]}}
    {"errors":[{"code":"ENUM_MISMATCH","message":"No enum match for: rot13","path":"custom_password_hash.algorithm"}],"user":{"custom_password_hash":{"algorithm":"rot13","hash":{"value":"*****"},"salt":{"value":"*****"}},"email":"u@example.org"}}
    {"errors":[{"code":"INVALID_TYPE","message":"Expected type object but found type number","path":""}],"user":7}
    "#);
    assert_eq!(
        api.get(&user_path("auth0|one")).await.json()["email"],
        "one@example.org"
    );
    let two = api.get(&user_path("auth0|auth0|two")).await.json();
    assert_eq!(
        (&two["name"], &two["email_verified"]),
        (&json!("Two"), &json!(true))
    );
}

#[tokio::test]
async fn an_upsert_replaces_metadata_and_leaves_the_rest() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let rows = json!([
        { "email": "MIA@example.org", "app_metadata": { "new": 1 }, "nickname": "m", "blocked": true, "user_id": "other" },
        { "email": "new@example.org", "user_id": "64b0c0ffee0000000000a002" },
    ]);
    let job = import(&api, &tenant, &rows, true).await.json();
    let done = finished(&api, &job).await;
    assert_eq!(
        done["summary"],
        json!({ "failed": 1, "updated": 1, "inserted": 0, "total": 2 })
    );
    let mia = api.get(&user_path(MIA)).await.json();
    assert_eq!(mia["app_metadata"], json!({ "new": 1 }));
    assert_eq!(mia["user_metadata"], json!({ "lang": "it" }));
    assert_eq!(mia["nickname"], "m");
    assert!(mia.get("blocked").is_none());
    let errors = api
        .get(&format!("/jobs/{}/errors", text(&job, "id")))
        .await
        .json();
    assert_eq!(errors[0]["errors"][0]["code"], "CONFLICT");
    let again = import(
        &api,
        &tenant,
        &json!([{ "email": "mia@example.org" }]),
        true,
    )
    .await
    .json();
    finished(&api, &again).await;
    let none = api
        .get(&format!("/jobs/{}/errors", text(&again, "id")))
        .await;
    assert_eq!(none.line(), "204 ");
}

#[tokio::test]
async fn what_an_import_must_be() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let id = tenant.connection_id(DATABASE).unwrap();
    let mut lines = String::new();
    for parts in [
        vec![("connection_id", id.as_str())],
        vec![("users", "[]")],
        vec![("users", ""), ("connection_id", &id)],
        vec![("users", "[]"), ("connection_id", DATABASE)],
        vec![("users", "[]"), ("connection_id", "con_0000000000000000")],
        vec![("users", "[]"), ("connection_id", &id), ("upsert", "maybe")],
    ] {
        lines.push_str(&send(&api, &tenant, multipart(&parts)).await.line());
        lines.push('\n');
    }
    lines.push_str(&send(&api, &tenant, "broken".to_owned()).await.line());
    lines.push('\n');
    lines.push_str(&api.post("/jobs/users-imports", &json!({})).await.line());
    lines.push('\n');
    lines.push_str(
        &Management::with_scope(&tenant, Some("read:users"))
            .await
            .post("/jobs/users-imports", &json!({}))
            .await
            .line(),
    );
    insta::assert_snapshot!(lines, @r#"
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Must provide 'users' file as multipart part.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Must provide 'connection_id' as multipart part.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Users file must not be empty.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String does not match pattern ^con_[A-Za-z0-9]{16}$' on property connection_id.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"The connection does not exist.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Expected type boolean but found type string' on property upsert.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Invalid multipart payload format'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Invalid multipart payload format'.","statusCode":400}
    403 {"error":"Forbidden","errorCode":"insufficient_scope","message":"Insufficient scope, expected any of: create:users","statusCode":403}
    "#);
    for size in [513_000, 3_000_000] {
        let long = json!([{ "email": "x".repeat(size) }]);
        let line = import(&api, &tenant, &long, false).await.line();
        insta::allow_duplicates! {
            insta::assert_snapshot!(line, @r#"413 {"error":"Request Entity Too Large","message":"Payload content length greater than maximum allowed: 512000.","statusCode":413}"#);
        }
    }
    assert_eq!(tenant.import_jobs(), 0);
}

#[tokio::test]
async fn two_jobs_run_at_once() {
    let tenant = tenant_with(TenantSettings {
        import_job_duration: Duration::from_millis(400),
        ..TenantSettings::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    let first = import(&api, &tenant, &json!([{ "email": "a@example.org" }]), false)
        .await
        .json();
    import(&api, &tenant, &json!([{ "email": "b@example.org" }]), false).await;
    let third = import(&api, &tenant, &json!([]), false).await;
    insta::assert_snapshot!(third.line(), @r#"429 {"error":"Too Many Requests","message":"There are 2 active import users jobs, please wait until some of them are finished and try again","statusCode":429}"#);
    assert_eq!(
        tenant.user_count(),
        5,
        "nothing is there before the job has run"
    );
    finished(&api, &first).await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(import(&api, &tenant, &json!([]), false).await.status, 202);
    assert_eq!((tenant.import_jobs(), tenant.running_jobs_max()), (3, 2));
    assert_eq!(tenant.user_count(), 7);
}

#[tokio::test]
async fn a_job_fails_as_a_whole_and_is_forgotten_after_a_day() {
    let tenant = tenant_with(TenantSettings {
        import_job_duration: Duration::from_secs(3600),
        ..TenantSettings::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    let slow = import(&api, &tenant, &json!([]), false).await.json();
    tenant.advance_clock(Duration::from_secs(7200));
    assert_eq!(finished(&api, &slow).await["status"], "failed");
    tenant.advance_clock(Duration::from_secs(79_000));
    let api = Management::of(&tenant).await;
    let path = format!("/jobs/{}", text(&slow, "id"));
    assert_eq!(api.get(&path).await.status, 200);
    tenant.advance_clock(Duration::from_secs(300));
    insta::assert_snapshot!(api.get(&path).await.line(), @r#"404 {"error":"Not Found","errorCode":"inexistent_job","message":"Job not found.","statusCode":404}"#);

    let tenant = self::tenant().await;
    let api = Management::of(&tenant).await;
    tenant.inject(
        Fault::on("/api/v2/jobs/*", FaultKind::FailJob)
            .method("POST")
            .times(1),
    );
    let job = import(&api, &tenant, &json!([{ "email": "a@example.org" }]), false)
        .await
        .json();
    assert_eq!(finished(&api, &job).await["status"], "failed");
    let errors = api
        .get(&format!("/jobs/{}/errors", text(&job, "id")))
        .await
        .json();
    assert!(errors["status_details"].is_string());
    assert_eq!(tenant.user_count(), 5);
    let id = tenant.connection_id(DATABASE).unwrap();
    let unreadable = send(
        &api,
        &tenant,
        multipart(&[("users", "not json"), ("connection_id", &id)]),
    )
    .await
    .json();
    assert_eq!(finished(&api, &unreadable).await["status"], "failed");
    assert_eq!(
        api.get(&format!("/jobs/{}/errors", text(&unreadable, "id")))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn twenty_thousand_people_come_in_within_seconds() {
    let tenant = tenant_with(TenantSettings {
        import_job_duration: Duration::ZERO,
        ..TenantSettings::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    let start = Instant::now();
    for batch in 0..20 {
        let rows: Vec<Value> = (0..1000)
            .map(|n| json!({
                "email": format!("user{batch:02}{n:03}@example.org"), "user_id": format!("{batch}-{n}"),
                "name": "A name of some length", "app_metadata": { "groups": ["a", "b"], "n": n },
            }))
            .collect();
        let job = import(&api, &tenant, &json!(rows), false).await.json();
        assert_eq!(finished(&api, &job).await["summary"]["inserted"], 1000);
    }
    println!("20 000 people in {:?}", start.elapsed());
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(tenant.user_count(), 20_005);
}

#[tokio::test]
async fn exports_are_files_behind_a_link() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let body = json!({
        "connection_id": tenant.connection_id(DATABASE), "format": "json", "limit": 2,
        "fields": [{ "name": "email" }, { "name": "identities[0].connection", "export_as": "home" }],
    });
    let job = api.post("/jobs/users-exports", &body).await;
    assert_eq!(job.status, 200);
    let job = job.json();
    assert_eq!(
        (&job["type"], &job["limit"], &job["connection"]),
        (&json!("users_export"), &json!(2), &json!(DATABASE))
    );
    let location = text(&finished(&api, &job).await, "location");
    let file = client()
        .get(&location)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    insta::assert_snapshot!(file, @r#"
    {"email":"mia@example.org","home":"Username-Password-Authentication"}
    {"email":"alice@example.org","home":"Username-Password-Authentication"}
    "#);
    tenant.advance_clock(Duration::from_secs(61));
    assert_eq!(client().get(&location).send().await.unwrap().status(), 403);
    let fresh = text(&finished(&api, &job).await, "location");
    assert_eq!(client().get(&fresh).send().await.unwrap().status(), 200);

    let csv = json!({ "fields": [{ "name": "email" }, { "name": "app_metadata.groups" }, { "name": "email_verified" }] });
    let job = api.post("/jobs/users-exports", &csv).await.json();
    let location = text(&finished(&api, &job).await, "location");
    let file = client()
        .get(&location)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    insta::assert_snapshot!(file, @r#"
    "email","app_metadata.groups","email_verified"
    "'mia@example.org","'[""users"",""admin""]",true
    "'alice@example.org","'[""users""]",true
    "'bob@example.org","'[""employees""]",true
    "'blocked@example.org",,true
    "'mfa@example.org",,true
    "#);
    for bad in [
        json!({ "format": "xml" }),
        json!({ "limit": 0 }),
        json!({ "connection_id": "x" }),
    ] {
        assert_eq!(api.post("/jobs/users-exports", &bad).await.status, 400);
    }
}

#[tokio::test]
async fn verification_mails_are_jobs_too() {
    let tenant = DevTenant::start(TenantSettings::default(), Seed::example())
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    let job = api
        .post("/jobs/verification-email", &json!({ "user_id": MIA }))
        .await;
    assert_eq!(job.status, 201);
    assert_eq!(
        finished(&api, &job.json()).await["status"],
        "failed",
        "verified already"
    );
    api.patch(MIA, &json!({ "email_verified": false })).await;
    let job = api
        .post("/jobs/verification-email", &json!({ "user_id": MIA }))
        .await
        .json();
    assert_eq!(finished(&api, &job).await["status"], "completed");
    assert_eq!(
        api.post("/jobs/verification-email", &json!({ "user_id": "auth0|x" }))
            .await
            .status,
        404
    );
    assert_eq!(
        api.post("/jobs/verification-email", &json!({}))
            .await
            .status,
        400
    );
}

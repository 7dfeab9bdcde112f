//! Imports under faults.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::tenant::{ImportFault, World, staff_only, world};

fn rows(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| json!({"email": format!("p{number}@example.org")}))
        .collect()
}

impl World {
    async fn import(&self, path: &str, body: &Value) -> (http::StatusCode, Value) {
        self.json("POST", path, body).await
    }

    /// Works until the job is finished, and gives it and its errors.
    async fn finish(&self, id: &str) -> (Value, Value) {
        let path = format!("/users/import/status/{id}");
        let until = async {
            loop {
                let (_, job) = self.get(&path).await;
                if job["status"] != "pending" {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let job = tokio::select! {
            job = until => job,
            () = self.gateway.run_background() => panic!("the work never ends"),
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the job never ends"),
        };
        (job, self.get(&format!("{path}/errors")).await.1)
    }
}

fn row_numbers(errors: &Value) -> Vec<u64> {
    let row = |error: &Value| error["row"].as_u64().unwrap();
    errors.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn both_shapes_arrive_whole_and_bad_rows_are_named() {
    for wrapped in [false, true] {
        let world = staff_only();
        let mut users = rows(6);
        users[1] = json!({"email": "nobody"});
        users[3] = json!({"email": "p0@example.org"});
        users.push(json!({"email": "x@example.org", "password_hash": "canary"}));
        let (path, body) = if wrapped {
            (
                "/users/import",
                json!({"users": users, "external_id": "batch-7", "send_completion_email": false}),
            )
        } else {
            (
                "/users/import?external_id=batch-7&send_completion_email=false",
                Value::from(users),
            )
        };
        let (status, job) = world.import(path, &body).await;
        assert_eq!(status, 202, "{job}");
        assert_eq!(job["status"], "pending");
        assert_eq!(job["connection"], "staff");
        assert_eq!(job["external_id"], "batch-7");
        let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "completed");
        assert_eq!(
            job["summary"],
            json!({"failed": 3, "inserted": 4, "updated": 0, "total": 7})
        );
        assert_eq!(job["percentage_done"], 100);
        assert_eq!(row_numbers(&errors), [2, 4, 7]);
        assert_eq!(errors[0]["errors"][0]["path"], "email");
        assert_eq!(errors[1]["errors"][0]["code"], "DUPLICATED_USER");
        assert!(!errors.to_string().contains("canary"), "{errors}");
        // Nothing is left behind but the errors.
        let folder = world.folder.path().join(job["id"].as_str().unwrap());
        let mut left: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["failed-0", "refused-0"]);
    }
}

#[tokio::test]
async fn a_form_is_taken_as_auth0_takes_it() {
    let world = staff_only();
    let form = |parts: &[(&str, &str)]| {
        let mut body = String::new();
        for (name, value) in parts {
            let file = if *name == "users" {
                "; filename=\"users.json\"\r\nContent-Type: application/json"
            } else {
                ""
            };
            body.push_str(&format!(
                "--b0\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
            ));
        }
        body + "--b0--\r\n"
    };
    let headers = [("content-type", "multipart/form-data; boundary=b0")];
    let users = Value::from(rows(3)).to_string();
    let body = form(&[
        ("upsert", "true"),
        ("users", &users),
        ("connection", "staff"),
    ]);
    let (status, _, job) = world
        .send("POST", "/users/import", &headers, body.as_bytes())
        .await;
    assert_eq!(status, 202, "{job}");
    let job: Value = serde_json::from_str(&job).unwrap();
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(
        (&job["summary"]["inserted"], &errors),
        (&json!(3), &json!([]))
    );

    for (parts, said) in [
        (vec![("upsert", "true")], "users"),
        (vec![("users", "[]"), ("users", "[]")], "twice"),
        (vec![("users", "[]")], "at least one user"),
        (vec![("users", "{\"email\":\"a@b.cd\"}")], "array"),
        (
            vec![("users", users.as_str()), ("connection_id", "con_x")],
            "connection_id is not taken",
        ),
        (
            vec![("users", users.as_str()), ("connection", "partners")],
            "not supported",
        ),
        (
            vec![("users", users.as_str()), ("upsert", "yes")],
            "upsert must be",
        ),
        (
            vec![
                ("users", users.as_str()),
                ("upsert", "true"),
                ("upsert", "true"),
            ],
            "twice",
        ),
        (
            vec![("users", users.as_str()), ("color", "red")],
            "color is not a parameter",
        ),
        // Refused by its name, before it is read: its value is no reason then.
        (
            vec![("color", &"x".repeat(5000)), ("users", users.as_str())],
            "color is not a parameter",
        ),
        (
            vec![("users", users.as_str()), ("dryRun", "true")],
            "dryRun goes into the query",
        ),
    ] {
        let body = form(&parts);
        let (status, _, answer) = world
            .send("POST", "/users/import", &headers, body.as_bytes())
            .await;
        assert_eq!(status, 400, "{parts:?}: {answer}");
        assert!(answer.contains(said), "{answer}");
    }
    let body = form(&[("users", &users), ("external_id", "?")]);
    let broken: Vec<u8> = body
        .bytes()
        .map(|byte| if byte == b'?' { 0xff } else { byte })
        .collect();
    let (status, _, answer) = world.send("POST", "/users/import", &headers, &broken).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("external_id must be UTF-8"), "{answer}");
    let (status, answer) = world
        .import("/users/import?connection_id=", &rows(1).into())
        .await;
    assert_eq!(status, 400, "{answer}");
    let cut = &body[..body.len() - 30];
    assert_eq!(
        world
            .send("POST", "/users/import", &headers, cut.as_bytes())
            .await
            .0,
        400
    );
    let other = [("content-type", "text/csv")];
    assert_eq!(
        world.send("POST", "/users/import", &other, b"a,b").await.0,
        415
    );
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_import_does_not_get_round_the_acl() {
    let world = staff_only();
    let users = Value::from(rows(1)).to_string();
    for (path, acl, said) in [
        ("/users/import", "{", Some("acl_rows is not JSON")),
        ("/users/import?dryRun=true", "", Some("acl_rows")),
        (
            "/users/import?upsert=true",
            r#"{"app_metadata.t":"a"}"#,
            Some("acl_rows hides"),
        ),
        ("/users/import", r#"{"app_metadata.t":"a"}"#, None),
        ("/users/import?upsert=true", "{}", None),
        (
            "/users/import?dryRun",
            "{}",
            Some("dryRun must be true or false"),
        ),
        (
            "/users/import?upsert=",
            "{}",
            Some("upsert must be true or false"),
        ),
        ("/users/import?upsert=true&upsert=true", "{}", Some("twice")),
        (
            "/users/import?dryRun=true&dryRun=false",
            "{}",
            Some("twice"),
        ),
        ("/users/import?=1", "{}", Some("has no name")),
    ] {
        let headers = [("content-type", "application/json"), ("acl_rows", acl)];
        let (status, _, answer) = world.send("POST", path, &headers, users.as_bytes()).await;
        assert_eq!(status, if said.is_some() { 400 } else { 202 }, "{answer}");
        assert!(answer.contains(said.unwrap_or("pending")), "{answer}");
    }
}

#[tokio::test]
async fn rows_that_failed_unlisted_are_not_counted_as_imported() {
    let world = staff_only();
    let mut users = rows(5);
    users[3] = json!({"email": "p0@example.org"});
    world
        .tenant
        .import_faults
        .lock()
        .unwrap()
        .push(ImportFault::Unlisted);
    let (_, job) = world.import("/users/import", &users.into()).await;
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(
        job["summary"],
        json!({"failed": 1, "inserted": 4, "updated": 0, "total": 5})
    );
    assert_eq!(errors, json!([]));
}

#[tokio::test]
async fn a_dry_run_names_every_fault_and_sends_nothing() {
    let world = staff_only();
    let mut users = rows(2000);
    for at in (0..2000).step_by(2) {
        users[at] = json!({"email": at});
    }
    let (status, report) = world
        .import("/users/import?dryRun=true", &users.into())
        .await;
    assert_eq!((status.as_u16(), &report["rows"]), (200, &json!(2000)));
    let expected: Vec<u64> = (0..2000).step_by(2).map(|at| at + 1).collect();
    assert_eq!(row_numbers(&report["errors"]), expected);
    let (status, report) = world
        .import("/users/import?dryRun=true", &rows(3).into())
        .await;
    assert_eq!(
        (status.as_u16(), report),
        (200, json!({"rows": 3, "errors": []}))
    );
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(std::fs::read_dir(world.folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_deprecated_settings_say_what_they_need() {
    let world = world(Some(json!({
        "supportedConnections": ["staff"], "defaultCreateUserConnection": "staff",
    })));
    for (method, path) in [
        ("POST", "/users/import"),
        ("GET", "/users/import/status/job_1"),
        ("GET", "/users/import/status/job_1/errors"),
    ] {
        let (status, body) = world
            .json(method, path, &json!([{"email": "a@b.cd"}]))
            .await;
        assert_eq!(status, 400);
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .contains("supportedConnectionsMap"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_large_file_is_split_and_never_more_than_two_jobs_run() {
    let world = staff_only();
    let padding = "x".repeat(3000);
    let mut users = rows(1000);
    for user in &mut users {
        user["user_metadata"] = json!({"padding": padding});
    }
    users[500] = json!({"email": "bad"});
    users[999] = json!({"email": "big@example.org", "name": "x".repeat(600_000)});
    let (status, job) = world.import("/users/import", &users.into()).await;
    assert_eq!(status, 202, "{job}");
    world
        .tenant
        .import_faults
        .lock()
        .unwrap()
        .push(ImportFault::Busy);
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(
        job["summary"],
        json!({"failed": 2, "inserted": 998, "updated": 0, "total": 1000})
    );
    assert_eq!(row_numbers(&errors), [501, 1000]);
    assert_eq!(errors[1]["errors"][0]["code"], "MAX_LENGTH");
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 7);
    assert!(world.tenant.most_running.load(Ordering::SeqCst) <= 2);
}

/// Whoever comes last in the file comes last at the tenant.
#[tokio::test]
async fn a_file_that_names_somebody_twice_is_sent_in_its_order() {
    let world = staff_only();
    let padding = "x".repeat(3000);
    let mut users = rows(1000);
    for user in &mut users {
        user["user_metadata"] = json!({"padding": padding});
    }
    users[999]["email"] = "P7@example.org".into();
    let (_, job) = world.import("/users/import", &users.into()).await;
    let (job, _) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "completed");
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 7);
    assert_eq!(world.tenant.most_running.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_errors_of_a_file_that_is_all_wrong_stay_in_proportion_to_it() {
    let world = staff_only();
    let mut users = vec![Value::from(1); 60_000];
    users.push(rows(1).remove(0));
    let body = Value::from(users);
    let (_, report) = world.import("/users/import?dryRun=true", &body).await;
    assert_eq!(report["rows"], 60_001);
    let (status, job) = world.import("/users/import", &body).await;
    assert_eq!(status, 202, "{job}");
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(
        job["summary"],
        json!({"failed": 60_000, "inserted": 1, "updated": 0, "total": 60_001})
    );
    assert_eq!(report["errors"], errors);
    let length = errors.to_string().len();
    assert!((4_000_000..4_500_000).contains(&length), "{length}");
    let listed = row_numbers(&errors);
    assert!(listed.iter().copied().eq(1..=listed.len() as u64));
    let last = &errors[listed.len() - 1]["errors"][0];
    assert_eq!(last["code"], "TOO_MANY_ERRORS");
    let rest = (60_000 - listed.len() + 1).to_string();
    assert!(
        last["message"].as_str().unwrap().starts_with(&rest),
        "{last}"
    );
}

#[tokio::test]
async fn a_lost_answer_is_looked_into_and_the_part_is_not_sent_again() {
    let world = staff_only();
    world.tenant.add(json!({
        "user_id": "auth0|old", "email": "p1@example.org", "created_at": "2020-01-01T00:00:00.000Z",
        "identities": [{"connection": "staff"}],
    }));
    world
        .tenant
        .import_faults
        .lock()
        .unwrap()
        .push(ImportFault::AnswerLost);
    let (_, job) = world.import("/users/import", &rows(3).into()).await;
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 1);
    assert_eq!(
        job["summary"],
        json!({"failed": 1, "inserted": 2, "updated": 0, "total": 3})
    );
    assert_eq!(row_numbers(&errors), [2]);
    assert_eq!(world.tenant.users.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_part_that_left_no_trace_is_sent_again_after_a_while() {
    let world = staff_only();
    world
        .tenant
        .import_faults
        .lock()
        .unwrap()
        .push(ImportFault::Lost);
    let (_, job) = world.import("/users/import", &rows(3).into()).await;
    let id = job["id"].as_str().unwrap().to_owned();
    // Not before it is clear that it is not still on its way.
    let early = tokio::time::timeout(Duration::from_millis(300), world.gateway.run_background());
    assert!(early.await.is_err());
    assert_eq!(
        world.get(&format!("/users/import/status/{id}")).await.1["status"],
        "pending"
    );
    world.clock.advance(Duration::from_secs(61));
    let (job, _) = world.finish(&id).await;
    assert_eq!(job["summary"]["inserted"], 3);
    assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_work_ends_where_nothing_is_lost() {
    // Auth0 has no room for long, or has given no answer.
    for faults in [vec![ImportFault::Busy; 1000], vec![ImportFault::Lost]] {
        let world = staff_only();
        *world.tenant.import_faults.lock().unwrap() = faults;
        let (_, job) = world.import("/users/import", &rows(3).into()).await;
        let gateway = std::sync::Arc::clone(&world.gateway);
        let work = tokio::spawn(async move { gateway.run_background().await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!work.is_finished());
        world.gateway.stop();
        let ended = tokio::time::timeout(Duration::from_secs(1), work).await;
        ended.unwrap().unwrap();
        let path = format!("/users/import/status/{}", job["id"].as_str().unwrap());
        assert_eq!(world.get(&path).await.1["status"], "pending");
        assert_eq!(world.tenant.imports.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_job_that_fails_as_a_whole_names_its_rows() {
    let world = staff_only();
    world
        .tenant
        .import_faults
        .lock()
        .unwrap()
        .push(ImportFault::Fails);
    let (_, job) = world.import("/users/import", &rows(3).into()).await;
    let (job, errors) = world.finish(job["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["status_details"], "unreadable");
    assert_eq!(row_numbers(&errors), [1, 2, 3]);
}

#[tokio::test]
async fn jobs_of_others_are_shown_if_they_are_ours_to_see() {
    let world = staff_only();
    let (_, job) = world.import("/users/import", &rows(1).into()).await;
    world.finish(job["id"].as_str().unwrap()).await;
    // Auth0's own job behind it, as one that was begun without this service.
    let (status, job) = world.get("/users/import/status/job_0").await;
    assert_eq!((status.as_u16(), &job["id"]), (200, &json!("job_0")));
    assert_eq!(
        world.get("/users/import/status/job_0/errors").await.1,
        json!([])
    );
    assert_eq!(world.get("/users/import/status/job_7").await.0, 404);
    assert_eq!(world.get("/users/import/status/..%2Fx").await.0, 404);
}

#[tokio::test]
async fn results_are_kept_for_their_time() {
    let world = staff_only();
    let (_, job) = world.import("/users/import", &rows(1).into()).await;
    let id = job["id"].as_str().unwrap();
    world.finish(id).await;
    world.clock.advance(Duration::from_secs(6 * 86_400));
    assert_eq!(
        world.get(&format!("/users/import/status/{id}")).await.0,
        200
    );
    world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(
        world.get(&format!("/users/import/status/{id}")).await.0,
        404
    );
}

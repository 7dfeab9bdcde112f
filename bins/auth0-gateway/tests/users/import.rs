//! Bulk imports, the whole way.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Plan, World, person};

/// Works until the job is finished.
async fn finish(world: &World, id: &str) -> (Value, Value) {
    let path = format!("/users/import/status/{id}");
    let until = async {
        let mut progress = 0;
        loop {
            let (_, job) = world.get(&path).await;
            let done = job["percentage_done"].as_u64().unwrap();
            assert!(done >= progress, "{job}");
            progress = done;
            if job["status"] != "pending" {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let job = tokio::select! {
        job = until => job,
        () = world.gateway.run_background() => panic!("the work never ends"),
        () = tokio::time::sleep(Duration::from_secs(120)) => panic!("the job never ends"),
    };
    (job, world.get(&format!("{path}/errors")).await.1)
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn twenty_thousand_with_thirty_seven_bad_ones() {
    let world = Plan::default().start().await;
    // 18 people are there already: their rows are refused by the tenant.
    for number in 0..18 {
        world.tenant.add_user(person(number));
    }
    let before = world.tenant.user_count();
    let mut rows = Vec::new();
    let mut bad = HashSet::new();
    for number in 0..20_000_u64 {
        let mut row = json!({
            "email": format!("new{number:05}@example.org"), "email_verified": true,
            "name": format!("Person {number}"), "app_metadata": {"groups": ["users"], "number": number},
            "user_metadata": {"note": "x".repeat(100)},
        });
        // Half against the schema, half refused by the tenant, all over the file.
        if number % 541 == 7 {
            let at = bad.len();
            if at < 19 {
                row["phone_number"] = "none".into();
            } else {
                row["email"] = format!("person{:05}@example.org", at - 19).into();
            }
            bad.insert(number + 1);
        }
        rows.push(row);
    }
    assert_eq!(bad.len(), 37);
    let body = serde_json::to_vec(&rows).unwrap();
    assert!(body.len() > 4_500_000, "{}", body.len());
    drop(rows);

    let since = Instant::now();
    let headers = [("content-type", "application/json")];
    let (status, _, job) = world.send("POST", "/users/import", &headers, &body).await;
    assert_eq!(status, 202, "{job:?}");
    let taken = since.elapsed();
    let job: Value = serde_json::from_slice(&job).unwrap();
    let (job, errors) = finish(&world, job["id"].as_str().unwrap()).await;
    println!(
        "taken in {taken:?}, finished in {:?}, {} KiB resident with the tenant",
        since.elapsed(),
        resident()
    );
    assert_eq!(job["status"], "completed");
    assert_eq!(
        job["summary"],
        json!({"failed": 37, "inserted": 19_963, "updated": 0, "total": 20_000})
    );
    let named: HashSet<u64> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["row"].as_u64().unwrap())
        .collect();
    assert_eq!(named, bad);
    // Each once.
    assert_eq!(world.tenant.user_count(), before + 19_963);
    let emails: HashSet<String> = world
        .tenant
        .users()
        .iter()
        .map(|user| user["email"].to_string())
        .collect();
    assert_eq!(emails.len(), world.tenant.user_count());
    assert!(world.tenant.running_jobs_max() <= 2);
}

#[tokio::test]
async fn an_upsert_changes_who_is_there() {
    upsert(&Plan::default().start().await).await;
}

pub(crate) async fn upsert(world: &World) {
    let users = json!([
        {"email": "mia@example.org", "app_metadata": {"groups": ["new"]}},
        {"email": "nobody@example.org"},
    ]);
    let (status, job) = world
        .json("POST", "/users/import?upsert=true", &users)
        .await;
    assert_eq!(status, 202, "{job}");
    let (job, errors) = finish(world, job["id"].as_str().unwrap()).await;
    assert_eq!(
        job["summary"],
        json!({"failed": 0, "inserted": 1, "updated": 1, "total": 2})
    );
    assert_eq!(errors, json!([]));
    let (_, mia) = world.get("/users?email=mia@example.org").await;
    assert_eq!(mia[0]["app_metadata"], json!({"groups": ["new"]}));
}

#[tokio::test]
async fn a_disk_that_fails_is_told_apart_from_the_session_store() {
    let world = Plan::default().start().await;
    // Nobody, not even root, makes a folder below a file.
    let folder = world.folder.path();
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::write(folder, "").unwrap();
    let rows = json!([{ "email": "new@example.org" }]);
    let (status, said) = world.json("POST", "/users/import", &rows).await;
    assert_eq!(status, 503);
    let message = "the room for imports is not available: try again later";
    assert_eq!(said["message"], message);
    std::fs::remove_file(folder).unwrap();
    let (status, _) = world.json("POST", "/users/import", &rows).await;
    assert_eq!(status, 202);
}

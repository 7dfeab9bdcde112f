//! An import whose gateway is killed in the middle and started again, on each durable store.
//!
//! `IMPORT_ROWS` says how many rows; 20000 in the long run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells its figures"
)]

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dev_tenant::{DevTenant, Seed, SeedUser, TenantSettings};
use reqwest::Client;
use serde_json::{Value, json};

const DATABASE: &str = "Username-Password-Authentication";
/// Rows against the schema, and rows of people who are there already.
const BAD: (usize, usize) = (19, 18);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

async fn gateway(folder: &Path, port: u16, variables: &[(&str, String)]) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"))
        .current_dir(folder)
        .env("HTTP_HOST", "127.0.0.1")
        .env("HTTP_PORT", port.to_string())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(since.elapsed() < Duration::from_secs(20), "no gateway");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Process(child)
}

async fn read(http: &Client, url: &str) -> Value {
    let answer = http.get(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json().await.unwrap()
}

async fn killed_in_the_middle(variables: &[(&str, String)]) {
    let rows: usize = std::env::var("IMPORT_ROWS").map_or(4000, |rows| rows.parse().unwrap());
    let settings = TenantSettings {
        import_job_duration: Duration::from_millis(400),
        ..TenantSettings::default()
    };
    let tenant = DevTenant::start(settings, Seed::example()).await.unwrap();
    for number in 0..BAD.1 {
        // Since long ago: those of the last minute pass for the import's own, as clocks differ.
        let there = json!({
            "email": format!("there{number}@example.org"),
            "password": "Correct-Horse-9",
            "connection": DATABASE,
            "created_at": "2026-01-02T03:04:05.678Z",
        });
        let there: SeedUser = serde_json::from_value(there).unwrap();
        tenant.add_user(there);
    }
    let before = tenant.user_count();
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "clients": {"app": {
            "auth0Url": tenant.url(), "clientId": "dev-website", "clientSecret": "dev-website-secret",
            "redirectUrl": "http://localhost/callback", "scopes": ["profile"],
        }},
        "managementClient": {
            "auth0Url": tenant.url(), "clientId": "dev-management", "clientSecret": "dev-management-secret",
        },
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let port = free_port();
    let process = gateway(folder.path(), port, variables).await;

    let step = rows / (BAD.0 + BAD.1);
    let mut bad = HashSet::new();
    let file: Vec<Value> = (0..rows)
        .map(|number| {
            let mut row = json!({
                "email": format!("new{number}@example.org"),
                // Large enough for a dozen parts.
                "user_metadata": {"note": "x".repeat(5_000_000 / rows)},
            });
            let at = bad.len();
            if number % step == step / 2 && at < BAD.0 + BAD.1 {
                if at < BAD.0 {
                    row["phone_number"] = "none".into();
                } else {
                    row["email"] = format!("there{}@example.org", at - BAD.0).into();
                }
                bad.insert(number + 1);
            }
            row
        })
        .collect();
    assert_eq!(bad.len(), BAD.0 + BAD.1);
    let http = Client::builder().no_proxy().build().unwrap();
    let base = format!("http://127.0.0.1:{port}/users/import");
    let answer = http
        .post(format!("{base}?connection={DATABASE}"))
        .json(&file)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let job: Value = answer.json().await.unwrap();
    let status = format!("{base}/status/{}", job["id"].as_str().unwrap());

    // Somewhere in the middle.
    let since = Instant::now();
    loop {
        let done = read(&http, &status).await["percentage_done"]
            .as_u64()
            .unwrap();
        if done >= 30 {
            assert!(done < 100, "too late to kill it");
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it does not move"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    drop(process);
    let sent = tenant.import_jobs();
    let _again = gateway(folder.path(), port, variables).await;
    let since = Instant::now();
    let job = loop {
        let job = read(&http, &status).await;
        if job["status"] != "pending" {
            break job;
        }
        assert!(
            since.elapsed() < Duration::from_secs(150),
            "it does not end: {job}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!(
        "{rows} rows, killed after {sent} of {} jobs, finished {:?} after the restart",
        tenant.import_jobs(),
        since.elapsed()
    );
    assert_eq!(job["status"], "completed");
    let summary = &job["summary"];
    assert_eq!(summary["failed"], json!(bad.len()), "{job}");
    assert_eq!(summary["inserted"], json!(rows - bad.len()), "{job}");
    let errors = read(&http, &format!("{status}/errors")).await;
    let named: Vec<usize> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| usize::try_from(error["row"].as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(named.len(), bad.len());
    assert_eq!(named.into_iter().collect::<HashSet<_>>(), bad);
    // Every good row once, and no part twice: a part sent again would have been one job more, and its
    // rows duplicates.
    assert_eq!(tenant.user_count(), before + rows - bad.len());
    assert!(tenant.running_jobs_max() <= 2);
    let parts = serde_json::to_vec(&file).unwrap().len().div_ceil(509_950);
    let jobs = tenant.import_jobs();
    assert!(
        (parts..=parts + 1).contains(&jobs),
        "{jobs} jobs for {parts} parts"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_store() {
    killed_in_the_middle(&[("SESSION_STORE", "embedded".to_owned())]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let redis = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _redis = Process(redis);
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    killed_in_the_middle(&[("REDIS_HOSTS", format!("127.0.0.1:{port}"))]).await;
}

//! Figures for the sizing table. Run by hand, optimised:
//! `cargo test --release -p sessionkit --test measure -- --ignored --nocapture`

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; this one is there to print"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use sessionkit::embedded::EmbeddedOptions;
use sessionkit::testing::TestClock;
use sessionkit::{
    Credential, EmbeddedStore, EncryptionKeys, Lifetimes, SessionStore, Sessions, SignIn,
    Timestamp, Tokens,
};

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);
/// How many, unless `SESSIONKIT_MANY` says otherwise.
const MANY: u64 = 1_000_000;
/// Bytes of tokens and claims in one session, unless `SESSIONKIT_CONTENT` says otherwise.
const CONTENT: usize = 600;

fn content() -> usize {
    std::env::var("SESSIONKIT_CONTENT").map_or(CONTENT, |content| content.parse().unwrap())
}

/// A token as long as wanted: three parts of base64url.
fn token(length: usize) -> String {
    let part = |length| "Zm9v".repeat(length / 4);
    let token = format!("{}.{}.", part(96), part(length.saturating_sub(96) / 2));
    let rest = length.saturating_sub(token.len());
    format!("{token}{}", part(rest))
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

fn credential(number: u64) -> Credential {
    Credential::of(&number.to_be_bytes())
}

fn sign_in(number: u64) -> SignIn {
    let (subject, client) = (format!("auth0|{number:024x}"), "website".to_owned());
    let refresh_token = format!("{number:048x}");
    let rest = content() - subject.len() - client.len() - refresh_token.len();
    let (access_token, id_token) = (token(rest * 3 / 8), token(rest * 3 / 8));
    let data = "d".repeat(rest - access_token.len() - id_token.len());
    SignIn {
        subject,
        client,
        credential: credential(number),
        tokens: Tokens {
            access_token: access_token.into(),
            refresh_token: Some(refresh_token.into()),
            id_token: Some(id_token.into()),
            access_expires_at: NOW.after(Duration::from_secs(3600)),
        },
        identity_provider_session: None,
        data: data.into(),
        ip_address: None,
        user_agent: None,
    }
}

fn sessions(store: Arc<dyn SessionStore>) -> Arc<Sessions> {
    let clock = Arc::new(TestClock::default());
    Arc::new(Sessions::new(store, clock, Lifetimes::default()))
}

fn open(path: &std::path::Path) -> EmbeddedStore {
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let mut options = EmbeddedOptions::new(EncryptionKeys::parse(&key).unwrap());
    options.clock = Arc::new(TestClock::default());
    EmbeddedStore::open(path, options).unwrap()
}

#[test]
#[ignore = "takes minutes, and prints figures instead of judging"]
fn a_million_sessions() {
    let many = std::env::var("SESSIONKIT_MANY").map_or(MANY, |many| many.parse().unwrap());
    let folder = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let path = folder.path().join("sessions.redb");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let store = Arc::new(open(&path));
    for (writers, total) in [
        (1, 500),
        (32, 20_000),
        (256, 100_000),
        (1024, many - 120_500),
    ] {
        let before = store.status();
        let offset = before.sessions as u64;
        let start = Instant::now();
        runtime.block_on(async {
            let each = total / writers;
            let tasks: Vec<_> = (0..writers)
                .map(|writer| {
                    let sessions = sessions(store.clone());
                    tokio::spawn(async move {
                        for number in 0..each {
                            let new = sign_in(offset + writer * each + number);
                            sessions.open(new).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let (took, after) = (start.elapsed(), store.status());
        let writes = after.writes - before.writes;
        println!(
            "{writers} writers: {:.0} sign-ins/s, {:.1} per commit, {:.2} ms per commit",
            writes as f64 / took.as_secs_f64(),
            writes as f64 / (after.commits - before.commits) as f64,
            took.as_secs_f64() * 1e3 / (after.commits - before.commits) as f64,
        );
    }
    let sessions = store.status().sessions as u64;
    // As a crash would leave it.
    let crashed = folder.path().join("crashed.redb");
    std::fs::copy(&path, &crashed).unwrap();
    drop(store);
    let start = Instant::now();
    drop(open(&crashed));
    println!("opened after a crash in {:.2?}", start.elapsed());
    std::fs::remove_file(&crashed).unwrap();
    let file = std::fs::metadata(&path).unwrap().len();
    println!(
        "{sessions} sessions of {} bytes: {} bytes each in the file",
        content(),
        file / sessions
    );

    let start = Instant::now();
    let store = open(&path);
    println!("opened after a clean stop in {:.2?}", start.elapsed());
    println!(
        "resident, all in all: {} bytes a session",
        resident() / sessions
    );
    let file = std::fs::metadata(&path).unwrap().len();
    println!("file after opening: {} bytes a session", file / sessions);

    runtime.block_on(async {
        let start = Instant::now();
        let (mut after, mut count) = (None, 0);
        loop {
            let page = store.active_subjects(after, 1000, NOW).await.unwrap();
            if count == 0 {
                println!("first page of active subjects: {:.2?}", start.elapsed());
            }
            count += page.len();
            after = page.last().cloned();
            if page.is_empty() {
                break;
            }
        }
        println!("{count} active subjects in {:.2?}", start.elapsed());
        let start = Instant::now();
        let credential = credential(77);
        for _ in 0..1_000_000 {
            std::hint::black_box(store.peek(std::hint::black_box(&credential), NOW));
        }
        println!("peek: {:.0?}", start.elapsed() / 1_000_000);
    });
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
#[ignore = "prints figures instead of judging"]
fn sessions_in_memory() {
    let many = std::env::var("SESSIONKIT_MANY").map_or(MANY, |many| many.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let store = Arc::new(sessionkit::MemoryStore::new());
    let sessions = sessions(store.clone());
    let before = resident();
    runtime.block_on(async {
        for number in 0..many {
            sessions.open(sign_in(number)).await.unwrap();
        }
    });
    let each = (resident() - before) / many;
    println!(
        "{many} sessions of {} bytes: {each} bytes each in memory",
        content()
    );
    let credential = credential(77);
    let start = Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(store.peek(std::hint::black_box(&credential), NOW));
    }
    println!("peek: {:.0?}", start.elapsed() / 1_000_000);
}

/// Needs a server at `SESSIONKIT_REDIS_PORT`, empty.
#[test]
#[ignore = "prints figures instead of judging"]
fn sessions_in_redis() {
    let many = std::env::var("SESSIONKIT_MANY").map_or(MANY, |many| many.parse().unwrap());
    let Ok(port) = std::env::var("SESSIONKIT_REDIS_PORT") else {
        return;
    };
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let keys = EncryptionKeys::parse(&key).unwrap();
    let settings = sessionkit::RedisSettings::new("127.0.0.1", port.parse().unwrap(), keys);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(sessionkit::RedisStore::connect(settings).await.unwrap());
        let start = Instant::now();
        let writers = 64;
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let sessions = sessions(store.clone());
                tokio::spawn(async move {
                    for number in 0..many / writers {
                        let new = sign_in(writer * (many / writers) + number);
                        sessions.open(new).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!(
            "{:.0} sign-ins/s",
            many as f64 / start.elapsed().as_secs_f64()
        );
        let start = Instant::now();
        let (mut after, mut count) = (None, 0);
        loop {
            let page = store.active_subjects(after, 100, NOW).await.unwrap();
            if count == 0 {
                println!("first page of active subjects: {:.2?}", start.elapsed());
            }
            count += page.len();
            after = page.last().cloned();
            if page.is_empty() {
                break;
            }
        }
        println!("{count} active subjects in {:.2?}", start.elapsed());
        let credential = credential(77);
        let start = Instant::now();
        for _ in 0..20_000 {
            store.load(&credential, NOW).await.unwrap();
        }
        println!(
            "load, one after the other: {:.0?}",
            start.elapsed() / 20_000
        );
        let start = Instant::now();
        for _ in 0..1_000_000 {
            std::hint::black_box(store.peek(std::hint::black_box(&credential), NOW));
        }
        println!(
            "peek: {:.0?}; {:?}",
            start.elapsed() / 1_000_000,
            store.status()
        );
    });
}

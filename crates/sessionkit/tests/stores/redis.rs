//! The Redis store against real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::redis_server::{Cluster, Sentinel, Server};
use base64::Engine as _;
use bytes::Bytes;
use sessionkit::seal::Reseal as _;
use sessionkit::testing::conformance;
use sessionkit::{
    Created, Credential, EncryptionKeys, Lease, OneTimeStore as _, Peek, RecordStore as _,
    RedisMode, RedisSettings, RedisStore, Session, SessionId, SessionStore as _, Swap, Timestamp,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const NOW: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);

fn keys(bytes: &[u8]) -> EncryptionKeys {
    let encode = |byte: &u8| base64::engine::general_purpose::STANDARD.encode([*byte; 32]);
    let text: Vec<String> = bytes.iter().map(encode).collect();
    EncryptionKeys::parse(&text.join(",")).unwrap()
}

fn settings(port: u16) -> RedisSettings {
    let mut settings = RedisSettings::new("127.0.0.1", port, keys(b"a"));
    settings.response_timeout = Duration::from_secs(1);
    settings
}

async fn connect(settings: RedisSettings) -> RedisStore {
    RedisStore::connect(settings).await.unwrap()
}

fn numbered(number: u64) -> Session {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let subject = format!("user {number}");
    conformance::numbered(&subject, SessionId::from_bytes(id), number, NOW)
}

async fn is_there(store: &RedisStore, number: u64) -> bool {
    let found = store.load(&numbered(number).credential(), NOW).await;
    found.unwrap().is_some()
}

async fn conforms(store: &RedisStore) {
    let broken = conformance::check(store).await.unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(store.status().mismatches, 0);
}

/// Tries until it works, and says how long that took.
async fn until_it_works(store: &RedisStore) -> Duration {
    let start = Instant::now();
    while let Err(error) = store.check().await {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", error.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_single_server_conforms() {
    let server = Server::start();
    conforms(&connect(settings(server.port)).await).await;
}

#[tokio::test]
async fn without_a_near_cache_too() {
    let server = Server::start();
    let mut settings = settings(server.port);
    settings.near_cache = 0;
    conforms(&connect(settings).await).await;
}

#[tokio::test]
async fn a_cluster_conforms() {
    let cluster = Cluster::start();
    let mut settings = settings(cluster.ports()[0]);
    settings.mode = RedisMode::Cluster;
    conforms(&connect(settings).await).await;
}

#[tokio::test]
async fn scopes_never_see_each_other() {
    let server = Server::start();
    let one = connect(settings(server.port)).await;
    let mut other = settings(server.port);
    other.scope = "other".to_owned();
    let other = connect(other).await;
    one.create(numbered(1), NOW).await.unwrap();
    assert!(!is_there(&other, 1).await);
    assert!(
        other
            .active_subjects(None, 9, NOW)
            .await
            .unwrap()
            .is_empty()
    );
    conforms(&other).await;
    assert!(is_there(&one, 1).await);
}

#[tokio::test]
async fn a_dump_tells_no_token_and_no_login() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    store
        .create(conformance::session("s", 1, b"cookie", NOW), NOW)
        .await
        .unwrap();
    let secret = Bytes::from_static(b"a login state");
    let end = NOW.after(Duration::from_hours(1));
    store
        .put(Credential::of(b"state"), secret.clone(), end, NOW)
        .await
        .unwrap();
    store
        .create_record("job/1", secret, end, NOW)
        .await
        .unwrap();
    server.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
    server.cli(&["SAVE"]);
    let dump = std::fs::read(server.folder.path().join("dump.rdb")).unwrap();
    for secret in ["refresh", "access", "identity", "cookie", "a login state"] {
        let found = dump
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn the_near_cache_follows_changes_elsewhere_and_is_off_without_a_connection() {
    let mut server = Server::start();
    let (one, two) = (
        connect(settings(server.port)).await,
        connect(settings(server.port)).await,
    );
    let first = numbered(1);
    let credential = first.credential();
    one.create(numbered(1), NOW).await.unwrap();
    assert!(matches!(one.peek(&credential, NOW), Peek::Unknown));
    assert!(is_there(&one, 1).await);
    assert!(matches!(one.peek(&credential, NOW), Peek::Found(_)));

    let next = conformance::moved(&first, b"next", NOW);
    let swap = two.compare_and_swap(&first, next, None, NOW).await.unwrap();
    assert!(matches!(swap, Swap::Stored(_)), "{swap:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(one.peek(&credential, NOW), Peek::Unknown));
    assert!(is_there(&one, 1).await);

    two.end("user 1", first.id(), NOW).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(one.peek(&credential, NOW), Peek::Unknown));
    assert!(!is_there(&one, 1).await);
    let status = one.status().near_cache;
    assert!(
        status.on && status.hits == 1 && status.invalidations == 2,
        "{status:?}"
    );

    // Cut: empty and off at once.
    one.create(numbered(2), NOW).await.unwrap();
    assert!(is_there(&one, 2).await);
    server.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(
        one.peek(&numbered(2).credential(), NOW),
        Peek::Unknown
    ));
    assert!(!one.status().near_cache.on);
    // Silent: off soon.
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    store.create(numbered(3), NOW).await.unwrap();
    assert!(is_there(&store, 3).await);
    server.pause();
    tokio::time::sleep(Duration::from_millis(2600)).await;
    assert!(matches!(
        store.peek(&numbered(3).credential(), NOW),
        Peek::Unknown
    ));
    server.resume();
    until_it_works(&store).await;
    assert!(is_there(&store, 3).await);
}

#[tokio::test]
async fn the_near_cache_is_bounded() {
    let server = Server::start();
    let mut settings = settings(server.port);
    settings.near_cache = 10;
    settings.near_cache_age = Duration::from_secs(1);
    let store = connect(settings).await;
    for number in 0..50 {
        store.create(numbered(number), NOW).await.unwrap();
        assert!(is_there(&store, number).await);
    }
    assert_eq!(store.status().near_cache.sessions, 10);
    let peek = || matches!(store.peek(&numbered(49).credential(), NOW), Peek::Found(_));
    assert!(peek());
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert!(!peek());
    // Nobody reads them again, and they go all the same.
    let gone = async {
        while store.status().near_cache.sessions > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restart_and_a_changed_password_heal_by_themselves() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = connect(settings(server.port)).await;
    store.create(numbered(1), NOW).await.unwrap();
    server.kill();
    let error = store
        .load(&numbered(1).credential(), NOW)
        .await
        .unwrap_err();
    println!("{:?}", error.0);
    assert!(store.create(numbered(2), NOW).await.is_err());
    server.restart();
    println!("back after {:?}", until_it_works(&store).await);
    assert!(is_there(&store, 1).await);

    server.cli(&["CONFIG", "SET", "requirepass", "new password"]);
    server.cli_with("new password", &["CLIENT", "KILL", "TYPE", "normal"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = store
        .load(&numbered(1).credential(), NOW)
        .await
        .unwrap_err();
    assert!(error.0.to_string().contains("NOAUTH"), "{:?}", error.0);
    server.cli_with("new password", &["CONFIG", "SET", "requirepass", ""]);
    println!("back after {:?}", until_it_works(&store).await);
    assert!(is_there(&store, 1).await);

    let mut wrong = settings(server.port);
    server.cli(&["CONFIG", "SET", "requirepass", "right"]);
    wrong.password = Some("wrong canary".to_owned().into());
    let store = connect(wrong).await;
    let error = store.check().await.unwrap_err();
    assert!(error.0.to_string().contains("WRONGPASS"), "{:?}", error.0);
    assert!(!format!("{store:?} {error:?}").contains("canary"));
}

#[tokio::test]
async fn who_refuses_is_named_and_a_wrong_mode_too() {
    let server = Server::start();
    let mut settings = settings(server.port);
    settings.mode = RedisMode::Cluster;
    let error = connect(settings.clone()).await.check().await.unwrap_err();
    let text = error.0.to_string();
    assert!(text.contains("no cluster: set the mode"), "{text}");

    settings.mode = RedisMode::Sentinel {
        master_name: "primary".to_owned(),
    };
    let error = connect(settings).await.check().await.unwrap_err();
    let text = error.0.to_string();
    assert!(text.starts_with("at a sentinel: "), "{text}");
}

#[tokio::test]
async fn a_user_and_tls_are_spoken() {
    let server = Server::start_tls();
    server.cli(&[
        "ACL",
        "SETUSER",
        "gateway",
        "on",
        ">secret",
        "~sessions:*",
        "+@all",
        "-@admin",
    ]);
    let mut settings = settings(server.port);
    settings.hosts = vec![("localhost".to_owned(), server.port)];
    settings.username = Some("gateway".to_owned());
    settings.password = Some("secret".to_owned().into());
    settings.tls = Some(sessionkit::RedisTls {
        ca: Some(server.pem("ca.pem")),
        client: Some((
            server.pem("cert.pem"),
            String::from_utf8(server.pem("key.pem")).unwrap().into(),
        )),
    });
    let store = connect(settings.clone()).await;
    conforms(&store).await;
    settings.tls = Some(sessionkit::RedisTls::default());
    let untrusting = connect(settings).await;
    let error = untrusting.check().await.unwrap_err();
    assert!(error.0.to_string().contains("certificate"), "{:?}", error.0);
}

#[tokio::test]
async fn a_full_server_takes_ends_and_answers_checks() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    for number in 0..20 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = store.create(numbered(20), NOW).await.unwrap_err();
    assert!(error.0.to_string().contains("OOM"), "{:?}", error.0);
    assert!(is_there(&store, 1).await);
    assert!(
        store
            .end("user 1", numbered(1).id(), NOW)
            .await
            .unwrap()
            .is_some()
    );
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    store.create(numbered(20), NOW).await.unwrap();
    assert!(!is_there(&store, 1).await);
}

#[tokio::test]
async fn keys_change_without_a_sign_out() {
    let server = Server::start();
    let old = connect(settings(server.port)).await;
    let end = NOW.after(Duration::from_hours(1));
    let version = old
        .create_record("job", Bytes::from_static(b"x"), end, NOW)
        .await
        .unwrap();
    for number in 0..100 {
        old.create(numbered(number), NOW).await.unwrap();
    }
    let mut both = settings(server.port);
    both.keys = keys(b"ba");
    let both = connect(both).await;
    let mut rounds = Vec::new();
    while rounds.len() < 2 {
        let progress = both.reseal(30, NOW).await.unwrap();
        if progress.round_done {
            rounds.push(progress.sealed_with_older_keys);
        }
    }
    assert_eq!(rounds, [Some(101), Some(0)]);
    let mut new = settings(server.port);
    new.keys = keys(b"b");
    let new = connect(new).await;
    for number in 0..100 {
        assert!(is_there(&new, number).await);
    }
    assert_eq!(
        new.record("job", NOW).await.unwrap().map(|r| r.version),
        version
    );
    assert!(old.load(&numbered(5).credential(), NOW).await.is_err());
}

#[tokio::test]
async fn threat_42_a_moved_value_is_refused() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    for number in 0..2 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    let keys = server.cli(&["KEYS", "sessions:s1:*:r:*"]);
    let keys: Vec<&str> = keys.lines().collect();
    server.cli(&["COPY", keys[0], keys[1], "REPLACE"]);
    let mut refused = 0;
    for number in 0..2 {
        refused += usize::from(
            store
                .load(&numbered(number).credential(), NOW)
                .await
                .is_err(),
        );
    }
    assert_eq!(refused, 1);
    // A pointer that was moved names another credential.
    let pointers = server.cli(&["KEYS", "sessions:s1:*:c"]);
    let pointers: Vec<&str> = pointers.lines().collect();
    let before = store.status().connections;
    server.cli(&["COPY", pointers[0], pointers[1], "REPLACE"]);
    let mut refused = 0;
    for number in 0..2 {
        refused += usize::from(
            store
                .load(&numbered(number).credential(), NOW)
                .await
                .is_err(),
        );
    }
    assert!(refused >= 1);
    until_it_works(&store).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(store.status().connections > before && store.status().mismatches > 0);
}

#[tokio::test]
async fn threat_16_an_expired_value_that_is_put_back_is_refused() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    let (key, end) = (Credential::of(b"state"), NOW.after(Duration::from_secs(60)));
    store
        .put(key, Bytes::from_static(b"x"), end, NOW)
        .await
        .unwrap();
    store.create(numbered(1), NOW).await.unwrap();
    for name in server.cli(&["KEYS", "sessions:s1:*"]).lines() {
        server.cli(&["PERSIST", name]);
    }
    assert!(store.take(key, end).await.unwrap().is_none());
    let over = numbered(1).expires_at();
    let found = store.load(&numbered(1).credential(), over).await.unwrap();
    assert!(found.is_none());
}

#[tokio::test]
async fn threat_26_the_near_cache_judges_each_check_anew() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    let first = numbered(1);
    store.create(numbered(1), NOW).await.unwrap();
    let next = conformance::moved(&first, b"next", NOW);
    store
        .compare_and_swap(&first, next, None, NOW)
        .await
        .unwrap();
    for value in [first.credential(), Credential::of(b"next")] {
        store.load(&value, NOW).await.unwrap().unwrap();
        assert!(matches!(store.peek(&value, NOW), Peek::Found(_)));
    }
    let grace_over = NOW.after(Duration::from_secs(30));
    let old = store.peek(&first.credential(), grace_over);
    assert!(
        !matches!(old, Peek::Found(_)),
        "the grace time of the old credential is over"
    );
    let new = store.peek(&Credential::of(b"next"), grace_over);
    assert!(matches!(new, Peek::Found(_)));
    let day_over = NOW.after(Duration::from_hours(24));
    let new = store.peek(&Credential::of(b"next"), day_over);
    assert!(!matches!(new, Peek::Found(_)), "the session is over");
    assert!(matches!(
        store.peek(&Credential::of(b"other"), NOW),
        Peek::Unknown
    ));
}

#[tokio::test]
async fn threat_23_refreshed_claims_reach_every_replica() {
    let server = Server::start();
    let (one, two) = (
        connect(settings(server.port)).await,
        connect(settings(server.port)).await,
    );
    one.create(numbered(1), NOW).await.unwrap();
    let seen = two
        .load(&numbered(1).credential(), NOW)
        .await
        .unwrap()
        .unwrap();
    let next = conformance::refreshed(&seen, "fresh", NOW);
    one.compare_and_swap(&seen, next, None, NOW).await.unwrap();
    let start = Instant::now();
    loop {
        let credential = seen.credential();
        let now = match two.peek(&credential, NOW) {
            Peek::Found(session) => session,
            _ => two.load(&credential, NOW).await.unwrap().unwrap(),
        };
        if now.generation() == 2 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("the other replica knew after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let server = Server::start();
    let mut settings = settings(server.port);
    settings.in_flight = 100;
    settings.near_cache = 0;
    let store = Arc::new(connect(settings).await);
    store.create(numbered(1), NOW).await.unwrap();
    server.pause();
    let start = Instant::now();
    let tasks: Vec<_> = (0..400)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.load(&numbered(1).credential(), NOW).await })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        refused += usize::from(error.0.to_string().contains("too many"));
    }
    // More than may wait are told at once; the others after a time limit, or two where they asked again.
    assert_eq!(refused, 300);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    server.resume();
    until_it_works(&store).await;
    assert!(is_there(&store, 1).await);
}

/// A port that leads to another, and takes its time for it.
async fn slow_way(port: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            let ((mut from, mut back), (mut answers, mut to)) =
                (near.into_split(), far.unwrap().into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            tokio::spawn(async move {
                let mut chunk = vec![0; 65536];
                while let Ok(length @ 1..) = from.read(&mut chunk).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    to.write_all(&chunk[..length]).await.unwrap();
                }
            });
        }
    });
    own
}

/// It was there and was ended: its credential was no other's.
#[tokio::test]
async fn a_session_that_is_ended_while_it_is_made_was_stored() {
    let server = Server::start();
    let store = connect(settings(slow_way(server.port).await)).await;
    let other = connect(settings(server.port)).await;
    for number in 0..5 {
        let session = numbered(number);
        let subject = session.subject().to_owned();
        let end = async {
            while other.end_all(&subject, NOW).await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let (created, ()) = tokio::join!(store.create(session, NOW), end);
        let created = created.unwrap();
        assert!(matches!(created, Created::Stored(_)), "{created:?}");
        assert!(!is_there(&store, number).await);
    }
}

#[tokio::test]
async fn what_a_crash_left_behind_is_put_right() {
    let server = Server::start();
    let store = connect(settings(server.port)).await;
    for number in 0..5 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    // The session of user 1 is gone, and all that led to it is still there.
    for key in server.cli(&["KEYS", "sessions:s1:*:r:*"]).lines() {
        if server.cli(&["STRLEN", key]).trim() != "0" {
            server.cli(&["DEL", key]);
            break;
        }
    }
    let active = store.active_subjects(None, 9, NOW).await.unwrap();
    assert_eq!(active.len(), 4);
    assert_eq!(server.cli(&["ZCARD", "sessions:s1:{active}:s"]).trim(), "4");
    // Its credential is free again.
    let mut created = 0;
    for number in 0..5 {
        let mut id = [9; 16];
        id[0] = number as u8;
        let again = conformance::numbered("again", SessionId::from_bytes(id), number, NOW);
        created += usize::from(matches!(
            store.create(again, NOW).await.unwrap(),
            Created::Stored(_)
        ));
    }
    assert_eq!(created, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_32_callers_that_leave_take_nobodys_answer() {
    let server = Server::start();
    let mut settings = settings(server.port);
    settings.near_cache = 0;
    // What is looked for here is no slow machine.
    settings.response_timeout = Duration::from_secs(20);
    let store = Arc::new(connect(settings).await);
    for number in 0..64 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (dropped, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..32_u64)
        .map(|task| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            let (dropped, answered) = (Arc::clone(&dropped), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut dice = task * 7919 + 1;
                while !stop.load(Ordering::Relaxed) {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let number = (dice >> 33) % 64;
                    let patience = Duration::from_micros((dice >> 40) % 400);
                    let credential = numbered(number).credential();
                    let load = store.load(&credential, NOW);
                    match tokio::time::timeout(patience, load).await {
                        Err(_) => dropped.fetch_add(1, Ordering::Relaxed),
                        Ok(found) => {
                            let session = found.unwrap().unwrap();
                            assert_eq!(session.subject(), format!("user {number}"));
                            answered.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let (dropped, answered) = (
        dropped.load(Ordering::Relaxed),
        answered.load(Ordering::Relaxed),
    );
    println!("{dropped} left, {answered} answered");
    assert!(dropped > 100 && answered > 100);
    assert_eq!(
        (store.status().mismatches, store.status().connections),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_is_followed() {
    let sentinel = Sentinel::start();
    let mut settings = settings(sentinel.port);
    settings.mode = RedisMode::Sentinel {
        master_name: "main".to_owned(),
    };
    let store = connect(settings).await;
    until_it_works(&store).await;
    for number in 0..50 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    sentinel.wait_for_replica();
    sentinel.kill_primary();
    let start = Instant::now();
    let (mut errors, mut lost) = (0, 0);
    let mut first_good = None;
    while start.elapsed() < Duration::from_secs(40) {
        match store.load(&numbered(7).credential(), NOW).await {
            Ok(Some(_)) if errors > 0 => {
                first_good = Some(start.elapsed());
                break;
            }
            Ok(Some(_)) => {}
            Ok(None) => lost += 1,
            Err(_) => errors += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("served again after {first_good:?}, {errors} errors, {lost} lost");
    assert!(first_good.is_some());
    assert_eq!(lost, 0, "a live session was denied");
    for number in 0..50 {
        assert!(is_there(&store, number).await);
    }
    store.create(numbered(99), NOW).await.unwrap();

    // The old primary is demoted behind a connection that is still open.
    let lease = store
        .acquire_lease("user 99", numbered(99).id(), Duration::from_secs(15), NOW)
        .await;
    assert!(matches!(lease, Ok(Lease::Granted(_))));
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    let (one, two) = (Server::start(), Server::start());
    let mut settings = settings(one.port);
    settings.hosts.push(("127.0.0.1".to_owned(), two.port));
    let store = connect(settings).await;
    store.create(numbered(1), NOW).await.unwrap();
    one.cli(&["REPLICAOF", "127.0.0.1", &two.port.to_string()]);
    // The first write meets READONLY; then the other server is found.
    let error = store.create(numbered(2), NOW).await.unwrap_err();
    assert!(error.0.to_string().contains("READONLY"), "{:?}", error.0);
    until_it_works(&store).await;
    store.create(numbered(2), NOW).await.unwrap();
    assert!(is_there(&store, 2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_clusters_primary_is_survived() {
    let mut cluster = Cluster::start_with_replicas();
    let mut settings = settings(cluster.ports()[0]);
    settings.mode = RedisMode::Cluster;
    let host = |port: u16| ("127.0.0.1".to_owned(), port);
    settings.hosts = cluster.ports().into_iter().map(host).collect();
    let store = connect(settings).await;
    for number in 0..60 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    cluster.kill_a_primary();
    let start = Instant::now();
    let (mut errors, mut in_a_row, mut last_error) = (0, 0, Duration::ZERO);
    // Until every session has been served once around.
    while in_a_row < 60 {
        assert!(start.elapsed() < Duration::from_secs(40), "{errors} errors");
        match store.load(&numbered(in_a_row).credential(), NOW).await {
            Ok(Some(_)) => in_a_row += 1,
            Ok(None) => panic!("live session {in_a_row} was denied"),
            Err(_) => {
                errors += 1;
                in_a_row = 0;
                last_error = start.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{errors} errors, the last {last_error:?} after the loss");
    assert!(errors > 0);
    for number in 60..80 {
        store.create(numbered(number), NOW).await.unwrap();
    }
    assert_eq!(
        store.active_subjects(None, 100, NOW).await.unwrap().len(),
        80
    );
}

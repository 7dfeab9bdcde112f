//! The embedded store under `kill -9`: what was acknowledged holds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and the child speaks over its standard output"
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use sessionkit::embedded::EmbeddedOptions;
use sessionkit::testing::{TestClock, conformance};
use sessionkit::{
    Created, Credential, EmbeddedError, EmbeddedStore, EncryptionKeys, Lease, OneTimeStore as _,
    Peek, Session, SessionId, SessionStore as _, Swap, Timestamp,
};

const FILE: &str = "SESSIONKIT_CRASH_FILE";
const FROM: &str = "SESSIONKIT_CRASH_FROM";
const ROUNDS: &str = "SESSIONKIT_CRASH_ROUNDS";
const NOW: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);
const LEASE: Duration = Duration::from_secs(15);

fn open(path: &Path) -> EmbeddedStore {
    try_open(path).unwrap()
}

fn try_open(path: &Path) -> Result<EmbeddedStore, EmbeddedError> {
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let mut options = EmbeddedOptions::new(EncryptionKeys::parse(&key).unwrap());
    options.clock = Arc::new(TestClock::default());
    EmbeddedStore::open(path, options)
}

fn id(number: u64) -> SessionId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn subject(number: u64) -> String {
    format!("user {number}")
}

fn session(number: u64) -> Session {
    conformance::numbered(&subject(number), id(number), number, NOW)
}

fn say(line: &str) {
    // One write, so that a line is there whole or not at all.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the child does for one number: sign in, refresh under a lease, sign out every other one, and
/// say so before and after.
async fn live(store: &EmbeddedStore, number: u64) {
    let created = store.create(session(number), NOW).await.unwrap();
    let Created::Stored(first) = created else {
        panic!("{created:?}")
    };
    say(&format!("created {number}"));
    let lease = store
        .acquire_lease(&subject(number), id(number), LEASE, NOW)
        .await;
    let Lease::Granted(fence) = lease.unwrap() else {
        panic!("held")
    };
    say(&format!("leased {number} {}", fence.0));
    if number.is_multiple_of(3) {
        let next = conformance::refreshed(&first, &format!("fresh {number}"), NOW);
        say(&format!("refreshing {number}"));
        let swap = store.compare_and_swap(&first, next, Some(fence), NOW).await;
        assert!(matches!(swap.unwrap(), Swap::Stored(_)));
        say(&format!("refreshed {number}"));
    }
    let jti = Credential::of(format!("jti {number}").as_bytes());
    let day = NOW.after(Duration::from_hours(24));
    assert!(store.claim(jti, day, NOW).await.unwrap());
    say(&format!("claimed {number}"));
    if number.is_multiple_of(2) {
        say(&format!("ending {number}"));
        let ended = store.end(&subject(number), id(number), NOW).await;
        assert!(ended.unwrap().is_some());
        say(&format!("ended {number}"));
    }
}

/// Not a test by itself: what the parent starts and kills.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&path)));
        say("open");
        let tasks: Vec<_> = (0..16)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for step in 0.. {
                        live(&store, from + step * 16 + task).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// What the parent knows of a number.
#[derive(Default)]
struct Known {
    created: bool,
    refreshing: bool,
    refreshed: bool,
    claimed: bool,
    ending: bool,
    ended: bool,
    fence: u64,
}

fn run_and_kill(path: &Path, round: u64, known: &mut HashMap<u64, Known>) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(FILE, path)
        .env(FROM, (round * 10_000_000).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let opened = lines.by_ref().any(|line| line.unwrap().contains("@open"));
    assert!(opened, "the child did not open the file");
    if round == 0 {
        let refused = try_open(path).unwrap_err();
        assert!(
            matches!(refused, EmbeddedError::InUse { .. }),
            "{refused:?}"
        );
    }
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5 + round * 37 % 160));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let mut count = 0;
    for line in lines {
        let line = line.unwrap();
        let Some(said) = line.strip_prefix('@') else {
            continue;
        };
        let mut words = said.split(' ');
        let (what, number) = (words.next().unwrap(), words.next().unwrap());
        let known = known.entry(number.parse().unwrap()).or_default();
        count += 1;
        match what {
            "created" => known.created = true,
            "leased" => known.fence = words.next().unwrap().parse().unwrap(),
            "refreshing" => known.refreshing = true,
            "refreshed" => known.refreshed = true,
            "claimed" => known.claimed = true,
            "ending" => known.ending = true,
            "ended" => known.ended = true,
            _ => panic!("{line}"),
        }
    }
    killer.join().unwrap();
    count
}

async fn verify(path: &Path, known: &HashMap<u64, Known>) {
    let store = open(path);
    let highest = known.values().map(|known| known.fence).max().unwrap_or(0);
    for (number, known) in known {
        let credential = Credential::of(number.to_string().as_bytes());
        let found = match store.peek(&credential, NOW) {
            Peek::Found(session) => Some(session),
            _ => None,
        };
        if known.created && !known.ending {
            let found = found.as_ref();
            let session = found.unwrap_or_else(|| panic!("session {number} was lost"));
            assert!(
                !known.refreshed || session.generation() == 2,
                "the refresh of {number} was lost"
            );
            assert!(known.refreshing || session.generation() == 1);
        }
        assert!(
            !(known.ended && found.is_some()),
            "session {number} came back"
        );
        if known.claimed {
            let jti = Credential::of(format!("jti {number}").as_bytes());
            let day = NOW.after(Duration::from_hours(24));
            assert!(!store.claim(jti, day, NOW).await.unwrap());
        }
        if known.fence > 0 && found.is_some() && number % 64 == 1 {
            let (subject, id) = (subject(*number), id(*number));
            let lease = store.acquire_lease(&subject, id, LEASE, NOW).await.unwrap();
            assert!(matches!(lease, Lease::Held(_)), "{lease:?}");
            let later = NOW.after(LEASE);
            let lease = store.acquire_lease(&subject, id, LEASE, later).await;
            let lease = lease.unwrap();
            assert!(
                matches!(lease, Lease::Granted(fence) if fence.0 > highest),
                "{lease:?} after {highest}"
            );
            store.end(&subject, id, NOW).await.unwrap();
        }
    }
}

#[tokio::test]
async fn threat_31_what_was_acknowledged_holds_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let rounds: u64 = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let mut lines = 0;
    for round in 0..rounds {
        let mut known = HashMap::new();
        lines += run_and_kill(&path, round, &mut known);
        verify(&path, &known).await;
    }
    assert!(lines > 500, "the child hardly got to work: {lines}");
    println!("{rounds} rounds, {lines} acknowledgements");
}

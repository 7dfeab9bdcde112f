use std::fs;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;
use crate::seal::Reseal as _;
use crate::testing::{TestClock, conformance};
use crate::{
    Created, Credential, Lease, OneTimeStore as _, Peek, RecordStore as _, Session, SessionId,
    SessionStore, Timestamp,
};

const NOW: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn keys(bytes: &[u8]) -> EncryptionKeys {
    let encode = |byte: &u8| base64::engine::general_purpose::STANDARD.encode([*byte; 32]);
    let text: Vec<String> = bytes.iter().map(encode).collect();
    EncryptionKeys::parse(&text.join(",")).unwrap()
}

fn options(bytes: &[u8]) -> EmbeddedOptions {
    EmbeddedOptions {
        clock: Arc::new(TestClock::default()),
        ..EmbeddedOptions::new(keys(bytes))
    }
}

struct Home {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.redb");
        Self {
            _folder: folder,
            path,
        }
    }

    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(&self.path, options(b"a")).unwrap()
    }
}

fn numbered(number: u64) -> Session {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    conformance::numbered(
        &format!("user {number}"),
        SessionId::from_bytes(id),
        number,
        NOW,
    )
}

fn is_there(store: &EmbeddedStore, number: u64) -> bool {
    matches!(
        store.peek(&numbered(number).credential(), NOW),
        Peek::Found(_)
    )
}

#[tokio::test]
async fn all_is_there_after_a_restart() {
    let home = Home::new();
    let (key, end) = (Credential::of(b"jti"), NOW.after(HOUR));
    let (fence, version);
    {
        let store = home.open();
        for number in 0..100 {
            store.create(numbered(number), NOW).await.unwrap();
        }
        store.end("user 1", numbered(1).id(), NOW).await.unwrap();
        let first = numbered(2);
        let next = first.with_credential(Credential::of(b"new"), [1; 32], &Default::default(), NOW);
        store
            .compare_and_swap(&first, next, None, NOW)
            .await
            .unwrap();
        let Lease::Granted(granted) = store
            .acquire_lease("user 3", numbered(3).id(), HOUR, NOW)
            .await
            .unwrap()
        else {
            panic!("not granted")
        };
        fence = granted;
        assert!(store.claim(key, end, NOW).await.unwrap());
        let value = Bytes::from_static(b"state");
        store
            .put(Credential::of(b"state"), value.clone(), end, NOW)
            .await
            .unwrap();
        version = store
            .create_record("job/1", value, end, NOW)
            .await
            .unwrap()
            .unwrap();
        store.remove_record("job/1", NOW).await.unwrap();
        let used = store
            .load(&numbered(4).credential(), NOW)
            .await
            .unwrap()
            .unwrap();
        used.touch(NOW.after(HOUR));
        store.touch(&used, NOW.after(HOUR)).await.unwrap();
    }
    let store = home.open();
    assert_eq!(store.status().sessions, 99);
    assert!(!is_there(&store, 1), "threat 31");
    assert!(is_there(&store, 2), "in its grace time");
    assert!(matches!(
        store.peek(&Credential::of(b"new"), NOW),
        Peek::Found(_)
    ));
    let again = store
        .acquire_lease("user 3", numbered(3).id(), HOUR, NOW)
        .await
        .unwrap();
    assert_eq!(again, Lease::Held(NOW.after(HOUR)));
    let later = store
        .acquire_lease("user 3", numbered(3).id(), HOUR, NOW.after(HOUR))
        .await
        .unwrap();
    assert!(matches!(later, Lease::Granted(later) if later > fence));
    assert!(!store.claim(key, end, NOW).await.unwrap());
    let state = store.take(Credential::of(b"state"), NOW).await.unwrap();
    assert_eq!(state.unwrap(), "state");
    let again = store
        .create_record("job/1", Bytes::new(), end, NOW)
        .await
        .unwrap();
    assert!(again.unwrap() > version);
    let Peek::Found(used) = store.peek(&numbered(4).credential(), NOW) else {
        panic!("gone")
    };
    assert_eq!(used.last_seen_at(), NOW.after(HOUR));
}

#[tokio::test]
async fn the_file_tells_no_token_and_no_login() {
    let home = Home::new();
    let store = home.open();
    store
        .create(conformance::session("a subject", 1, b"cookie", NOW), NOW)
        .await
        .unwrap();
    let secret = Bytes::from_static(b"a login state");
    store
        .put(
            Credential::of(b"state"),
            secret.clone(),
            NOW.after(HOUR),
            NOW,
        )
        .await
        .unwrap();
    store
        .create_record("job/1", secret, NOW.after(HOUR), NOW)
        .await
        .unwrap();
    drop(store);
    let file = fs::read(&home.path).unwrap();
    for secret in [
        "refresh",
        "access",
        "identity",
        "cookie",
        "a subject",
        "a login state",
    ] {
        let found = file
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let home = Home::new();
    let store = home.open();
    let error = EmbeddedStore::open(&home.path, options(b"a")).unwrap_err();
    assert!(matches!(error, EmbeddedError::InUse { .. }), "{error:?}");
    drop(store);
    home.open();
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_left_alone() {
    for check_pages in [false, true] {
        damage(check_pages).await;
    }
}

async fn damage(check_pages: bool) {
    let home = Home::new();
    {
        let store = home.open();
        for number in 0..200 {
            store.create(numbered(number), NOW).await.unwrap();
        }
    }
    let good = fs::read(&home.path).unwrap();
    let mut bad: Vec<Vec<u8>> = vec![Vec::new(), b"not a database".to_vec()];
    bad.push(good[..good.len() / 3].to_vec());
    let mut zeroed = good.clone();
    zeroed[..4096].fill(0);
    bad.push(zeroed);
    for at in (0..good.len()).step_by(good.len() / 40) {
        // Free pages may hold anything: only those that matter need be noticed.
        let mut flipped = good.clone();
        flipped[at..good.len().min(at + 4096)].fill(0xa5);
        bad.push(flipped);
    }
    let mut refused = 0;
    for content in bad {
        fs::write(&home.path, &content).unwrap();
        let options = EmbeddedOptions {
            check_pages,
            ..options(b"a")
        };
        match EmbeddedStore::open(&home.path, options) {
            Ok(store) => assert_eq!(store.status().sessions, 200),
            Err(error) => {
                refused += 1;
                let advice = error.to_string();
                let told = advice.contains("move it away") || advice.contains("format");
                assert!(told, "{error:?}");
                assert!(fs::read(&home.path).unwrap() == content, "it was changed");
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn keys_change_without_a_sign_out() {
    let home = Home::new();
    {
        let store = home.open();
        for number in 0..500 {
            store.create(numbered(number), NOW).await.unwrap();
        }
        store
            .create_record("job", Bytes::new(), NOW.after(HOUR), NOW)
            .await
            .unwrap();
    }
    {
        let store = EmbeddedStore::open(&home.path, options(b"ba")).unwrap();
        assert_eq!(store.status().sealed_with_older_keys, 501);
        store.create(numbered(1000), NOW).await.unwrap();
        store.end("user 7", numbered(7).id(), NOW).await.unwrap();
        assert_eq!(store.status().sealed_with_older_keys, 500);
        let mut rounds = 0;
        loop {
            rounds += 1;
            let progress = store.reseal(64, NOW).await.unwrap();
            if progress.round_done {
                assert_eq!(progress.sealed_with_older_keys, Some(0));
                break;
            }
        }
        assert!(rounds > 5, "{rounds}");
    }
    {
        let store = EmbeddedStore::open(&home.path, options(b"b")).unwrap();
        assert_eq!(
            (store.status().sessions, is_there(&store, 499)),
            (500, true)
        );
    }
    let error = EmbeddedStore::open(&home.path, options(b"a")).unwrap_err();
    assert!(error.to_string().contains("sealed with key"), "{error}");
    EmbeddedStore::open(&home.path, options(b"b")).unwrap();
}

#[tokio::test]
async fn expired_rows_leave_the_file() {
    let home = Home::new();
    let clock = Arc::new(TestClock::default());
    let options = EmbeddedOptions {
        clock: Arc::<TestClock>::clone(&clock),
        housekeeping: Duration::from_millis(50),
        ..options(b"a")
    };
    {
        let store = EmbeddedStore::open(&home.path, options.clone()).unwrap();
        for number in 0..100 {
            store.create(numbered(number), NOW).await.unwrap();
        }
        clock.advance(HOUR * 24);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if store.status().sessions == 0 {
                break;
            }
        }
        assert_eq!(store.status().sessions, 0);
    }
    let store = EmbeddedStore::open(&home.path, options).unwrap();
    assert_eq!(store.status().sessions, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_one_commit() {
    let home = Home::new();
    let store = Arc::new(home.open());
    let before = store.status();
    let tasks: Vec<_> = (0..2000)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(numbered(number), NOW).await })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Ok(Created::Stored(_))));
    }
    let after = store.status();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    assert!(writes == 2000 && commits < 200, "{commits} commits");
}

/// A file on a disk that can be made to refuse.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl Faulty {
    fn fail(&self) -> Result<(), io::Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.fail()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        // Here the data may have reached the disk in spite of the error.
        self.file.sync_data()?;
        self.fail()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.fail()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

fn faulty(path: &Path, full: &Arc<AtomicBool>) -> Opener {
    let full = Arc::clone(full);
    Opener::with(path, false, move |file| {
        Ok(Box::new(Faulty {
            file: FileBackend::new(file)?,
            full: Arc::clone(&full),
        }))
    })
}

#[tokio::test]
async fn a_full_disk_stops_writes_only_and_writing_goes_on_by_itself() {
    let home = Home::new();
    let full = Arc::new(AtomicBool::new(false));
    {
        let store = EmbeddedStore::open_with(faulty(&home.path, &full), options(b"a")).unwrap();
        for number in 0..50 {
            store.create(numbered(number), NOW).await.unwrap();
        }
        full.store(true, Ordering::SeqCst);
        assert!(store.create(numbered(50), NOW).await.is_err());
        assert!(store.end("user 1", numbered(1).id(), NOW).await.is_err());
        assert!(store.check().await.is_err());
        assert!(is_there(&store, 0) && is_there(&store, 1) && !is_there(&store, 50));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(store.end("user 2", numbered(2).id(), NOW).await.is_err());

        full.store(false, Ordering::SeqCst);
        let mut tries = 0;
        while store.end("user 3", numbered(3).id(), NOW).await.is_err() {
            tries += 1;
            assert!(tries < 100);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        store.check().await.unwrap();
        store.create(numbered(51), NOW).await.unwrap();
    }
    let store = home.open();
    // What failed has not happened, whatever the disk kept of it.
    assert!(is_there(&store, 1) && is_there(&store, 2) && !is_there(&store, 50));
    assert!(!is_there(&store, 3) && is_there(&store, 51));
    assert_eq!(store.status().sessions, 50);
}

/// The same on a disk that is really full. Needs a small file system of its own:
/// `mount -t tmpfs -o size=8m none DIR`, and its folder in `SESSIONKIT_SMALL_DISK`.
#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_really_full_disk() {
    let Some(folder) = std::env::var_os("SESSIONKIT_SMALL_DISK") else {
        return;
    };
    let folder = PathBuf::from(folder);
    let (path, filler) = (folder.join("sessions.redb"), folder.join("filler"));
    let mut stored = Vec::new();
    {
        let store = EmbeddedStore::open(&path, options(b"a")).unwrap();
        fs::write(&filler, vec![1; 2 << 20]).unwrap();
        let mut number = 0;
        loop {
            number += 1;
            match store.create(numbered(number), NOW).await {
                Ok(_) => stored.push(number),
                Err(error) => {
                    println!("after {number}: {:?}", error.0);
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(stored.iter().all(|number| is_there(&store, *number)));
        fs::remove_file(&filler).unwrap();
        let mut tries = 0;
        while store.create(numbered(1_000_000), NOW).await.is_err() {
            tries += 1;
            assert!(tries < 100);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("back after {tries} tries");
    }
    let store = EmbeddedStore::open(&path, options(b"a")).unwrap();
    assert!(stored.iter().all(|number| is_there(&store, *number)));
    assert_eq!(store.status().sessions, stored.len() + 1);
}

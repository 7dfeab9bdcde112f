//! Stores against a model: after any sequence of operations, restarts and moves of the clock, who is
//! active and what is listed are what the model says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::redis_server::Server;
use base64::Engine as _;
use proptest::prelude::*;
use sessionkit::embedded::EmbeddedOptions;
use sessionkit::testing::{TestClock, conformance};
use sessionkit::{
    Created, Credential, EmbeddedStore, EncryptionKeys, MemoryStore, RedisSettings, RedisStore,
    Session, SessionId, SessionStore, Swap, Timestamp,
};

const START: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);

/// What happens. Numbers are small, so that things meet.
#[derive(Clone, Debug)]
enum Step {
    Create { subject: u8, id: u8, value: u8 },
    Move { nth: u8, value: u8 },
    Refresh { nth: u8 },
    End { nth: u8 },
    EndAll { subject: u8 },
    EndProvider { name: u8 },
    Pass { minutes: u16 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8, 0..12_u8, 0..16_u8).prop_map(|(subject, id, value)| Step::Create { subject, id, value }),
        4 => (0..8_u8, 0..16_u8).prop_map(|(nth, value)| Step::Move { nth, value }),
        2 => (0..8_u8).prop_map(|nth| Step::Refresh { nth }),
        2 => (0..8_u8).prop_map(|nth| Step::End { nth }),
        1 => (0..6_u8).prop_map(|subject| Step::EndAll { subject }),
        1 => (0..3_u8).prop_map(|name| Step::EndProvider { name }),
        2 => (0..900_u16).prop_map(|minutes| Step::Pass { minutes }),
        1 => Just(Step::Restart),
    ]
}

/// Byte order, prefixes and text beyond ASCII.
const SUBJECTS: [&str; 6] = ["a", "ab", "auth0|1", "b", "Z", "é"];

fn subject(number: u8) -> &'static str {
    SUBJECTS.get(usize::from(number)).unwrap()
}

fn provider(id: u8) -> String {
    format!("sid {}", id % 3)
}

/// The obvious store: all sessions in order, and their states as they were written.
#[derive(Default)]
struct Model(BTreeMap<(String, SessionId), Arc<Session>>);

impl Model {
    fn live(&self, now: Timestamp) -> Vec<Arc<Session>> {
        self.0
            .values()
            .filter(|s| s.is_live(now))
            .cloned()
            .collect()
    }

    fn nth(&self, nth: u8, now: Timestamp) -> Option<Arc<Session>> {
        let live = self.live(now);
        (!live.is_empty()).then(|| Arc::clone(&live[usize::from(nth) % live.len()]))
    }

    fn opened(&self, credential: &Credential, now: Timestamp) -> Option<Arc<Session>> {
        self.live(now)
            .into_iter()
            .find(|s| s.is_opened_by(credential, now))
    }

    fn put(&mut self, session: &Arc<Session>) {
        let key = (session.subject().to_owned(), session.id());
        self.0.insert(key, Arc::clone(session));
    }

    fn end(&mut self, wanted: impl Fn(&Session) -> bool, now: Timestamp) -> HashSet<SessionId> {
        let mut ended = HashSet::new();
        self.0.retain(|_, session| {
            let goes = wanted(session);
            if goes && session.is_live(now) {
                ended.insert(session.id());
            }
            !goes
        });
        ended
    }
}

fn ids(sessions: &[Arc<Session>]) -> HashSet<SessionId> {
    sessions.iter().map(|session| session.id()).collect()
}

async fn apply(store: &dyn SessionStore, model: &mut Model, step: &Step, now: &mut Timestamp) {
    let at = *now;
    match step {
        Step::Create {
            subject: who,
            id,
            value,
        } => {
            let new = conformance::with_provider(subject(*who), *id, &[*value], &provider(*id), at);
            let known = model.0.contains_key(&(new.subject().to_owned(), new.id()));
            let taken = model.opened(&new.credential(), at).is_some();
            match store.create(new, at).await.unwrap() {
                Created::Stored(stored) => {
                    assert!(!taken);
                    model.put(&stored);
                }
                Created::IdTaken => assert!(known),
                Created::CredentialTaken => assert!(taken),
            }
        }
        Step::Move { nth, value } => {
            let Some(current) = model.nth(*nth, at) else {
                return;
            };
            let next = conformance::moved(&current, &[*value], at);
            let holder = model.opened(&next.credential(), at);
            let taken = holder.is_some_and(|holder| {
                (holder.subject(), holder.id()) != (current.subject(), current.id())
            });
            match store
                .compare_and_swap(&current, next, None, at)
                .await
                .unwrap()
            {
                Swap::Stored(stored) => {
                    assert!(!taken);
                    model.put(&stored);
                }
                Swap::CredentialTaken => assert!(taken),
                other => panic!("{other:?}"),
            }
        }
        Step::Refresh { nth } => {
            let Some(current) = model.nth(*nth, at) else {
                return;
            };
            let next = conformance::refreshed(&current, "fresh", at);
            let swap = store
                .compare_and_swap(&current, next, None, at)
                .await
                .unwrap();
            let Swap::Stored(stored) = swap else {
                panic!("{swap:?}")
            };
            model.put(&stored);
        }
        Step::End { nth } => {
            let Some(current) = model.nth(*nth, at) else {
                return;
            };
            let ended = store
                .end(current.subject(), current.id(), at)
                .await
                .unwrap();
            assert_eq!(ended.unwrap().version(), current.version());
            model.end(
                |s| (s.subject(), s.id()) == (current.subject(), current.id()),
                at,
            );
        }
        Step::EndAll { subject: who } => {
            let ended = store.end_all(subject(*who), at).await.unwrap();
            assert_eq!(ids(&ended), model.end(|s| s.subject() == subject(*who), at));
        }
        Step::EndProvider { name } => {
            let name = provider(*name);
            let ended = store
                .end_by_identity_provider_session(&name, at)
                .await
                .unwrap();
            let wanted = model.end(
                |s| s.identity_provider_session() == Some(&*name) && s.is_live(at),
                at,
            );
            assert_eq!(ids(&ended), wanted);
        }
        Step::Pass { minutes } => *now = at.after(Duration::from_secs(u64::from(*minutes) * 60)),
        Step::Restart => {}
    }
}

async fn compare(store: &dyn SessionStore, model: &Model, now: Timestamp) {
    let live = model.live(now);
    let mut subjects: Vec<String> = live.iter().map(|s| s.subject().to_owned()).collect();
    subjects.dedup();
    // In pages of two, as somebody reads them.
    let (mut active, mut after) = (Vec::new(), None);
    loop {
        let page = store.active_subjects(after, 2, now).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        active.extend(page);
    }
    assert_eq!(active, subjects);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, 3, now).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.subject().to_owned(), last.id()));
        listed.extend(page);
    }
    let states = |sessions: &[Arc<Session>]| -> Vec<(String, SessionId, u64)> {
        let state = |s: &Arc<Session>| (s.subject().to_owned(), s.id(), s.version());
        sessions.iter().map(state).collect()
    };
    assert_eq!(states(&listed), states(&live));
    for value in 0..16 {
        let credential = Credential::of(&[value]);
        let found = store.load(&credential, now).await.unwrap();
        let wanted = model.opened(&credential, now);
        assert_eq!(
            found.map(|s| (s.id(), s.version())),
            wanted.map(|s| (s.id(), s.version())),
        );
    }
}

fn keys() -> EncryptionKeys {
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    EncryptionKeys::parse(&key).unwrap()
}

fn open(path: &std::path::Path) -> EmbeddedStore {
    let mut options = EmbeddedOptions::new(keys());
    options.clock = Arc::new(TestClock::default());
    EmbeddedStore::open(path, options).unwrap()
}

/// A part of the usual number of cases, which `PROPTEST_CASES` sets.
fn cases(part: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.div_ceil(part),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..config
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn the_memory_store_is_the_model(steps in proptest::collection::vec(step(), 0..60)) {
        block_on(async {
            let (store, mut model, mut now) = (MemoryStore::new(), Model::default(), START);
            for step in &steps {
                apply(&store, &mut model, step, &mut now).await;
                compare(&store, &model, now).await;
            }
        });
    }
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn the_embedded_store_is_the_model(steps in proptest::collection::vec(step(), 0..40)) {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sessions.redb");
            let (mut store, mut model, mut now) = (Some(open(&path)), Model::default(), START);
            for step in &steps {
                if matches!(step, Step::Restart) {
                    drop(store.take());
                    store = Some(open(&path));
                }
                let store = store.as_ref().unwrap();
                apply(store, &mut model, step, &mut now).await;
                compare(store, &model, now).await;
            }
        });
    }
}

#[test]
fn the_redis_store_is_the_model() {
    let server = Server::start();
    let scopes = std::sync::atomic::AtomicU32::new(0);
    proptest!(cases(10), |(steps in proptest::collection::vec(step(), 0..40))| {
        let scope = scopes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        block_on(async {
            let mut settings = RedisSettings::new("127.0.0.1", server.port, keys());
            settings.scope = format!("model-{scope}");
            // Two replicas take turns.
            let stores = [
                RedisStore::connect(settings.clone()).await.unwrap(),
                RedisStore::connect(settings).await.unwrap(),
            ];
            let (mut model, mut now) = (Model::default(), START);
            for (step, turn) in steps.iter().zip(0..) {
                let (writer, reader) = (&stores[turn % 2], &stores[(turn + 1) % 2]);
                if matches!(step, Step::Restart) {
                    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                    until_up(writer).await;
                    until_up(reader).await;
                }
                apply(writer, &mut model, step, &mut now).await;
                compare(reader, &model, now).await;
            }
        });
    });
}

async fn until_up(store: &RedisStore) {
    while store.check().await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

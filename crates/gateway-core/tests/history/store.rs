//! One store for all replicas, at the end of a bad wire.
//!
//! Each operation is one step of the memory store's, so it is atomic; it happens at an instant of its own
//! between the call and the answer. It may fail before it acts, or act and lose its answer. A message that
//! was sent may arrive although its sender has died.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use sessionkit::{
    Created, Credential, Fence, Lease, MemoryStore, Peek, Session, SessionId, SessionStore,
    StoreError, Swap, Timestamp,
};
use tokio::sync::oneshot;

use crate::history::{CredentialRecord, End, History, LeaseRecord, SessionRecord};
use crate::sim::{EPOCH, ORIGIN, Replica, Sim};

/// A replica's connection to the store.
pub struct SimStore {
    pub sim: Arc<Sim>,
    pub replica: Arc<Replica>,
    pub memory: Arc<MemoryStore>,
    /// Does this engine answer from the memory of the process?
    pub peeks: bool,
}

impl std::fmt::Debug for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimStore")
    }
}

/// What an operation sees when it acts.
struct Scene<'a> {
    memory: &'a MemoryStore,
    history: &'a mut History,
    at: u64,
    replica: &'a Replica,
    origin: Option<u32>,
}

/// Milliseconds since the beginning, by the clock that the caller went by.
fn relative(now: Timestamp) -> i64 {
    now.unix_millis() - EPOCH
}

/// An operation of the memory store is done at once.
fn done<T>(work: impl Future<Output = Result<T, StoreError>>) -> T {
    work.now_or_never().unwrap().unwrap()
}

fn refresh_token(session: &Session) -> String {
    let token = session.tokens().refresh_token;
    token.map_or_else(String::new, |token| token.expose_secret().to_owned())
}

/// The session that a call is about.
enum About<'a> {
    Id(SessionId),
    Credential(&'a Credential),
    Text(&'a str),
}

impl SimStore {
    async fn call<T: Send + 'static>(
        &self,
        kind: &'static str,
        about: About<'_>,
        act: impl FnOnce(&mut Scene<'_>) -> (T, String) + Send + 'static,
    ) -> Result<T, StoreError> {
        self.replica.alive().await;
        let (sim, replica) = (Arc::clone(&self.sim), Arc::clone(&self.replica));
        let memory = Arc::clone(&self.memory);
        let origin = ORIGIN.try_with(|origin| *origin).ok();
        let (session, label) = {
            let history = sim.history();
            let session = match about {
                About::Id(id) => history.by_id.get(&id).copied(),
                About::Credential(credential) => history.opened_by(credential),
                About::Text(_) => None,
            };
            let label = match (&about, session) {
                (_, Some(session)) => history.sessions[session].label(),
                (About::Text(text), None) => (*text).to_owned(),
                (_, None) => "?".to_owned(),
            };
            (session, label)
        };
        let origin_name = origin.map_or_else(|| "-".to_owned(), |origin| format!("#{origin}"));
        let name = format!("{} {origin_name} {kind} {label}", replica.name);
        let mut rng = sim.draw(&name);
        let (before, after) = {
            let latency = sim.weather().store_latency.min(2000) + 1;
            let before = rng.below(latency);
            (before, rng.below(latency - before))
        };
        let (fate, key, arrives) = (rng.below(1000), rng.next(), rng.one_in(2));
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            sim.turn(before, key).await;
            if replica.has_crashed() && !arrives {
                return;
            }
            let weather = sim.weather();
            let fails = weather.store_down || fate < weather.store_fails;
            let loses = !fails && fate < weather.store_fails + weather.store_loses;
            let mut result = None;
            {
                let at = sim.now();
                let mut history = sim.history();
                if fails || loses {
                    history.faults.push(at);
                }
                let word = if fails {
                    "failed".to_owned()
                } else {
                    let mut scene = Scene {
                        memory: &memory,
                        history: &mut history,
                        at,
                        replica: &replica,
                        origin,
                    };
                    let (value, word) = act(&mut scene);
                    result = Some(value).filter(|_| !loses);
                    if loses {
                        format!("{word}, and the answer is lost")
                    } else {
                        word
                    }
                };
                history.lines.push((at, format!("  store {name}: {word}")));
            }
            sim.turn(after, key).await;
            if result.is_none()
                && let Some(session) = session
            {
                let failure = (sim.now(), replica.name.clone(), kind);
                sim.history().sessions[session].failures.push(failure);
            }
            // The caller may have left.
            let _ = reply.send(result.ok_or_else(|| StoreError("on purpose".into())));
        });
        let answer = answer.await;
        self.replica.alive().await;
        match answer {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl SimStore {
    /// The value behind a borrowed one, for a message that may outlive its sender.
    fn version(&self, session: &Session) -> Arc<Session> {
        let history = self.sim.history();
        let record = &history.sessions[history.by_id[&session.id()]];
        let known = record
            .versions
            .iter()
            .find(|known| known.version() == session.version());
        Arc::clone(known.unwrap())
    }
}

impl Scene<'_> {
    fn record(&mut self, id: SessionId) -> Option<&mut SessionRecord> {
        let at = self.history.by_id.get(&id)?;
        self.history.sessions.get_mut(*at)
    }

    fn created(&mut self, session: &Arc<Session>, now: Timestamp) {
        let token = refresh_token(session);
        let family = token.split('.').next().unwrap_or_default().to_owned();
        self.history
            .by_id
            .insert(session.id(), self.history.sessions.len());
        self.history.sessions.push(SessionRecord {
            user: session.subject().to_owned(),
            family,
            id: session.id(),
            origin: self.origin,
            created: self.at,
            credentials: vec![CredentialRecord {
                credential: session.credential(),
                replaced: None,
            }],
            version: session.version(),
            generation: session.generation(),
            refresh_tokens: vec![(self.at, token)],
            bases: vec![(self.at, relative(now))],
            ended: None,
            leases: Vec::new(),
            failures: Vec::new(),
            versions: vec![Arc::clone(session)],
        });
    }

    /// A write that the store took. It should not have, if …
    fn swapped(&mut self, seen: u64, next: &Arc<Session>, fence: Option<Fence>, now: Timestamp) {
        let at = self.at;
        let Some(record) = self.record(next.id()) else {
            self.history
                .wrong(at, "a session was written that was never created".into());
            return;
        };
        let mut wrong = None;
        if record.ended.is_some() {
            wrong = Some("an ended session was written back");
        } else if record.version != seen {
            wrong = Some("a write was taken that had not seen the one before it");
        } else if let Some(fence) = fence
            && record.leases.last().map(|lease| lease.fence) != Some(fence.0)
        {
            wrong = Some("a write under a lease that others have had since was taken");
        }
        record.version = next.version();
        record.versions.push(Arc::clone(next));
        let current = record.credentials.last_mut();
        if let Some(current) = current.filter(|current| current.credential != next.credential()) {
            current.replaced = Some((at, relative(now)));
            record.credentials.push(CredentialRecord {
                credential: next.credential(),
                replaced: None,
            });
            record.bases.push((at, relative(now)));
        }
        if next.generation() != record.generation {
            record.generation = next.generation();
            record.refresh_tokens.push((at, refresh_token(next)));
        }
        let label = record.label();
        if let Some(wrong) = wrong {
            self.history.wrong(at, format!("{label}: {wrong}"));
        }
    }

    fn ended(&mut self, sessions: &[Arc<Session>]) {
        let end = End {
            at: self.at,
            replica: self.replica.name.clone(),
            origin: self.origin,
        };
        for session in sessions {
            if let Some(record) = self.record(session.id()) {
                record.ended.get_or_insert_with(|| end.clone());
            }
        }
    }

    fn labels(&self, sessions: &[Arc<Session>]) -> String {
        let mut labels: Vec<_> = sessions
            .iter()
            .map(|session| self.history.label(session.id()))
            .collect();
        labels.sort();
        format!("[{}]", labels.join(" "))
    }

    fn granted(&mut self, id: SessionId, fence: Fence, ttl: Duration, now: Timestamp) {
        let (at, replica) = (self.at, self.replica.name.clone());
        let Some(record) = self.record(id) else {
            return;
        };
        let mut wrong = None;
        // What an ended session's leases were is forgotten with it; nothing is written under one.
        if let Some(last) = record.leases.last().filter(|_| record.ended.is_none()) {
            if last.fence >= fence.0 {
                wrong = Some("a lease's number does not grow");
            } else if last.released.is_none() && last.until > relative(now) {
                wrong = Some("a lease was granted that somebody holds");
            }
        }
        record.leases.push(LeaseRecord {
            fence: fence.0,
            replica,
            granted: at,
            until: relative(now.after(ttl)),
            released: None,
        });
        let label = record.label();
        if let Some(wrong) = wrong {
            self.history.wrong(at, format!("{label}: {wrong}"));
        }
    }

    fn lease(&mut self, id: SessionId, fence: Fence) -> Option<&mut LeaseRecord> {
        let record = self.record(id)?;
        record
            .leases
            .iter_mut()
            .find(|lease| lease.fence == fence.0)
    }
}

#[async_trait]
impl SessionStore for SimStore {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        if self.peeks {
            self.memory.peek(credential, now)
        } else {
            Peek::Unknown
        }
    }

    async fn load(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let credential = *credential;
        self.call("load", About::Credential(&credential), move |scene| {
            let found = done(scene.memory.load(&credential, now));
            let word = found.as_ref().map_or("none", |_| "found").to_owned();
            (found, word)
        })
        .await
    }

    async fn create(&self, session: Session, now: Timestamp) -> Result<Created, StoreError> {
        let family = refresh_token(&session);
        self.call("create", About::Text(&family), move |scene| {
            let created = done(scene.memory.create(session, now));
            let word = match &created {
                Created::Stored(session) => {
                    scene.created(session, now);
                    format!("stored {}", scene.history.label(session.id()))
                }
                Created::CredentialTaken => "credential taken".to_owned(),
                Created::IdTaken => "id taken".to_owned(),
            };
            (created, word)
        })
        .await
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Result<Swap, StoreError> {
        let current = self.version(current);
        let about = About::Id(next.id());
        self.call("swap", about, move |scene| {
            let generation = next.generation();
            let swap = done(scene.memory.compare_and_swap(&current, next, fence, now));
            let word = match &swap {
                Swap::Stored(stored) => {
                    scene.swapped(current.version(), stored, fence, now);
                    "stored"
                }
                Swap::Conflict(_) => "conflict",
                Swap::Ended => "ended",
                Swap::CredentialTaken => "credential taken",
                Swap::Fenced => "fenced",
            };
            let fence = fence.map_or_else(String::new, |fence| format!(" fence {}", fence.0));
            let seen = current.version();
            let word = format!("on version {seen} to generation {generation}{fence}: {word}");
            (swap, word)
        })
        .await
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let session = self.version(session);
        self.call("touch", About::Id(session.id()), move |scene| {
            done(scene.memory.touch(&session, now));
            ((), "done".to_owned())
        })
        .await
    }

    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        let subject = subject.to_owned();
        self.call("end", About::Id(id), move |scene| {
            let ended = done(scene.memory.end(&subject, id, now));
            scene.ended(ended.as_slice());
            let word = scene.labels(ended.as_slice());
            (ended, word)
        })
        .await
    }

    async fn end_all(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let subject = subject.to_owned();
        self.call("end all", About::Text(&subject.clone()), move |scene| {
            let ended = done(scene.memory.end_all(&subject, now));
            scene.ended(&ended);
            let word = scene.labels(&ended);
            (ended, word)
        })
        .await
    }

    async fn sessions_of(
        &self,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let subject = subject.to_owned();
        self.call("sessions of", About::Text(&subject.clone()), move |scene| {
            let sessions = done(scene.memory.sessions_of(&subject, now));
            let word = scene.labels(&sessions);
            (sessions, word)
        })
        .await
    }

    async fn sessions_by_identity_provider_session(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.memory
            .sessions_by_identity_provider_session(name, now)
            .await
    }

    async fn end_by_identity_provider_session(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        let name = name.to_owned();
        self.call(
            "end by provider",
            About::Text(&name.clone()),
            move |scene| {
                let ended = done(scene.memory.end_by_identity_provider_session(&name, now));
                scene.ended(&ended);
                let word = scene.labels(&ended);
                (ended, word)
            },
        )
        .await
    }

    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.memory.list(after, limit, now).await
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.call("active", About::Text("all"), move |scene| {
            let subjects = done(scene.memory.active_subjects(after, limit, now));
            let word = subjects.join(" ");
            (subjects, word)
        })
        .await
    }

    async fn acquire_lease(
        &self,
        subject: &str,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, StoreError> {
        let subject = subject.to_owned();
        self.call("acquire", About::Id(id), move |scene| {
            let lease = done(scene.memory.acquire_lease(&subject, id, ttl, now));
            let word = match lease {
                Lease::Granted(fence) => {
                    scene.granted(id, fence, ttl, now);
                    format!("fence {}", fence.0)
                }
                Lease::Held(_) => "held".to_owned(),
            };
            (lease, word)
        })
        .await
    }

    async fn renew_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.call("renew", About::Id(id), move |scene| {
            let renewed = done(scene.memory.renew_lease(&subject, id, fence, ttl, now));
            if renewed && let Some(lease) = scene.lease(id, fence) {
                lease.until = relative(now.after(ttl));
            }
            (renewed, format!("fence {}: {renewed}", fence.0))
        })
        .await
    }

    async fn release_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let subject = subject.to_owned();
        self.call("release", About::Id(id), move |scene| {
            done(scene.memory.release_lease(&subject, id, fence));
            let at = scene.at;
            // Only what is held can be given back: one that ran out, and that others have had since, is not.
            let last = scene.record(id).and_then(|record| record.leases.last());
            let held = last.is_some_and(|last| last.fence == fence.0);
            if held && let Some(lease) = scene.lease(id, fence) {
                lease.released.get_or_insert(at);
            }
            ((), format!("fence {}", fence.0))
        })
        .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

//! The ports over memory and file.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::EmbeddedStore;
use super::queue::{Job, Reply};
use super::rows;
use super::tables::{OneTime, Place, Step, Tables, record_row};
use crate::index::{Change, LeaseRecord};
use crate::seal::{Kind, Reseal, ResealProgress, SealError};
use crate::{
    Created, Credential, Fence, Lease, OneTimeStore, Peek, RecordStore, RecordSwap, Session,
    SessionId, SessionStore, StoreError, StoredRecord, Swap, Timestamp,
};

/// What a write depends on.
#[derive(Hash)]
enum Claim<'a> {
    Subject(&'a str),
    Credential(Credential),
    ProviderSession(&'a str),
    OneTime(Credential),
    Record(&'a str),
}

type Outcome<T> = Result<T, StoreError>;

impl EmbeddedStore {
    fn claims(&self, claims: &[Claim<'_>]) -> Vec<u64> {
        claims
            .iter()
            .map(|claim| self.hasher.hash_one(claim))
            .collect()
    }

    /// Hands a write to the writer. What comes back tells when it is done.
    fn submit<T: Send + 'static>(
        &self,
        claims: &[Claim<'_>],
        decide: impl FnOnce(&Tables, &mut Vec<Step>) -> Outcome<T> + Send + 'static,
    ) -> Outcome<oneshot::Receiver<Outcome<T>>> {
        let (sender, receiver) = oneshot::channel();
        let decide = move |tables: &Tables, steps: &mut Vec<Step>| -> Reply {
            let outcome = decide(tables, steps);
            Box::new(move |committed: Outcome<()>| {
                // Whoever asked may have left.
                drop(sender.send(committed.and(outcome)));
            })
        };
        self.queue.push(Job::Write {
            claims: self.claims(claims),
            decide: Box::new(decide),
        })?;
        Ok(receiver)
    }

    async fn write<T: Send + 'static>(
        &self,
        claims: &[Claim<'_>],
        decide: impl FnOnce(&Tables, &mut Vec<Step>) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let receiver = self.submit(claims, decide)?;
        self.wait(receiver).await
    }

    async fn wait<T>(&self, receiver: oneshot::Receiver<Outcome<T>>) -> Outcome<T> {
        match tokio::time::timeout(self.write_timeout, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError("the write was broken off".into())),
            Err(_) => Err(StoreError("the disk does not answer in time".into())),
        }
    }
}

fn sealed<T>(outcome: Result<T, SealError>) -> Outcome<T> {
    outcome.map_err(|error| StoreError(Box::new(error)))
}

/// Adds the end of sessions to a batch, and returns those that were live.
fn end_these(
    stored: Vec<Arc<Session>>,
    steps: &mut Vec<Step>,
    now: Timestamp,
) -> Vec<Arc<Session>> {
    let live = stored.iter().filter(|s| s.is_live(now)).cloned().collect();
    if !stored.is_empty() {
        let change = Change {
            removed: stored,
            put: None,
        };
        steps.push(Step::Sessions(change, None));
    }
    live
}

#[async_trait]
impl SessionStore for EmbeddedStore {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        let found = self.tables.index.find(credential, now);
        found.map_or(Peek::Absent, Peek::Found)
    }

    async fn load(&self, credential: &Credential, now: Timestamp) -> Outcome<Option<Arc<Session>>> {
        Ok(self.tables.index.find(credential, now))
    }

    async fn create(&self, session: Session, now: Timestamp) -> Outcome<Created> {
        let row = sealed(rows::session_row(&self.tables.keys, &session))?;
        let session = Arc::new(session);
        let claims = [
            Claim::Subject(session.subject()),
            Claim::Credential(session.credential()),
            Claim::ProviderSession(session.identity_provider_session().unwrap_or_default()),
        ];
        // No session of the identity provider's is nothing to share.
        let named = session.identity_provider_session().map_or(2, |_| 3);
        let new = Arc::clone(&session);
        self.write(
            claims.get(..named).unwrap_or(&claims),
            move |tables, steps| {
                let index = &tables.index;
                let (created, change) = index.judge_create(&index.writer(), &new, now);
                if change.put.is_some() {
                    steps.push(Step::Sessions(change, Some(row)));
                }
                Ok(created)
            },
        )
        .await
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Outcome<Swap> {
        let row = sealed(rows::session_row(&self.tables.keys, &next))?;
        let (version, next) = (current.version(), Arc::new(next));
        let claims = [
            Claim::Subject(next.subject()),
            Claim::Credential(next.credential()),
            Claim::Credential(current.credential()),
            Claim::ProviderSession(next.identity_provider_session().unwrap_or_default()),
        ];
        let named = next.identity_provider_session().map_or(3, |_| 4);
        let new = Arc::clone(&next);
        self.write(
            claims.get(..named).unwrap_or(&claims),
            move |tables, steps| {
                let index = &tables.index;
                let (swap, change) = index.judge_swap(&index.writer(), version, &new, fence, now);
                if change.put.is_some() {
                    steps.push(Step::Sessions(change, Some(row)));
                }
                Ok(swap)
            },
        )
        .await
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Outcome<()> {
        let (subject, id) = (session.subject(), session.id());
        let stored = self.tables.index.writer().stored(subject, id);
        if let Some(stored) = stored {
            stored.touch(now);
            self.tables.touch(stored);
        }
        Ok(())
    }

    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Outcome<Option<Arc<Session>>> {
        let owner = subject.to_owned();
        self.write(&[Claim::Subject(subject)], move |tables, steps| {
            let stored = tables.index.writer().stored(&owner, id);
            Ok(end_these(stored.into_iter().collect(), steps, now).pop())
        })
        .await
    }

    async fn end_all(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        let owner = subject.to_owned();
        self.write(&[Claim::Subject(subject)], move |tables, steps| {
            let stored = tables.index.writer().of_subject(&owner);
            Ok(end_these(stored, steps, now))
        })
        .await
    }

    async fn sessions_of(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        let mut sessions = self.tables.index.writer().of_subject(subject);
        sessions.retain(|session| session.is_live(now));
        Ok(sessions)
    }

    async fn sessions_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let index = &self.tables.index;
        let mut sessions = index
            .writer()
            .of_provider_session(identity_provider_session);
        sessions.retain(|session| session.is_live(now));
        Ok(sessions)
    }

    async fn end_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let name = identity_provider_session.to_owned();
        let mut ended = Vec::new();
        // One by one: each waits for writes to the same subject under way, which this one's claim does
        // not name.
        let claim = [Claim::ProviderSession(identity_provider_session)];
        let find = move |tables: &Tables, _: &mut Vec<Step>| {
            Ok(tables.index.writer().of_provider_session(&name))
        };
        for session in self.write(&claim, find).await? {
            ended.extend(self.end(session.subject(), session.id(), now).await?);
        }
        Ok(ended)
    }

    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        Ok(self.tables.index.writer().page(after.as_ref(), limit, now))
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<String>> {
        let writer = self.tables.index.writer();
        Ok(writer.active(after.as_deref(), limit, now))
    }

    async fn acquire_lease(
        &self,
        subject: &str,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Outcome<Lease> {
        let place = lease_place(subject, id);
        self.write(&[Claim::Subject(subject)], move |tables, steps| {
            Ok(match tables.index.writer().judge_lease(id, ttl, now) {
                Err(held) => held,
                Ok(lease) => {
                    steps.push(Step::Lease(place, Some(lease)));
                    Lease::Granted(lease.fence)
                }
            })
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
    ) -> Outcome<bool> {
        let place = lease_place(subject, id);
        self.write(&[Claim::Subject(subject)], move |tables, steps| {
            let held = tables.index.writer().holds(id, fence);
            if held {
                let until = now.after(ttl);
                steps.push(Step::Lease(place, Some(LeaseRecord { fence, until })));
            }
            Ok(held)
        })
        .await
    }

    /// Does not wait for the disk: a lease that a crash leaves behind runs out.
    async fn release_lease(&self, subject: &str, id: SessionId, fence: Fence) -> Outcome<()> {
        let place = lease_place(subject, id);
        self.submit(&[Claim::Subject(subject)], move |tables, steps| {
            if tables.index.writer().holds(id, fence) {
                steps.push(Step::Lease(place, None));
            }
            Ok(())
        })
        .map(drop)
    }

    async fn check(&self) -> Outcome<()> {
        if self.status().failing {
            return Err(StoreError("the session file takes no writes".into()));
        }
        Ok(())
    }
}

fn lease_place(subject: &str, id: SessionId) -> Place {
    Place {
        key: rows::row_key(subject, id),
        id,
    }
}

#[async_trait]
impl OneTimeStore for EmbeddedStore {
    async fn put(
        &self,
        key: Credential,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<()> {
        let new = self.one_time(key, value, expires_at, now)?;
        self.write(&[Claim::OneTime(key)], move |_, steps| {
            steps.push(Step::OneTime(key, Some(new)));
            Ok(())
        })
        .await
    }

    async fn take(&self, key: Credential, now: Timestamp) -> Outcome<Option<Bytes>> {
        self.write(&[Claim::OneTime(key)], move |tables, steps| {
            let table = tables.one_time();
            let taken = table.get(&key, now);
            let taken = taken.map(|(value, _)| Bytes::copy_from_slice(value));
            if taken.is_some() {
                steps.push(Step::OneTime(key, None));
            }
            Ok(taken)
        })
        .await
    }

    async fn claim(&self, key: Credential, expires_at: Timestamp, now: Timestamp) -> Outcome<bool> {
        let new = self.one_time(key, Bytes::new(), expires_at, now)?;
        self.write(&[Claim::OneTime(key)], move |tables, steps| {
            let free = tables.one_time().get(&key, now).is_none();
            if free {
                steps.push(Step::OneTime(key, Some(new)));
            }
            Ok(free)
        })
        .await
    }
}

impl EmbeddedStore {
    fn one_time(
        &self,
        key: Credential,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<OneTime> {
        let keys = &self.tables.keys;
        let row = rows::value_row(keys, Kind::OneTime, key.hash(), 0, &value, expires_at);
        Ok(OneTime {
            value,
            expires_at,
            row: sealed(row)?,
            now,
        })
    }
}

/// Adds a record with a new version to a batch.
fn put_record(
    tables: &Tables,
    steps: &mut Vec<Step>,
    key: String,
    value: Bytes,
    expires_at: Timestamp,
) -> Outcome<u64> {
    let version = tables.records().next_version();
    let record = StoredRecord {
        version,
        value,
        expires_at,
    };
    let row = sealed(record_row(&tables.keys, &key, &record))?;
    steps.push(Step::Record(key, Some((record, row))));
    Ok(version)
}

#[async_trait]
impl RecordStore for EmbeddedStore {
    async fn create_record(
        &self,
        key: &str,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<Option<u64>> {
        let name = key.to_owned();
        self.write(&[Claim::Record(key)], move |tables, steps| {
            if tables.records().get(&name, now).is_some() {
                return Ok(None);
            }
            put_record(tables, steps, name, value, expires_at).map(Some)
        })
        .await
    }

    async fn swap_record(
        &self,
        key: &str,
        expected: u64,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<RecordSwap> {
        let name = key.to_owned();
        self.write(&[Claim::Record(key)], move |tables, steps| {
            let judged = tables.records().judge_swap(&name, expected, now);
            if let Err(refused) = judged {
                return Ok(refused);
            }
            put_record(tables, steps, name, value, expires_at).map(RecordSwap::Stored)
        })
        .await
    }

    async fn record(&self, key: &str, now: Timestamp) -> Outcome<Option<StoredRecord>> {
        Ok(self.tables.records().get(key, now).cloned())
    }

    async fn records(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<(String, StoredRecord)>> {
        let table = self.tables.records();
        Ok(table.page(prefix, after.as_deref(), limit, now))
    }

    async fn remove_record(&self, key: &str, now: Timestamp) -> Outcome<bool> {
        let name = key.to_owned();
        self.write(&[Claim::Record(key)], move |tables, steps| {
            let was_there = tables.records().get(&name, now).is_some();
            if was_there {
                steps.push(Step::Record(name, None));
            }
            Ok(was_there)
        })
        .await
    }
}

#[async_trait]
impl Reseal for EmbeddedStore {
    async fn reseal(&self, limit: usize, _now: Timestamp) -> Outcome<ResealProgress> {
        let (sender, receiver) = oneshot::channel();
        self.queue.push(Job::Reseal {
            limit,
            reply: Box::new(move |progress| drop(sender.send(progress))),
        })?;
        self.wait(receiver).await
    }
}

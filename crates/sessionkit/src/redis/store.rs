//! The session port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use redis::Value;

use super::RedisStore;
use super::keys::{self, RecordId};
use super::pointers::{bytes, int, into_bytes, is, number, ttl};
use super::scripts;
use super::values;
use crate::index::LEASE_MEMORY;
use crate::seal::SealError;
use crate::{
    Created, Credential, Fence, Lease, Peek, Session, SessionId, SessionStore, StoreError, Swap,
    Timestamp,
};

type Outcome<T> = Result<T, StoreError>;

/// How many questions about one list are under way at a time.
const WIDTH: usize = 128;
/// How many subjects a sign-in looks at, so that those without a session leave the registry.
const SWEEP: &str = "2";
/// How old an entry without its session must be to be left over, and not about to be followed by it.
const LEFT_OVER: Duration = Duration::from_secs(60);

pub(super) fn sealed<T>(outcome: Result<T, SealError>) -> Outcome<T> {
    outcome.map_err(|error| StoreError(Box::new(error)))
}

fn unexpected() -> StoreError {
    StoreError("an unexpected answer of Redis".into())
}

impl RedisStore {
    /// Notes that a subject may be active.
    async fn note_active(&self, subject: &str) -> Outcome<()> {
        let key = self.keys.active();
        self.run(&scripts::ADD, &[&key], &[b"0", subject.as_bytes(), b""])
            .await?;
        Ok(())
    }

    /// Notes the session of the identity provider's that a session belongs to.
    async fn note_provider(&self, session: &Session, now: Timestamp) -> Outcome<()> {
        let Some(name) = session.identity_provider_session() else {
            return Ok(());
        };
        let key = self.keys.provider(name);
        let member = RecordId::of(session.subject(), session.id()).text();
        let (score, ttl) = (
            now.unix_millis().to_string(),
            ttl(session.ends_at_latest(), now),
        );
        let arguments: [&[u8]; 3] = [score.as_bytes(), member.as_bytes(), ttl.as_bytes()];
        self.run(&scripts::ADD, &[&key], &arguments).await?;
        Ok(())
    }

    /// Is the subject active? Who has no session at all leaves the registry.
    async fn is_active(&self, subject: &str, now: Timestamp) -> Outcome<bool> {
        let owner = keys::owner_of(subject);
        let (index, prefix) = (self.keys.index(&owner), self.keys.owner_prefix(&owner));
        let millis = now.unix_millis().to_string();
        let arguments: [&[u8]; 2] = [&prefix, millis.as_bytes()];
        let answer = self.run(&scripts::ACTIVE, &[&index], &arguments).await?;
        match int(&answer, 0) {
            Some(1) => return Ok(true),
            Some(0) => return Ok(false),
            _ => {}
        }
        let registry = self.keys.active();
        self.run(&scripts::REMOVE, &[&registry], &[subject.as_bytes()])
            .await?;
        // A sign-in may have come in between: it notes the subject before its session and after it, and
        // this looks again after taking the note away.
        let answer = self.run(&scripts::ACTIVE, &[&index], &arguments).await?;
        if int(&answer, 0) != Some(-1) {
            self.note_active(subject).await?;
        }
        Ok(int(&answer, 0) == Some(1))
    }

    /// Lets a few subjects without a session leave the registry, which nobody may ever list.
    async fn sweep(&self, now: Timestamp) -> Outcome<()> {
        let key = self.keys.active();
        let some = self
            .run(&scripts::SAMPLE, &[&key], &[SWEEP.as_bytes()])
            .await?;
        for subject in some.into_iter().filter_map(text) {
            self.is_active(&subject, now).await?;
        }
        Ok(())
    }

    /// Takes what leads to an ended session away. The end has happened: failures do no harm.
    async fn clear_up(&self, session: &Session, index_left: bool, now: Timestamp) {
        let record = RecordId::of(session.subject(), session.id());
        let previous = session.previous().iter().map(|p| p.credential);
        let credentials: Vec<Credential> = previous.chain([session.credential()]).collect();
        join_all(credentials.iter().map(|c| self.release_pointer(c, &record))).await;
        if let Some(name) = session.identity_provider_session() {
            let (key, member) = (self.keys.provider(name), record.text());
            let arguments: [&[u8]; 1] = [member.as_bytes()];
            drop(self.run(&scripts::REMOVE, &[&key], &arguments).await);
        }
        if !index_left {
            drop(self.is_active(session.subject(), now).await);
        }
    }

    /// Ends a session by its place and returns it, live or not.
    async fn end_record(&self, record: &RecordId, now: Timestamp) -> Outcome<Option<Arc<Session>>> {
        let keys = [
            self.keys.session(record),
            self.keys.lease(record),
            self.keys.index(&record.owner),
        ];
        let id = keys::id_text(record);
        let keys: [&[u8]; 3] = [&keys[0], &keys[1], &keys[2]];
        let answer = self.run(&scripts::END, &keys, &[id.as_bytes()]).await?;
        let index_left = int(&answer, 1) == Some(1);
        let Some(value) = bytes(answer, 0) else {
            return Ok(None);
        };
        let session = self.read(record, &value)?;
        self.clear_up(&session, index_left, now).await;
        Ok(Some(session))
    }

    /// Sessions out of an answer of ids and values.
    fn read_all(&self, owner: &[u8; 16], answer: Vec<Value>) -> Outcome<Vec<Arc<Session>>> {
        let mut parts = answer.into_iter().filter_map(into_bytes);
        let mut sessions = Vec::new();
        while let (Some(id), Some(value)) = (parts.next(), parts.next()) {
            let id = values::id_of(&id).ok_or_else(unexpected)?;
            let record = RecordId {
                owner: *owner,
                id: *id.as_bytes(),
            };
            sessions.push(self.read(&record, &value)?);
        }
        sessions.sort_by_key(|session| session.id());
        Ok(sessions)
    }

    /// Places of the sessions that belong to a session of the identity provider's.
    async fn of_provider(&self, name: &str) -> Outcome<Vec<(RecordId, i64)>> {
        let key = self.keys.provider(name);
        let answer = self.run(&scripts::MEMBERS, &[&key], &[]).await?;
        let mut parts = answer.into_iter();
        let mut found = Vec::new();
        while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
            let record = into_bytes(member).and_then(|member| RecordId::from_text(&member));
            let score = text(score).and_then(|score| score.parse::<f64>().ok());
            found.push((record.ok_or_else(unexpected)?, score.unwrap_or(0.0) as i64));
        }
        Ok(found)
    }

    /// The registry from this subject on.
    async fn registry(&self, after: Option<&str>, limit: usize) -> Outcome<Vec<String>> {
        let key = self.keys.active();
        let from = after.map_or_else(|| b"-".to_vec(), |after| [b"(", after.as_bytes()].concat());
        let limit = limit.to_string();
        let page = self
            .run(&scripts::PAGE, &[&key], &[&from, limit.as_bytes()])
            .await?;
        Ok(page.into_iter().filter_map(text).collect())
    }

    fn lease_keys(&self, subject: &str, id: SessionId) -> Vec<u8> {
        self.keys.lease(&RecordId::of(subject, id))
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Double(number) => Some(number.to_string()),
        Value::Int(number) => Some(number.to_string()),
        other => String::from_utf8(into_bytes(other)?).ok(),
    }
}

fn lease_ttl(ttl: Duration) -> String {
    (ttl + LEASE_MEMORY).as_millis().to_string()
}

#[async_trait]
impl SessionStore for RedisStore {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        let near = self.link.cache.get(credential, now);
        near.map_or(Peek::Unknown, Peek::Found)
    }

    async fn load(&self, credential: &Credential, now: Timestamp) -> Outcome<Option<Arc<Session>>> {
        let ticket = self.link.cache.ticket();
        let found = self.opened(credential, now).await?;
        Ok(found.map(|(record, session)| {
            self.link.cache.fill(ticket, record, *credential, &session);
            session
        }))
    }

    async fn create(&self, session: Session, now: Timestamp) -> Outcome<Created> {
        let value = sealed(values::session_value(&self.seal, &session))?;
        let record = RecordId::of(session.subject(), session.id());
        let (credential, session) = (session.credential(), Arc::new(session));
        let longest = ttl(session.ends_at_latest(), now);
        // First all that leads to the session, then the session, then all once more, for whoever found
        // the first of it leading nowhere and put that right.
        let (claimed, active, provider) = tokio::join!(
            self.claim_pointer(&credential, &record, &longest, now),
            self.note_active(session.subject()),
            self.note_provider(&session, now),
        );
        active?;
        provider?;
        if !claimed? {
            return Ok(Created::CredentialTaken);
        }
        let (key, index) = (self.keys.session(&record), self.keys.index(&record.owner));
        let (id, life) = (keys::id_text(&record), ttl(session.expires_at(), now));
        let arguments: [&[u8]; 4] = [id.as_bytes(), &value, life.as_bytes(), longest.as_bytes()];
        let answer = self
            .run(&scripts::CREATE, &[&key, &index], &arguments)
            .await?;
        if !is(&answer, b"S") {
            self.settle_pointer(&credential, &record, &longest, now)
                .await?;
            return Ok(Created::IdTaken);
        }
        let (confirmed, active) = tokio::join!(
            self.confirm_pointer(&credential, &record, &longest),
            self.note_active(session.subject()),
        );
        active?;
        if !confirmed? {
            // Another's session has taken the credential over; or this one was ended in between, and what
            // led to it went with it. Then it was there, and nobody else's is opened.
            let there = self.end_record(&record, now).await?.is_some();
            let pointer = self.get(&self.keys.pointer(&credential)).await?;
            if there || pointer.is_some() {
                return Ok(Created::CredentialTaken);
            }
        }
        if let Err(error) = self.sweep(now).await {
            tracing::debug!(%error, "the registry was not swept");
        }
        Ok(Created::Stored(session))
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Outcome<Swap> {
        let value = sealed(values::session_value(&self.seal, &next))?;
        let record = RecordId::of(next.subject(), next.id());
        let (credential, next) = (next.credential(), Arc::new(next));
        let moves = credential != current.credential();
        let longest = ttl(next.ends_at_latest(), now);
        // Asked first: a write that is refused anyway says why, and not that the credential is taken.
        let taken = moves
            && !self
                .claim_pointer(&credential, &record, &longest, now)
                .await?;
        let keys = [
            self.keys.session(&record),
            self.keys.lease(&record),
            self.keys.index(&record.owner),
        ];
        let keys: [&[u8]; 3] = [&keys[0], &keys[1], &keys[2]];
        let version = if taken { 0 } else { current.version() }.to_string();
        let fence = fence.map(|fence| fence.0.to_string()).unwrap_or_default();
        let (millis, life) = (now.unix_millis().to_string(), ttl(next.expires_at(), now));
        let arguments: [&[u8]; 6] = [
            version.as_bytes(),
            fence.as_bytes(),
            millis.as_bytes(),
            &value,
            life.as_bytes(),
            longest.as_bytes(),
        ];
        let answer = self.run(&scripts::SWAP, &keys, &arguments).await?;
        let swap = if is(&answer, b"S") {
            Swap::Stored(Arc::clone(&next))
        } else if is(&answer, b"E") {
            Swap::Ended
        } else if is(&answer, b"F") {
            Swap::Fenced
        } else {
            let value = bytes(answer, 1).ok_or_else(unexpected)?;
            let stored = self.read(&record, &value)?;
            if taken && stored.version() == current.version() {
                return Ok(Swap::CredentialTaken);
            }
            Swap::Conflict(stored)
        };
        if !moves || taken {
            return Ok(swap);
        }
        match &swap {
            Swap::Stored(_) => {
                // One who was refused with the same credential may have taken it away.
                if !self.confirm_pointer(&credential, &record, &longest).await? {
                    self.claim_pointer(&credential, &record, &longest, now)
                        .await?;
                    self.confirm_pointer(&credential, &record, &longest).await?;
                }
                for previous in next.previous() {
                    let until = ttl(previous.valid_until, now);
                    let kept = self.confirm_pointer(&previous.credential, &record, &until);
                    drop(kept.await);
                }
                let (active, provider) = tokio::join!(
                    self.note_active(next.subject()),
                    self.note_provider(&next, now),
                );
                active.and(provider)?;
            }
            _ => {
                self.settle_pointer(&credential, &record, &longest, now)
                    .await?;
            }
        }
        Ok(swap)
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Outcome<()> {
        let key = self
            .keys
            .session(&RecordId::of(session.subject(), session.id()));
        let millis = now.unix_millis();
        let (seconds, millis) = (millis.div_euclid(1000).to_string(), millis.to_string());
        let slack = super::pointers::SLACK.as_millis().to_string();
        let arguments: [&[u8]; 3] = [seconds.as_bytes(), millis.as_bytes(), slack.as_bytes()];
        self.run(&scripts::TOUCH, &[&key], &arguments).await?;
        Ok(())
    }

    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Outcome<Option<Arc<Session>>> {
        let ended = self.end_record(&RecordId::of(subject, id), now).await?;
        Ok(ended.filter(|session| session.is_live(now)))
    }

    async fn end_all(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        let owner = keys::owner_of(subject);
        let (index, prefix) = (self.keys.index(&owner), self.keys.owner_prefix(&owner));
        let answer = self.run(&scripts::END_ALL, &[&index], &[&prefix]).await?;
        let mut ended = self.read_all(&owner, answer)?;
        for session in &ended {
            self.clear_up(session, false, now).await;
        }
        ended.retain(|session| session.is_live(now));
        Ok(ended)
    }

    async fn sessions_of(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        let owner = keys::owner_of(subject);
        let (index, prefix) = (self.keys.index(&owner), self.keys.owner_prefix(&owner));
        let millis = now.unix_millis().to_string();
        let arguments: [&[u8]; 2] = [&prefix, millis.as_bytes()];
        let answer = self.run(&scripts::SESSIONS, &[&index], &arguments).await?;
        let mut sessions = self.read_all(&owner, answer)?;
        // Half a hash could be shared; a subject is not.
        sessions.retain(|session| session.subject() == subject && session.is_live(now));
        Ok(sessions)
    }

    async fn sessions_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let mut sessions = Vec::new();
        for (record, noted) in self.of_provider(identity_provider_session).await? {
            if let Some(value) = self.get(&self.keys.session(&record)).await? {
                let session = self.read(&record, &value)?;
                let named = session.identity_provider_session();
                if named == Some(identity_provider_session) && session.is_live(now) {
                    sessions.push(session);
                }
            } else if Timestamp::from_unix_millis(noted).after(LEFT_OVER) < now {
                let key = self.keys.provider(identity_provider_session);
                let member = record.text();
                self.run(&scripts::REMOVE, &[&key], &[member.as_bytes()])
                    .await?;
            }
        }
        Ok(sessions)
    }

    async fn end_by_identity_provider_session(
        &self,
        identity_provider_session: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let found = self
            .sessions_by_identity_provider_session(identity_provider_session, now)
            .await?;
        let ended = found.iter().map(|s| self.end(s.subject(), s.id(), now));
        Ok(try_join_all(ended).await?.into_iter().flatten().collect())
    }

    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let mut listed = Vec::new();
        let mut from = None;
        if let Some((subject, id)) = after {
            let mut rest = self.sessions_of(&subject, now).await?;
            rest.retain(|session| session.id() > id);
            listed.extend(rest);
            from = Some(subject);
        }
        while listed.len() < limit {
            let wanted = (limit - listed.len()).min(WIDTH);
            let subjects = self.registry(from.as_deref(), wanted).await?;
            let Some(last) = subjects.last() else {
                break;
            };
            from = Some(last.clone());
            let sessions = subjects.iter().map(|s| self.sessions_of(s, now));
            listed.extend(try_join_all(sessions).await?.into_iter().flatten());
        }
        listed.truncate(limit);
        Ok(listed)
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<String>> {
        let (mut active, mut from) = (Vec::new(), after);
        while active.len() < limit {
            let wanted = (limit - active.len()).min(WIDTH);
            let subjects = self.registry(from.as_deref(), wanted).await?;
            let Some(last) = subjects.last() else {
                break;
            };
            from = Some(last.clone());
            let found = try_join_all(subjects.iter().map(|s| self.is_active(s, now))).await?;
            let both = subjects.into_iter().zip(found);
            active.extend(both.filter(|(_, found)| *found).map(|(subject, _)| subject));
        }
        Ok(active)
    }

    async fn acquire_lease(
        &self,
        subject: &str,
        id: SessionId,
        ttl: Duration,
        now: Timestamp,
    ) -> Outcome<Lease> {
        let key = self.lease_keys(subject, id);
        let (from, until) = (now.unix_millis(), now.after(ttl).unix_millis());
        let (from, until, life) = (from.to_string(), until.to_string(), lease_ttl(ttl));
        let arguments: [&[u8]; 3] = [from.as_bytes(), until.as_bytes(), life.as_bytes()];
        let answer = self.run(&scripts::ACQUIRE, &[&key], &arguments).await?;
        let value = number(&answer, 1).ok_or_else(unexpected)?;
        if is(&answer, b"G") {
            return Ok(Lease::Granted(Fence(value)));
        }
        let until = i64::try_from(value).map_err(|_| unexpected())?;
        Ok(Lease::Held(Timestamp::from_unix_millis(until)))
    }

    async fn renew_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Outcome<bool> {
        let key = self.lease_keys(subject, id);
        let until = now.after(ttl).unix_millis().to_string();
        let (fence, life) = (fence.0.to_string(), lease_ttl(ttl));
        let arguments: [&[u8]; 3] = [fence.as_bytes(), until.as_bytes(), life.as_bytes()];
        let answer = self.run(&scripts::RENEW, &[&key], &arguments).await?;
        Ok(int(&answer, 0) == Some(1))
    }

    async fn release_lease(&self, subject: &str, id: SessionId, fence: Fence) -> Outcome<()> {
        let key = self.lease_keys(subject, id);
        let fence = fence.0.to_string();
        self.run(&scripts::GIVE_BACK, &[&key], &[fence.as_bytes()])
            .await?;
        Ok(())
    }

    async fn check(&self) -> Outcome<()> {
        self.get(&self.keys.records_counter()).await.map(drop)
    }
}

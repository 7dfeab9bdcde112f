//! Stores that break one rule each: the conformance kit catches every one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sessionkit::testing::conformance;
use sessionkit::{
    Created, Credential, Fence, Lease, MemoryStore, OneTimeStore, Peek, RecordStore, RecordSwap,
    Session, SessionId, SessionStore, StoreError, StoredRecord, Swap, Timestamp,
};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    CreateForgets,
    CreateOverwritesId,
    CreateOverwritesCredential,
    CreateKeepsExpiredCredential,
    LoadsAnybody,
    LoadsExpired,
    ExpiresEarly,
    LosesContent,
    PeekDenies,
    PeekFindsExpired,
    SwapIgnoresVersion,
    SwapTakesCredential,
    SwapRevives,
    SwapIgnoresFence,
    SwapAlwaysFenced,
    SwapSaysStored,
    ConflictShowsOld,
    NoGrace,
    LongGrace,
    TouchForgets,
    TouchRevives,
    EndForgets,
    EndIgnoresSubject,
    EndTwice,
    EndReturnsOld,
    EndAllLeavesOne,
    EndAllEndsEverybody,
    SessionsOfEverybody,
    SessionsOfExpired,
    ProviderUnknown,
    ProviderByPrefix,
    ProviderExpired,
    ProviderEndForgets,
    ProviderEndsSubject,
    ListUnsorted,
    ListIgnoresAfter,
    ListSkipsSubject,
    ListExpired,
    ActiveTwice,
    ActiveUnsorted,
    ActiveIgnoresAfter,
    ActiveNoLimit,
    ActiveExpired,
    LeaseForBoth,
    LeaseForEver,
    LeaseShared,
    NumbersRepeat,
    RenewForgets,
    RenewsLost,
    ReleaseForgets,
    ReleasesOthers,
    TakeTwice,
    TakeExpired,
    TakeExpiresEarly,
    PutKeepsOld,
    ClaimTwice,
    ClaimForEver,
    RecordOverwritten,
    RecordAnyVersion,
    RecordVersionsRepeat,
    RecordExpired,
    RecordExpiredSwapped,
    RecordRevived,
    RecordNotRemoved,
    RecordRemovedAlways,
    RecordsAnyPrefix,
    RecordsUnsorted,
    RecordsIgnoreAfter,
}

#[derive(Debug)]
struct Wrong {
    inner: MemoryStore,
    fault: Fault,
    first: Mutex<HashMap<SessionId, Arc<Session>>>,
    ended: Mutex<HashMap<SessionId, Arc<Session>>>,
    granted: Mutex<HashMap<SessionId, Fence>>,
}

type Outcome<T> = Result<T, StoreError>;
const DAY: Duration = Duration::from_hours(24);
const LAST: SessionId = SessionId::from_bytes([255; 16]);

impl Wrong {
    fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryStore::new(),
            fault,
            first: Mutex::default(),
            ended: Mutex::default(),
            granted: Mutex::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// An hour ago, where that is the fault: what has expired since still counts.
    fn earlier(&self, fault: Fault, now: Timestamp) -> Timestamp {
        if self.has(fault) {
            now.before(Duration::from_hours(1))
        } else {
            now
        }
    }

    async fn everybody(&self, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        self.inner.list(None, usize::MAX, now).await
    }

    async fn end_holder(&self, credential: &Credential, now: Timestamp) -> Outcome<()> {
        if let Some(holder) = self.inner.load(credential, now).await? {
            self.inner.end(holder.subject(), holder.id(), now).await?;
        }
        Ok(())
    }
}

/// The same session once more.
fn copy(session: &Session, now: Timestamp) -> Session {
    conformance::refreshed(session, "access", now)
}

#[async_trait]
impl SessionStore for Wrong {
    fn peek(&self, credential: &Credential, now: Timestamp) -> Peek {
        if self.has(Fault::PeekDenies) {
            return Peek::Absent;
        }
        self.inner
            .peek(credential, self.earlier(Fault::PeekFindsExpired, now))
    }

    async fn load(&self, credential: &Credential, now: Timestamp) -> Outcome<Option<Arc<Session>>> {
        let at = match self.fault {
            Fault::LoadsExpired => now.before(Duration::from_secs(1)),
            Fault::ExpiresEarly => now.after(Duration::from_millis(1)),
            _ => now,
        };
        let found = self.inner.load(credential, at).await?;
        Ok(match self.fault {
            Fault::LoadsAnybody if found.is_none() => self.everybody(now).await?.pop(),
            Fault::LongGrace if found.is_none() => {
                let before = now.before(Duration::from_secs(10));
                self.inner
                    .load(credential, before)
                    .await?
                    .filter(|s| s.is_live(now))
            }
            Fault::NoGrace => found.filter(|s| s.credential() == *credential),
            Fault::LosesContent => found.map(|s| Arc::new(conformance::refreshed(&s, "x", now))),
            _ => found,
        })
    }

    async fn create(&self, session: Session, now: Timestamp) -> Outcome<Created> {
        let again = copy(&session, now);
        match self.fault {
            Fault::CreateForgets => return Ok(Created::Stored(Arc::new(session))),
            Fault::CreateKeepsExpiredCredential => {
                let before = now.before(DAY / 2);
                if self
                    .inner
                    .load(&session.credential(), before)
                    .await?
                    .is_some()
                {
                    return Ok(Created::CredentialTaken);
                }
            }
            _ => {}
        }
        let created = self.inner.create(session, now).await?;
        match (&created, self.fault) {
            (Created::IdTaken, Fault::CreateOverwritesId) => {
                self.inner.end(again.subject(), again.id(), now).await?;
                self.inner.create(again, now).await
            }
            (Created::CredentialTaken, Fault::CreateOverwritesCredential) => {
                self.end_holder(&again.credential(), now).await?;
                self.inner.create(again, now).await
            }
            (Created::Stored(stored), _) => {
                self.first
                    .lock()
                    .unwrap()
                    .insert(stored.id(), Arc::clone(stored));
                Ok(created)
            }
            _ => Ok(created),
        }
    }

    async fn compare_and_swap(
        &self,
        current: &Session,
        next: Session,
        fence: Option<Fence>,
        now: Timestamp,
    ) -> Outcome<Swap> {
        let again = copy(&next, now);
        let fence = match self.fault {
            Fault::SwapIgnoresFence => None,
            Fault::SwapAlwaysFenced if fence.is_some() => return Ok(Swap::Fenced),
            Fault::SwapSaysStored => return Ok(Swap::Stored(Arc::new(next))),
            _ => fence,
        };
        let swap = self
            .inner
            .compare_and_swap(current, next, fence, now)
            .await?;
        match (swap, self.fault) {
            (Swap::Conflict(stored), Fault::SwapIgnoresVersion) => {
                self.inner
                    .compare_and_swap(&stored, again, fence, now)
                    .await
            }
            (Swap::Conflict(stored), Fault::ConflictShowsOld) => {
                let first = self.first.lock().unwrap().get(&stored.id()).cloned();
                Ok(Swap::Conflict(first.unwrap_or(stored)))
            }
            (Swap::CredentialTaken, Fault::SwapTakesCredential) => {
                self.end_holder(&again.credential(), now).await?;
                self.inner
                    .compare_and_swap(current, again, fence, now)
                    .await
            }
            (Swap::Ended, Fault::SwapRevives) => {
                let stored = Arc::new(copy(&again, now));
                self.inner.create(again, now).await?;
                Ok(Swap::Stored(stored))
            }
            (swap, _) => Ok(swap),
        }
    }

    async fn touch(&self, session: &Session, now: Timestamp) -> Outcome<()> {
        match self.fault {
            Fault::TouchForgets => Ok(()),
            Fault::TouchRevives => {
                self.inner.create(copy(session, now), now).await?;
                Ok(())
            }
            _ => self.inner.touch(session, now).await,
        }
    }

    async fn end(
        &self,
        subject: &str,
        id: SessionId,
        now: Timestamp,
    ) -> Outcome<Option<Arc<Session>>> {
        if self.has(Fault::EndForgets) {
            let all = self.inner.sessions_of(subject, now).await?;
            return Ok(all.into_iter().find(|s| s.id() == id));
        }
        let mut owner = subject.to_owned();
        if self.has(Fault::EndIgnoresSubject) {
            let all = self.everybody(now).await?;
            owner = all
                .iter()
                .find(|s| s.id() == id)
                .map_or(owner, |s| s.subject().to_owned());
        }
        let ended = self.inner.end(&owner, id, now).await?;
        let mut memory = self.ended.lock().unwrap();
        Ok(match (ended, self.fault) {
            (None, Fault::EndTwice) => memory.get(&id).filter(|s| s.is_live(now)).cloned(),
            (Some(ended), Fault::EndReturnsOld) => {
                self.first.lock().unwrap().get(&ended.id()).cloned()
            }
            (ended, _) => {
                memory.extend(ended.iter().map(|s| (id, Arc::clone(s))));
                ended
            }
        })
    }

    async fn end_all(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        if self.has(Fault::EndAllEndsEverybody) {
            for session in self.everybody(now).await? {
                if session.subject() != subject {
                    self.inner.end(session.subject(), session.id(), now).await?;
                }
            }
        }
        let ended = self.inner.end_all(subject, now).await?;
        if let (Some(one), Fault::EndAllLeavesOne) = (ended.last(), self.fault) {
            self.inner.create(copy(one, now), now).await?;
        }
        Ok(ended)
    }

    async fn sessions_of(&self, subject: &str, now: Timestamp) -> Outcome<Vec<Arc<Session>>> {
        if self.has(Fault::SessionsOfEverybody) {
            return self.everybody(now).await;
        }
        let now = self.earlier(Fault::SessionsOfExpired, now);
        self.inner.sessions_of(subject, now).await
    }

    async fn sessions_by_identity_provider_session(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        match self.fault {
            Fault::ProviderUnknown => Ok(Vec::new()),
            Fault::ProviderByPrefix => {
                let mut all = self.everybody(now).await?;
                let begins = |s: &str| s.starts_with(name);
                all.retain(|s| s.identity_provider_session().is_some_and(begins));
                Ok(all)
            }
            _ => {
                let now = self.earlier(Fault::ProviderExpired, now);
                self.inner
                    .sessions_by_identity_provider_session(name, now)
                    .await
            }
        }
    }

    async fn end_by_identity_provider_session(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let found = self
            .inner
            .sessions_by_identity_provider_session(name, now)
            .await?;
        match self.fault {
            Fault::ProviderEndForgets => return Ok(found),
            Fault::ProviderEndsSubject => {
                for session in &found {
                    self.inner.end_all(session.subject(), now).await?;
                }
                return Ok(found);
            }
            _ => self.inner.end_by_identity_provider_session(name, now).await,
        }
    }

    async fn list(
        &self,
        after: Option<(String, SessionId)>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<Arc<Session>>> {
        let after = match (after, self.fault) {
            (_, Fault::ListIgnoresAfter) => None,
            (Some((subject, _)), Fault::ListSkipsSubject) => Some((subject, LAST)),
            (after, _) => after,
        };
        let now = self.earlier(Fault::ListExpired, now);
        let mut listed = self.inner.list(after, limit, now).await?;
        if self.has(Fault::ListUnsorted) {
            listed.reverse();
        }
        Ok(listed)
    }

    async fn active_subjects(
        &self,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<String>> {
        let after = after.filter(|_| !self.has(Fault::ActiveIgnoresAfter));
        let limit = if self.has(Fault::ActiveNoLimit) {
            usize::MAX
        } else {
            limit
        };
        let now = self.earlier(Fault::ActiveExpired, now);
        if self.has(Fault::ActiveTwice) {
            let after = after.map(|subject| (subject, LAST));
            let listed = self.inner.list(after, limit, now).await?;
            return Ok(listed.iter().map(|s| s.subject().to_owned()).collect());
        }
        let mut active = self.inner.active_subjects(after, limit, now).await?;
        if self.has(Fault::ActiveUnsorted) {
            active.reverse();
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
        let (id, at) = match self.fault {
            Fault::LeaseForBoth => (id, now.after(DAY)),
            Fault::LeaseForEver => (id, now.before(DAY)),
            Fault::LeaseShared => (LAST, now),
            _ => (id, now),
        };
        let lease = self.inner.acquire_lease(subject, id, ttl, at).await?;
        Ok(match lease {
            Lease::Granted(_) if self.has(Fault::NumbersRepeat) => Lease::Granted(Fence(1)),
            Lease::Granted(fence) => {
                self.granted.lock().unwrap().insert(id, fence);
                lease
            }
            held @ Lease::Held(_) => held,
        })
    }

    async fn renew_lease(
        &self,
        subject: &str,
        id: SessionId,
        fence: Fence,
        ttl: Duration,
        now: Timestamp,
    ) -> Outcome<bool> {
        if self.has(Fault::RenewForgets) {
            return Ok(self.granted.lock().unwrap().get(&id) == Some(&fence));
        }
        let renewed = self.inner.renew_lease(subject, id, fence, ttl, now).await?;
        Ok(renewed || self.has(Fault::RenewsLost))
    }

    async fn release_lease(&self, subject: &str, id: SessionId, fence: Fence) -> Outcome<()> {
        let fence = match self.fault {
            Fault::ReleaseForgets => return Ok(()),
            Fault::ReleasesOthers => self
                .granted
                .lock()
                .unwrap()
                .get(&id)
                .copied()
                .unwrap_or(fence),
            _ => fence,
        };
        self.inner.release_lease(subject, id, fence).await
    }

    async fn check(&self) -> Outcome<()> {
        self.inner.check().await
    }
}

#[async_trait]
impl OneTimeStore for Wrong {
    async fn put(
        &self,
        key: Credential,
        value: Bytes,
        end: Timestamp,
        now: Timestamp,
    ) -> Outcome<()> {
        let old = if self.has(Fault::PutKeepsOld) {
            self.inner.take(key, now).await?
        } else {
            None
        };
        self.inner.put(key, old.unwrap_or(value), end, now).await
    }

    async fn take(&self, key: Credential, now: Timestamp) -> Outcome<Option<Bytes>> {
        let at = match self.fault {
            Fault::TakeExpired => now.before(DAY),
            Fault::TakeExpiresEarly => now.after(Duration::from_secs(1)),
            _ => now,
        };
        let taken = self.inner.take(key, at).await?;
        if let (Some(value), Fault::TakeTwice) = (&taken, self.fault) {
            self.inner
                .put(key, value.clone(), now.after(DAY), now)
                .await?;
        }
        Ok(taken)
    }

    async fn claim(&self, key: Credential, end: Timestamp, now: Timestamp) -> Outcome<bool> {
        let now = self.earlier(Fault::ClaimForEver, now);
        Ok(self.inner.claim(key, end, now).await? || self.has(Fault::ClaimTwice))
    }
}

#[async_trait]
impl RecordStore for Wrong {
    async fn create_record(
        &self,
        key: &str,
        value: Bytes,
        end: Timestamp,
        now: Timestamp,
    ) -> Outcome<Option<u64>> {
        if self.has(Fault::RecordOverwritten) {
            self.inner.remove_record(key, now).await?;
        }
        if self.has(Fault::RecordVersionsRepeat) {
            // A table of its own for each record, as it were.
            let fresh = MemoryStore::new();
            let version = fresh.create_record(key, value.clone(), end, now).await?;
            let stored = self.inner.create_record(key, value, end, now).await?;
            return Ok(stored.and(version));
        }
        self.inner.create_record(key, value, end, now).await
    }

    async fn swap_record(
        &self,
        key: &str,
        expected: u64,
        value: Bytes,
        end: Timestamp,
        now: Timestamp,
    ) -> Outcome<RecordSwap> {
        let at = self.earlier(Fault::RecordExpiredSwapped, now);
        let swap = self
            .inner
            .swap_record(key, expected, value.clone(), end, at)
            .await?;
        match (swap, self.fault) {
            (RecordSwap::Conflict(stored), Fault::RecordAnyVersion) => {
                self.inner
                    .swap_record(key, stored.version, value, end, now)
                    .await
            }
            (RecordSwap::Absent, Fault::RecordRevived) => {
                let created = self.inner.create_record(key, value, end, now).await?;
                Ok(created.map_or(RecordSwap::Absent, RecordSwap::Stored))
            }
            (swap, _) => Ok(swap),
        }
    }

    async fn record(&self, key: &str, now: Timestamp) -> Outcome<Option<StoredRecord>> {
        self.inner
            .record(key, self.earlier(Fault::RecordExpired, now))
            .await
    }

    async fn records(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<(String, StoredRecord)>> {
        let prefix = if self.has(Fault::RecordsAnyPrefix) {
            ""
        } else {
            prefix
        };
        let after = after.filter(|_| !self.has(Fault::RecordsIgnoreAfter));
        let mut records = self.inner.records(prefix, after, limit, now).await?;
        if self.has(Fault::RecordsUnsorted) {
            records.reverse();
        }
        Ok(records)
    }

    async fn remove_record(&self, key: &str, now: Timestamp) -> Outcome<bool> {
        if self.has(Fault::RecordNotRemoved) {
            return Ok(self.inner.record(key, now).await?.is_some());
        }
        Ok(self.inner.remove_record(key, now).await? || self.has(Fault::RecordRemovedAlways))
    }
}

async fn broken(fault: Fault) -> Vec<&'static str> {
    conformance::check(&Wrong::new(fault)).await.unwrap()
}

#[tokio::test]
async fn the_wrapper_breaks_nothing_by_itself() {
    assert_eq!(broken(Fault::None).await, Vec::<&str>::new());
}

#[tokio::test]
async fn each_wrong_store_is_caught() {
    let cases = [
        (
            Fault::CreateForgets,
            "load finds the session by its credential",
        ),
        (
            Fault::CreateOverwritesId,
            "create never overwrites the session with the same id",
        ),
        (
            Fault::CreateOverwritesCredential,
            "create never overwrites the session with the same credential",
        ),
        (
            Fault::CreateKeepsExpiredCredential,
            "the credential of an expired session is free",
        ),
        (
            Fault::LoadsAnybody,
            "load finds nothing by another credential",
        ),
        (Fault::LoadsExpired, "an expired session is as good as none"),
        (
            Fault::ExpiresEarly,
            "a session lives until its last instant",
        ),
        (Fault::LosesContent, "a session comes back whole"),
        (Fault::PeekDenies, "peek denies no session"),
        (Fault::PeekFindsExpired, "peek finds no expired session"),
        (
            Fault::SwapIgnoresVersion,
            "compare_and_swap refuses a stale version",
        ),
        (
            Fault::SwapTakesCredential,
            "compare_and_swap never takes another session's credential",
        ),
        (Fault::SwapRevives, "an ended session is never written back"),
        (
            Fault::SwapIgnoresFence,
            "a write with an old number is refused",
        ),
        (
            Fault::SwapAlwaysFenced,
            "a write under the lease is accepted",
        ),
        (
            Fault::SwapSaysStored,
            "the new credential opens the session",
        ),
        (Fault::ConflictShowsOld, "a conflict shows what is stored"),
        (
            Fault::NoGrace,
            "the replaced credential opens it for the grace time",
        ),
        (
            Fault::LongGrace,
            "the replaced credential opens nothing after the grace time",
        ),
        (Fault::TouchForgets, "a use prolongs the session"),
        (Fault::TouchRevives, "a touch brings no ended session back"),
        (Fault::EndForgets, "an ended session opens to nothing"),
        (Fault::EndIgnoresSubject, "end needs the right subject"),
        (Fault::EndTwice, "end finds nothing the second time"),
        (
            Fault::EndReturnsOld,
            "end returns the session as stored last",
        ),
        (Fault::EndAllLeavesOne, "end_all leaves nothing"),
        (
            Fault::EndAllEndsEverybody,
            "end_all ends nobody else's session",
        ),
        (
            Fault::SessionsOfEverybody,
            "sessions_of lists a subject's sessions, and no other's",
        ),
        (
            Fault::SessionsOfExpired,
            "sessions_of lists no expired session",
        ),
        (
            Fault::ProviderUnknown,
            "sessions are found by the identity provider's session, and no others",
        ),
        (
            Fault::ProviderByPrefix,
            "nothing is found by an unknown session of the identity provider's",
        ),
        (
            Fault::ProviderExpired,
            "no expired session is found by the identity provider's session",
        ),
        (
            Fault::ProviderEndForgets,
            "end_by_identity_provider_session leaves nothing",
        ),
        (
            Fault::ProviderEndsSubject,
            "end_by_identity_provider_session ends no other session",
        ),
        (
            Fault::ListUnsorted,
            "list names every session once, by subject, then by id",
        ),
        (
            Fault::ListIgnoresAfter,
            "list goes on in the middle of a subject",
        ),
        (
            Fault::ListSkipsSubject,
            "list goes on in the middle of a subject",
        ),
        (Fault::ListExpired, "list names no expired session"),
        (
            Fault::ActiveTwice,
            "active_subjects names everybody once, sorted by bytes",
        ),
        (
            Fault::ActiveUnsorted,
            "active_subjects names everybody once, sorted by bytes",
        ),
        (
            Fault::ActiveIgnoresAfter,
            "active_subjects goes on after a subject",
        ),
        (
            Fault::ActiveNoLimit,
            "active_subjects goes on after a subject",
        ),
        (
            Fault::ActiveExpired,
            "an expired session makes nobody active",
        ),
        (Fault::LeaseForBoth, "a lease is held alone until its end"),
        (Fault::LeaseForEver, "a lease that ran out is granted"),
        (Fault::LeaseShared, "each session has a lease of its own"),
        (Fault::NumbersRepeat, "a later lease has a higher number"),
        (
            Fault::RenewForgets,
            "a renewed lease is held until its new end",
        ),
        (Fault::RenewsLost, "a lost lease is not renewed"),
        (
            Fault::ReleaseForgets,
            "a lease that was given back is granted",
        ),
        (Fault::ReleasesOthers, "a lost lease is not given back"),
        (Fault::TakeTwice, "a record is taken once"),
        (Fault::TakeExpired, "an expired record is as good as none"),
        (Fault::TakeExpiresEarly, "a record is kept until its end"),
        (Fault::PutKeepsOld, "a taker gets the newest record"),
        (Fault::ClaimTwice, "a claimed key is not claimed again"),
        (Fault::ClaimForEver, "a claim ends"),
        (Fault::RecordOverwritten, "create_record never overwrites"),
        (
            Fault::RecordAnyVersion,
            "swap_record refuses another version and shows what is stored",
        ),
        (
            Fault::RecordVersionsRepeat,
            "the version of a removed record never comes again",
        ),
        (
            Fault::RecordExpired,
            "an expired named record is as good as none",
        ),
        (
            Fault::RecordExpiredSwapped,
            "an expired named record is not swapped",
        ),
        (Fault::RecordRevived, "a removed record is not swapped back"),
        (Fault::RecordNotRemoved, "a removed record is gone"),
        (Fault::RecordRemovedAlways, "a removed record is gone"),
        (
            Fault::RecordsAnyPrefix,
            "records names what begins with the prefix, sorted by bytes",
        ),
        (
            Fault::RecordsUnsorted,
            "records names what begins with the prefix, sorted by bytes",
        ),
        (Fault::RecordsIgnoreAfter, "records goes on after a key"),
    ];
    let mut missed = Vec::new();
    for (fault, rule) in cases {
        let broken = broken(fault).await;
        if !broken.contains(&rule) {
            missed.push((fault, rule, broken));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

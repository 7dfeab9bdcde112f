//! Refreshes: one at a time for one session, whatever happens meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use sessionkit::testing::{TestClock, conformance};
use sessionkit::{
    Clock, Credential, Fence, Lease, Lifetimes, MemoryStore, Presented, RefreshError,
    RefreshFailure, Refreshed, Refresher, Replaced, Session, Sessions, SignIn, Swap, Tokens,
    Verdict,
};

/// What the provider does.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Refuses,
    Away,
    NoKeys,
    Panics,
}

struct Provider {
    mood: Mood,
    calls: AtomicUsize,
    discarded: AtomicUsize,
    clock: Arc<TestClock>,
    takes: Duration,
}

#[async_trait]
impl Refresher for Provider {
    async fn refresh(&self, session: &Session) -> Result<Refreshed, RefreshFailure> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::time::sleep(self.takes).await;
        let tokens = Tokens {
            access_token: format!("access {} {call}", session.subject()).into(),
            refresh_token: Some(format!("refresh {} {call}", session.subject()).into()),
            id_token: None,
            access_expires_at: self.clock.now().after(Duration::from_secs(3600)),
        };
        let cause = || Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("no"));
        match self.mood {
            Mood::Good => Ok(Refreshed {
                tokens,
                data: Some(session.subject().to_owned().into()),
            }),
            Mood::Refuses => Err(RefreshFailure::Refused(cause())),
            Mood::Away => Err(RefreshFailure::Unavailable {
                retry_after: None,
                source: cause(),
            }),
            Mood::NoKeys => Err(RefreshFailure::Unverified {
                tokens,
                source: cause(),
            }),
            Mood::Panics => panic!("on purpose"),
        }
    }

    async fn discard(&self, _: &Session, _: Tokens) {
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }
}

struct World {
    sessions: Arc<Sessions>,
    clock: Arc<TestClock>,
}

fn world() -> World {
    let clock = Arc::new(TestClock::default());
    let store = Arc::new(MemoryStore::new());
    let sessions = Sessions::new(store, Arc::clone(&clock) as _, Lifetimes::default());
    World {
        sessions: Arc::new(sessions),
        clock,
    }
}

impl World {
    fn provider(&self, mood: Mood) -> Arc<Provider> {
        self.provider_that_takes(Duration::from_millis(20), mood)
    }

    fn provider_that_takes(&self, takes: Duration, mood: Mood) -> Arc<Provider> {
        let (calls, discarded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Provider {
            mood,
            calls,
            discarded,
            clock: Arc::clone(&self.clock),
            takes,
        })
    }

    async fn sign_in(&self, subject: &str) -> Arc<Session> {
        let sign_in = SignIn {
            subject: subject.to_owned(),
            client: "website".to_owned(),
            credential: Credential::of(subject.as_bytes()),
            tokens: Tokens {
                access_token: "access".to_owned().into(),
                refresh_token: Some(SecretString::from("refresh")),
                id_token: None,
                access_expires_at: self.clock.now().after(Duration::from_secs(60)),
            },
            identity_provider_session: None,
            data: Bytes::from_static(b"old"),
            ip_address: None,
            user_agent: None,
        };
        self.sessions.open(sign_in).await.unwrap()
    }

    async fn verdict(&self, subject: &str, presented: Presented) -> Verdict {
        self.sessions
            .check(&Credential::of(subject.as_bytes()), presented)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn two_hundred_callers_make_one_call() {
    let world = world();
    let session = world.sign_in("mia").await;
    world.clock.advance(Duration::from_secs(55));
    assert!(matches!(
        world.verdict("mia", Presented::Cookie).await,
        Verdict::RunOut(_)
    ));
    assert!(matches!(
        world.verdict("mia", Presented::Bearer).await,
        Verdict::Expired(_)
    ));
    let provider = world.provider(Mood::Good);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (sessions, session, provider) = (
                Arc::clone(&world.sessions),
                Arc::clone(&session),
                Arc::clone(&provider),
            );
            tokio::spawn(async move { sessions.refresh(&session, provider).await })
        })
        .collect();
    for caller in callers {
        let refreshed = caller.await.unwrap().unwrap();
        assert_eq!(
            refreshed.tokens().access_token.expose_secret(),
            "access mia 1"
        );
    }
    // Who comes late with the old knowledge gets the same.
    world
        .sessions
        .refresh(&session, provider.clone())
        .await
        .unwrap();
    assert_eq!(provider.calls.load(Ordering::SeqCst), 1);
    assert!(matches!(
        world.verdict("mia", Presented::Cookie).await,
        Verdict::Live(_)
    ));
}

#[tokio::test]
async fn threat_18_two_sessions_never_share_a_result() {
    let world = world();
    let provider = world.provider(Mood::Good);
    let mut callers = Vec::new();
    for round in 0..50 {
        for name in ["mia", "bob"] {
            let subject = format!("{name}{round}");
            let session = world.sign_in(&subject).await;
            let (sessions, provider) = (Arc::clone(&world.sessions), Arc::clone(&provider));
            callers.push((
                subject,
                tokio::spawn(async move { sessions.refresh(&session, provider).await }),
            ));
        }
    }
    for (subject, caller) in callers {
        let refreshed = caller.await.unwrap().unwrap();
        assert_eq!(refreshed.data(), subject.as_bytes());
        assert!(
            refreshed
                .tokens()
                .access_token
                .expose_secret()
                .contains(&subject)
        );
    }
}

#[tokio::test]
async fn the_work_goes_on_when_the_caller_leaves() {
    let world = world();
    let session = world.sign_in("mia").await;
    let provider = world.provider(Mood::Good);
    let call = world.sessions.refresh(&session, provider.clone());
    assert!(
        tokio::time::timeout(Duration::from_millis(5), call)
            .await
            .is_err()
    );
    let refreshed = world
        .sessions
        .refresh(&session, provider.clone())
        .await
        .unwrap();
    assert_eq!(refreshed.generation(), 2);
    assert_eq!(provider.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn ended_is_ended_even_while_a_refresh_is_under_way() {
    let world = world();
    let session = world.sign_in("mia").await;
    let provider = world.provider(Mood::Good);
    let (sessions, seen, refresher) = (
        Arc::clone(&world.sessions),
        Arc::clone(&session),
        provider.clone(),
    );
    let call = tokio::spawn(async move { sessions.refresh(&seen, refresher).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.sessions.end(&session).await.unwrap();
    assert!(matches!(call.await.unwrap(), Err(RefreshError::Ended(_))));
    assert_eq!(provider.discarded.load(Ordering::SeqCst), 1);
    assert!(matches!(
        world.verdict("mia", Presented::Cookie).await,
        Verdict::Unknown
    ));
}

#[tokio::test]
async fn tokens_that_outlived_their_lease_are_stored_if_nobody_bought_others() {
    let world = world();
    let session = world.sign_in("mia").await;
    let provider = world.provider(Mood::Good);
    let refresh = tokio::spawn({
        let (sessions, session) = (Arc::clone(&world.sessions), Arc::clone(&session));
        let provider = Arc::clone(&provider);
        async move { sessions.refresh(&session, provider).await }
    });
    while provider.calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The lease runs out, and somebody has it for a moment.
    world.clock.advance(Duration::from_secs(16));
    let (store, now) = (world.sessions.store(), world.clock.now());
    let ttl = Duration::from_secs(15);
    let lease = store.acquire_lease("mia", session.id(), ttl, now).await;
    let Ok(Lease::Granted(fence)) = lease else {
        panic!("the lease has run out");
    };
    tokio::time::sleep(Duration::from_millis(60)).await;
    store
        .release_lease("mia", session.id(), fence)
        .await
        .unwrap();
    let refreshed = refresh.await.unwrap().unwrap();
    assert_eq!(refreshed.generation(), session.generation() + 1);
    assert_eq!(provider.discarded.load(Ordering::SeqCst), 0);
    // And no lease is left behind.
    let lease = store.acquire_lease("mia", session.id(), ttl, now).await;
    assert!(matches!(lease, Ok(Lease::Granted(_))));
}

/// A refresh whose lease another replica got while the exchange was under way: its renewals are refused.
struct Overtaken {
    world: World,
    session: Arc<Session>,
    provider: Arc<Provider>,
    refresh: tokio::task::JoinHandle<Result<Arc<Session>, RefreshError>>,
    /// The other replica's lease.
    fence: Fence,
}

impl Overtaken {
    /// Time stands while something can be done, so that each test runs the same way on every machine.
    async fn start() -> Self {
        let world = world();
        let session = world.sign_in("mia").await;
        let provider = world.provider_that_takes(Duration::from_secs(12), Mood::Good);
        let refresh = tokio::spawn({
            let (sessions, session) = (Arc::clone(&world.sessions), Arc::clone(&session));
            let provider = Arc::clone(&provider);
            async move { sessions.refresh(&session, provider).await }
        });
        while provider.calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.advance(LEASE + Duration::from_secs(1));
        let (store, now) = (world.sessions.store(), world.clock.now());
        let lease = store.acquire_lease("mia", session.id(), LEASE, now).await;
        let Ok(Lease::Granted(fence)) = lease else {
            panic!("the lease has run out");
        };
        let lost = Fence(fence.0 - 1);
        let renewed = store.renew_lease("mia", session.id(), lost, LEASE, now);
        assert!(!renewed.await.unwrap());
        Self {
            world,
            session,
            provider,
            refresh,
            fence,
        }
    }

    async fn give_back(&self) {
        let store = self.world.sessions.store();
        let released = store.release_lease("mia", self.session.id(), self.fence);
        released.await.unwrap();
    }
}

const LEASE: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn tokens_whose_lease_was_lost_wait_for_a_new_one() {
    let overtaken = Overtaken::start().await;
    // The exchange is over, and the other replica still has the lease.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(!overtaken.refresh.is_finished());
    overtaken.give_back().await;
    let (world, session) = (&overtaken.world, &overtaken.session);
    let refreshed = overtaken.refresh.await.unwrap().unwrap();
    assert_eq!(refreshed.generation(), session.generation() + 1);
    // Stored, not only handed out.
    let Verdict::Live(stored) = world.verdict("mia", Presented::Cookie).await else {
        panic!("the session is live");
    };
    assert_eq!(stored.version(), refreshed.version());
    assert!(stored.is_refresh_token("refresh mia 1"));
    assert_eq!(overtaken.provider.calls.load(Ordering::SeqCst), 1);
    assert_eq!(overtaken.provider.discarded.load(Ordering::SeqCst), 0);
    // The number of the lease is a later one, and no lease is left behind.
    let (store, now) = (world.sessions.store(), world.clock.now());
    let lease = store.acquire_lease("mia", session.id(), LEASE, now).await;
    assert!(matches!(lease, Ok(Lease::Granted(next)) if next.0 == overtaken.fence.0 + 2));
}

#[tokio::test(start_paused = true)]
async fn tokens_whose_lease_was_lost_give_way_to_those_that_another_bought() {
    let overtaken = Overtaken::start().await;
    let (world, session) = (&overtaken.world, &overtaken.session);
    let now = world.clock.now();
    let next = conformance::refreshed(session, "bought by another", now);
    let store = world.sessions.store();
    let swapped = store.compare_and_swap(session, next, Some(overtaken.fence), now);
    assert!(matches!(swapped.await, Ok(Swap::Stored(_))));
    overtaken.give_back().await;
    let refreshed = overtaken.refresh.await.unwrap().unwrap();
    assert_eq!(
        refreshed.tokens().access_token.expose_secret(),
        "bought by another"
    );
    // Both stem from one refresh token: revoked, ours would take theirs along.
    assert_eq!(overtaken.provider.discarded.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_whose_lease_was_lost_are_revoked_when_the_session_has_ended() {
    let overtaken = Overtaken::start().await;
    let world = &overtaken.world;
    world.sessions.end(&overtaken.session).await.unwrap();
    let refreshed = overtaken.refresh.await.unwrap();
    assert!(matches!(refreshed, Err(RefreshError::Ended(_))));
    assert_eq!(overtaken.provider.discarded.load(Ordering::SeqCst), 1);
    let verdict = world.verdict("mia", Presented::Cookie).await;
    assert!(matches!(verdict, Verdict::Unknown));
}

#[tokio::test]
async fn a_refusal_ends_the_session_and_an_outage_does_not() {
    for (mood, ends) in [
        (Mood::Refuses, true),
        (Mood::Away, false),
        (Mood::Panics, false),
        (Mood::NoKeys, false),
    ] {
        let world = world();
        let session = world.sign_in("mia").await;
        let outcome = world.sessions.refresh(&session, world.provider(mood)).await;
        match outcome {
            Err(RefreshError::Ended(_)) => assert!(ends),
            Err(RefreshError::Unavailable { .. }) => assert!(!ends),
            other => panic!("{other:?}"),
        }
        let verdict = world.verdict("mia", Presented::Cookie).await;
        assert_eq!(matches!(verdict, Verdict::Unknown), ends);
        if !ends {
            // It recovers with the provider; after a panic when the lease has run out.
            world.clock.advance(Duration::from_secs(15));
            world
                .sessions
                .refresh(&session, world.provider(Mood::Good))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn unverified_tokens_are_kept_and_not_served() {
    let world = world();
    let session = world.sign_in("mia").await;
    let outcome = world
        .sessions
        .refresh(&session, world.provider(Mood::NoKeys))
        .await;
    assert!(matches!(outcome, Err(RefreshError::Unavailable { .. })));
    let Verdict::RunOut(kept) = world.verdict("mia", Presented::Cookie).await else {
        panic!()
    };
    assert!(kept.is_refresh_token("refresh mia 1"));
    assert_eq!(kept.data(), b"old");
}

#[tokio::test]
async fn a_replaced_credential_serves_for_the_grace_time() {
    let world = world();
    let session = world.sign_in("mia").await;
    let refreshed = world
        .sessions
        .refresh(&session, world.provider(Mood::Good))
        .await
        .unwrap();
    assert!(refreshed.is_previous_refresh_token("refresh", world.clock.now()));
    let replaced = world
        .sessions
        .replace_credential(&refreshed, Credential::of(b"new"), [1; 32])
        .await
        .unwrap();
    assert!(matches!(replaced, Replaced::Done(_)));
    let late = world
        .sessions
        .replace_credential(&refreshed, Credential::of(b"other"), [2; 32])
        .await
        .unwrap();
    assert!(matches!(late, Replaced::Lost(_)));
    assert!(matches!(
        world.verdict("mia", Presented::Bearer).await,
        Verdict::Live(_)
    ));
    assert!(matches!(
        world.verdict("new", Presented::Bearer).await,
        Verdict::Live(_)
    ));
    world.clock.advance(Duration::from_secs(30));
    assert!(matches!(
        world.verdict("mia", Presented::Cookie).await,
        Verdict::Unknown
    ));
    assert!(matches!(
        world.verdict("new", Presented::Cookie).await,
        Verdict::Live(_)
    ));
}

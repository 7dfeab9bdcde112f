//! What every store must do. Hand [`check`] an empty store; it names each rule that is broken.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Created, Credential, Lease, Lifetimes, OneTimeStore, Session, SessionId, SessionStore, SignIn,
    StoreError, Swap, Timestamp, Tokens,
};

/// Checks every rule of [`SessionStore`] and [`OneTimeStore`] and returns those that are broken.
///
/// # Errors
/// [`StoreError`] when the store failed.
pub async fn check<S: SessionStore + OneTimeStore>(
    store: &S,
) -> Result<Vec<&'static str>, StoreError> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, name: &'static str| {
        if !holds {
            broken.push(name);
        }
    };
    let start = Timestamp::from_unix_millis(1_790_000_000_000);
    let day = Duration::from_secs(86_400);

    // Creating.
    let first = session("a", 1, b"one", start);
    rule(
        matches!(store.create(copy(&first), start).await?, Created::Stored(_)),
        "create stores a session",
    );
    rule(
        matches!(store.create(copy(&first), start).await?, Created::IdTaken),
        "create never overwrites the session with the same id",
    );
    rule(
        matches!(
            store.create(session("b", 2, b"one", start), start).await?,
            Created::CredentialTaken
        ),
        "create never overwrites the session with the same credential",
    );
    let found = store.load(&Credential::of(b"one"), start).await?;
    rule(
        found.is_some_and(|s| s.subject() == "a"),
        "load finds the session by its credential",
    );
    rule(
        store.load(&Credential::of(b"two"), start).await?.is_none(),
        "load finds nothing by another credential",
    );

    // Expiry, on the dot.
    let end = first.expires_at();
    rule(
        store
            .load(&first.credential(), end.before(Duration::from_millis(1)))
            .await?
            .is_some(),
        "a session lives until its last instant",
    );
    rule(
        store.load(&first.credential(), end).await?.is_none(),
        "an expired session is as good as none",
    );
    rule(
        store.active_subjects(None, 10, end).await?.is_empty(),
        "an expired session makes nobody active",
    );

    // Swapping.
    let lifetimes = Lifetimes::default();
    let next = first.with_credential(Credential::of(b"two"), [0; 32], &lifetimes, start);
    let swapped = store.compare_and_swap(&first, next, None, start).await?;
    rule(
        matches!(swapped, Swap::Stored(_)),
        "compare_and_swap replaces what is still stored",
    );
    let stale = first.with_credential(Credential::of(b"three"), [0; 32], &lifetimes, start);
    rule(
        matches!(
            store.compare_and_swap(&first, stale, None, start).await?,
            Swap::Conflict(_)
        ),
        "compare_and_swap refuses a stale version",
    );
    rule(
        store.load(&Credential::of(b"two"), start).await?.is_some(),
        "the new credential opens the session",
    );
    rule(
        store.load(&Credential::of(b"one"), start).await?.is_some(),
        "the replaced credential opens it for the grace time",
    );
    let after_grace = start.after(lifetimes.grace);
    rule(
        store
            .load(&Credential::of(b"one"), after_grace)
            .await?
            .is_none(),
        "the replaced credential opens nothing after the grace time",
    );
    rule(
        store
            .load(&Credential::of(b"two"), after_grace)
            .await?
            .is_some(),
        "the new credential outlives the grace time",
    );
    let other = session("b", 3, b"other", start);
    store.create(copy(&other), start).await?;
    let thief = other.with_credential(Credential::of(b"two"), [0; 32], &lifetimes, start);
    rule(
        matches!(
            store.compare_and_swap(&other, thief, None, start).await?,
            Swap::CredentialTaken
        ),
        "compare_and_swap never takes another session's credential",
    );

    // Leases.
    let Lease::Granted(fence) = store.acquire_lease("b", other.id(), day, start).await? else {
        rule(false, "a free lease is granted");
        return Ok(broken);
    };
    rule(
        matches!(
            store.acquire_lease("b", other.id(), day, start).await?,
            Lease::Held(_)
        ),
        "a lease is held alone",
    );
    let later = start.after(day);
    rule(
        store
            .renew_lease("b", other.id(), fence, Duration::ZERO, start)
            .await?,
        "the holder renews its lease",
    );
    let taken = store.acquire_lease("b", other.id(), day, start).await?;
    rule(
        matches!(taken, Lease::Granted(newer) if newer > fence),
        "a lease that ran out is granted with a higher number",
    );
    let fenced = other.with_credential(Credential::of(b"fenced"), [0; 32], &lifetimes, start);
    rule(
        matches!(
            store
                .compare_and_swap(&other, fenced, Some(fence), start)
                .await?,
            Swap::Fenced
        ),
        "a write with an old number is refused",
    );
    rule(
        !store
            .renew_lease("b", other.id(), fence, day, start)
            .await?,
        "a lost lease is not renewed",
    );

    // Who is active.
    for (subject, id, value) in [("a", 4, b"four"), ("c", 5, b"five"), ("ab", 6, b"six!")] {
        store
            .create(session(subject, id, value, start), start)
            .await?;
    }
    let all = store.active_subjects(None, 10, start).await?;
    rule(
        all == ["a", "ab", "b", "c"],
        "active_subjects names everybody once, sorted by bytes",
    );
    let page = store
        .active_subjects(Some("a".to_owned()), 2, start)
        .await?;
    rule(
        page == ["ab", "b"],
        "active_subjects goes on after a subject",
    );
    rule(
        store.sessions_of("a", start).await?.len() == 2,
        "sessions_of lists a subject's sessions, and no other's",
    );

    // Ending.
    let ended = store.end("a", first.id(), start).await?;
    rule(
        ended
            .as_ref()
            .is_some_and(|s| s.credential() == Credential::of(b"two")),
        "end returns the session as stored last",
    );
    rule(
        store.load(&Credential::of(b"two"), start).await?.is_none(),
        "an ended session opens to nothing",
    );
    rule(
        store.load(&Credential::of(b"one"), start).await?.is_none(),
        "an ended session opens to no earlier credential",
    );
    rule(
        store.end("a", first.id(), start).await?.is_none(),
        "end finds nothing the second time",
    );
    if let Some(ended) = ended {
        store.touch(&ended, start).await?;
        let back = ended.with_credential(Credential::of(b"back"), [0; 32], &lifetimes, start);
        rule(
            matches!(
                store.compare_and_swap(&ended, back, None, start).await?,
                Swap::Ended
            ),
            "an ended session is never written back",
        );
        rule(
            store.load(&Credential::of(b"two"), start).await?.is_none(),
            "a touch brings no ended session back",
        );
    }
    rule(
        store.end_all("a", start).await?.len() == 1,
        "end_all ends and returns the rest",
    );
    rule(
        store.sessions_of("a", start).await?.is_empty(),
        "end_all leaves nothing",
    );
    rule(
        !store
            .active_subjects(None, 10, start)
            .await?
            .contains(&"a".to_owned()),
        "who has no session is not active",
    );

    // One-time records.
    let key = Credential::of(b"state");
    store
        .put(key, Bytes::from_static(b"old"), later, start)
        .await?;
    store
        .put(key, Bytes::from_static(b"new"), later, start)
        .await?;
    let (one, two) = futures_join(store.take(key, start), store.take(key, start)).await;
    let taken: Vec<Bytes> = [one?, two?].into_iter().flatten().collect();
    rule(
        taken == [Bytes::from_static(b"new")],
        "of two takers one gets the newest record",
    );
    store
        .put(key, Bytes::from_static(b"x"), later, start)
        .await?;
    rule(
        store.take(key, later).await?.is_none(),
        "an expired record is as good as none",
    );
    rule(
        store.claim(key, later, start).await?,
        "a fresh key is claimed",
    );
    rule(
        !store.claim(key, later, start).await?,
        "a claimed key is not claimed again",
    );
    rule(
        store.claim(key, later.after(day), later).await?,
        "a claim ends",
    );
    Ok(broken)
}

async fn futures_join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    tokio::join!(a, b)
}

/// A session for tests, good for a day.
#[must_use]
pub fn session(subject: &str, id: u8, value: &[u8], now: Timestamp) -> Session {
    let sign_in = SignIn {
        subject: subject.to_owned(),
        client: "website".to_owned(),
        credential: Credential::of(value),
        tokens: Tokens {
            access_token: "access".to_owned().into(),
            refresh_token: Some("refresh".to_owned().into()),
            id_token: None,
            access_expires_at: now.after(Duration::from_secs(3600)),
        },
        identity_provider_session: None,
        data: Bytes::from_static(b"{}"),
        ip_address: None,
        user_agent: None,
    };
    Session::begin(
        SessionId::from_bytes([id; 16]),
        &sign_in,
        &Lifetimes::default(),
        now,
    )
}

fn copy(session: &Session) -> Session {
    session.duplicate()
}

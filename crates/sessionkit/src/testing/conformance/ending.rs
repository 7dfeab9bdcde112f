//! Ended is ended.

use super::{DAY, Rules, START, ids, moved, opens, session, session_of};
use crate::{Created, Credential, Lifetimes, SessionStore, StoreError, Swap};

pub(super) async fn check<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    ending(store, rules).await?;
    racing(store, rules).await?;
    provider_sessions(store, rules).await
}

async fn ending<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let first = session("end", 50, b"e1", START);
    store.create(first.duplicate(), START).await?;
    store
        .create(session("end", 51, b"e other", START), START)
        .await?;
    let second = moved(&first, b"e2", START);
    store.compare_and_swap(&first, second, None, START).await?;
    rules.hold(
        store.end("else", first.id(), START).await?.is_none()
            && opens(store, b"e2", START).await?.is_some(),
        "end needs the right subject",
    );
    let ended = store.end("end", first.id(), START).await?;
    rules.hold(
        ended
            .as_ref()
            .is_some_and(|s| s.credential() == Credential::of(b"e2")),
        "end returns the session as stored last",
    );
    rules.hold(
        opens(store, b"e2", START).await?.is_none(),
        "an ended session opens to nothing",
    );
    rules.hold(
        opens(store, b"e1", START).await?.is_none(),
        "an ended session opens to no earlier credential",
    );
    rules.hold(
        ids(&store.sessions_of("end", START).await?) == [51],
        "end ends no other session",
    );
    rules.hold(
        store.end("end", first.id(), START).await?.is_none(),
        "end finds nothing the second time",
    );
    if let Some(ended) = ended {
        store.touch(&ended, START.after(DAY / 2)).await?;
        rules.hold(
            opens(store, b"e2", START).await?.is_none()
                && ids(&store.sessions_of("end", START).await?) == [51],
            "a touch brings no ended session back",
        );
        let back = moved(&ended, b"back", START);
        let swap = store.compare_and_swap(&ended, back, None, START).await?;
        rules.hold(
            matches!(swap, Swap::Ended) && opens(store, b"back", START).await?.is_none(),
            "an ended session is never written back",
        );
    }
    rules.hold(
        matches!(
            store
                .create(session("next", 52, b"e2", START), START)
                .await?,
            Created::Stored(_)
        ),
        "the credential of an ended session is free",
    );
    store
        .create(session("end", 53, b"e3", START), START)
        .await?;
    let ended = store.end_all("end", START).await?;
    let mut ended = ids(&ended);
    ended.sort_unstable();
    rules.hold(ended == [51, 53], "end_all ends and returns all");
    rules.hold(
        store.sessions_of("end", START).await?.is_empty()
            && opens(store, b"e3", START).await?.is_none(),
        "end_all leaves nothing",
    );
    rules.hold(
        opens(store, b"e2", START).await?.is_some(),
        "end_all ends nobody else's session",
    );
    rules.hold(
        store.end_all("end", START).await?.is_empty(),
        "end_all finds nothing the second time",
    );
    Ok(())
}

/// An end and a write at the same time: whatever comes first, the session has ended afterwards.
async fn racing<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    for round in 0..16 {
        let value = [b'r', round];
        let first = session("race", round, &value, START);
        store.create(first.duplicate(), START).await?;
        let next = moved(&first, &[b'n', round], START);
        let (ended, swap) = tokio::join!(
            store.end("race", first.id(), START),
            store.compare_and_swap(&first, next, None, START),
        );
        rules.hold(
            ended?.is_some() && matches!(swap?, Swap::Ended | Swap::Stored(_)),
            "an end finds its session whatever is written meanwhile",
        );
        rules.hold(
            opens(store, &value, START).await?.is_none()
                && opens(store, &[b'n', round], START).await?.is_none()
                && store.sessions_of("race", START).await?.is_empty(),
            "an end wins over a write at the same time",
        );
    }
    Ok(())
}

async fn provider_sessions<S: SessionStore>(
    store: &S,
    rules: &mut Rules,
) -> Result<(), StoreError> {
    let limits = Lifetimes::default();
    for (subject, id, name) in [("p", 60, "sid 1"), ("p", 61, "sid 2"), ("q", 62, "sid 1")] {
        let new = session_of(subject, id, &[b'p', id], Some(name), &limits, START);
        store.create(new, START).await?;
    }
    store
        .create(session("p", 63, b"p none", START), START)
        .await?;
    let found = store
        .sessions_by_identity_provider_session("sid 1", START)
        .await?;
    let mut found = ids(&found);
    found.sort_unstable();
    rules.hold(
        found == [60, 62],
        "sessions are found by the identity provider's session, and no others",
    );
    rules.hold(
        store
            .sessions_by_identity_provider_session("sid", START)
            .await?
            .is_empty(),
        "nothing is found by an unknown session of the identity provider's",
    );
    let expired = START.after(DAY);
    rules.hold(
        store
            .sessions_by_identity_provider_session("sid 1", expired)
            .await?
            .is_empty(),
        "no expired session is found by the identity provider's session",
    );
    if let Some(current) = store.load(&Credential::of(&[b'p', 60]), START).await? {
        let next = moved(&current, b"p moved", START);
        store.compare_and_swap(&current, next, None, START).await?;
    }
    let ended = store
        .end_by_identity_provider_session("sid 1", START)
        .await?;
    let mut ended: Vec<(u8, Credential)> = ended
        .iter()
        .map(|s| (s.id().as_bytes()[0], s.credential()))
        .collect();
    ended.sort_unstable();
    rules.hold(
        ended
            == [
                (60, Credential::of(b"p moved")),
                (62, Credential::of(&[b'p', 62])),
            ],
        "end_by_identity_provider_session ends and returns each session once, as stored last",
    );
    rules.hold(
        opens(store, b"p moved", START).await?.is_none()
            && store.sessions_of("q", START).await?.is_empty()
            && store
                .sessions_by_identity_provider_session("sid 1", START)
                .await?
                .is_empty(),
        "end_by_identity_provider_session leaves nothing",
    );
    rules.hold(
        ids(&store.sessions_of("p", START).await?) == [61, 63],
        "end_by_identity_provider_session ends no other session",
    );
    store
        .end("p", crate::SessionId::from_bytes([61; 16]), START)
        .await?;
    rules.hold(
        store
            .sessions_by_identity_provider_session("sid 2", START)
            .await?
            .is_empty(),
        "an ended session is not found by the identity provider's session",
    );
    Ok(())
}

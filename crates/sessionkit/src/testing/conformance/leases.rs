//! Leases and their numbers.

use std::time::Duration;

use super::{MILLISECOND, Rules, START, moved, session};
use crate::{Fence, Lease, Session, SessionStore, StoreError, Swap};

const TTL: Duration = Duration::from_secs(15);

async fn write<S: SessionStore>(
    store: &S,
    session: &Session,
    fence: Fence,
) -> Result<Swap, StoreError> {
    let next = moved(session, b"fenced", START);
    store
        .compare_and_swap(session, next, Some(fence), START)
        .await
}

pub(super) async fn check<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let held = session("lease", 40, b"lease", START);
    let (subject, id) = ("lease", held.id());
    store.create(held.duplicate(), START).await?;
    let Lease::Granted(first) = store.acquire_lease(subject, id, TTL, START).await? else {
        rules.hold(false, "a free lease is granted");
        return Ok(());
    };
    let end = START.after(TTL);
    let last = end.before(MILLISECOND);
    rules.hold(
        store.acquire_lease(subject, id, TTL, last).await? == Lease::Held(end),
        "a lease is held alone until its end",
    );
    let other = session("lease", 41, b"lease 2", START);
    store.create(other.duplicate(), START).await?;
    rules.hold(
        matches!(
            store.acquire_lease(subject, other.id(), TTL, START).await?,
            Lease::Granted(_)
        ),
        "each session has a lease of its own",
    );
    rules.hold(
        store
            .renew_lease(subject, id, first, TTL * 2, START)
            .await?,
        "the holder renews its lease",
    );
    let end = START.after(TTL * 2);
    rules.hold(
        store
            .acquire_lease(subject, id, TTL, end.before(MILLISECOND))
            .await?
            == Lease::Held(end),
        "a renewed lease is held until its new end",
    );
    let Lease::Granted(second) = store.acquire_lease(subject, id, TTL, end).await? else {
        rules.hold(false, "a lease that ran out is granted");
        return Ok(());
    };
    rules.hold(second > first, "a later lease has a higher number");
    rules.hold(
        matches!(write(store, &held, first).await?, Swap::Fenced),
        "a write with an old number is refused",
    );
    rules.hold(
        !store.renew_lease(subject, id, first, TTL, end).await?,
        "a lost lease is not renewed",
    );
    store.release_lease(subject, id, first).await?;
    rules.hold(
        matches!(
            store.acquire_lease(subject, id, TTL, end).await?,
            Lease::Held(_)
        ),
        "a lost lease is not given back",
    );
    store.release_lease(subject, id, second).await?;
    rules.hold(
        matches!(write(store, &held, second).await?, Swap::Fenced),
        "a write under a lease that was given back is refused",
    );
    let Lease::Granted(third) = store.acquire_lease(subject, id, TTL, end).await? else {
        rules.hold(false, "a lease that was given back is granted");
        return Ok(());
    };
    rules.hold(third > second, "a number never comes again");
    rules.hold(
        matches!(write(store, &held, third).await?, Swap::Stored(_)),
        "a write under the lease is accepted",
    );
    // Nobody else was granted one: a holder that is late has still the newest number.
    if let Some(current) = store
        .sessions_of(subject, START)
        .await?
        .into_iter()
        .find(|s| s.id() == id)
    {
        let late = end.after(TTL * 2);
        let next = moved(&current, b"late holder", late);
        let swap = store
            .compare_and_swap(&current, next, Some(third), late)
            .await?;
        rules.hold(
            matches!(swap, Swap::Stored(_)),
            "a late holder writes as long as nobody was granted the lease since",
        );
    }
    let (one, two) = tokio::join!(
        store.acquire_lease(subject, other.id(), TTL, end),
        store.acquire_lease(subject, other.id(), TTL, end),
    );
    let granted = [one?, two?];
    let granted = granted
        .iter()
        .filter(|lease| matches!(lease, Lease::Granted(_)));
    rules.hold(
        granted.count() == 1,
        "of two who ask for a lease one gets it",
    );
    Ok(())
}

//! Compare-and-swap, and the credentials that change with it.

use super::{MILLISECOND, Rules, START, moved, opens, session};
use crate::{Created, Credential, Lifetimes, SessionStore, StoreError, Swap};

pub(super) async fn check<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let first = session("swap", 30, b"s1", START);
    store.create(first.duplicate(), START).await?;
    let second = moved(&first, b"s2", START);
    let swapped = store
        .compare_and_swap(&first, second.duplicate(), None, START)
        .await?;
    rules.hold(
        matches!(swapped, Swap::Stored(_)),
        "compare_and_swap replaces what is still stored",
    );
    let stale = moved(&first, b"s3", START);
    let conflict = store.compare_and_swap(&first, stale, None, START).await?;
    rules.hold(
        matches!(&conflict, Swap::Conflict(_)),
        "compare_and_swap refuses a stale version",
    );
    rules.hold(
        !matches!(&conflict, Swap::Conflict(s) if s.version() != second.version()),
        "a conflict shows what is stored",
    );
    rules.hold(
        opens(store, b"s3", START).await?.is_none(),
        "a refused write leaves nothing",
    );
    rules.hold(
        opens(store, b"s2", START).await? == Some(first.id()),
        "the new credential opens the session",
    );

    // The grace time.
    let grace = Lifetimes::default().grace;
    let over = START.after(grace);
    rules.hold(
        opens(store, b"s1", over.before(MILLISECOND)).await? == Some(first.id()),
        "the replaced credential opens it for the grace time",
    );
    rules.hold(
        opens(store, b"s1", over).await?.is_none(),
        "the replaced credential opens nothing after the grace time",
    );
    rules.hold(
        opens(store, b"s2", over).await?.is_some(),
        "the new credential outlives the grace time",
    );
    let thief = session("thief", 31, b"s1", START);
    rules.hold(
        matches!(store.create(thief, START).await?, Created::CredentialTaken),
        "create never takes a credential in its grace time",
    );
    let heir = session("heir", 32, b"s1", over);
    rules.hold(
        matches!(store.create(heir, over).await?, Created::Stored(_)),
        "a credential is free after its grace time",
    );
    rules.hold(
        opens(store, b"s1", over)
            .await?
            .is_some_and(|id| id.as_bytes()[0] == 32),
        "a credential opens the session it was given to after its grace time",
    );

    // Nobody's credential is taken by a change.
    let other = session("other", 33, b"o1", START);
    store.create(other.duplicate(), START).await?;
    let thief = moved(&other, b"s2", START);
    rules.hold(
        matches!(
            store.compare_and_swap(&other, thief, None, START).await?,
            Swap::CredentialTaken
        ),
        "compare_and_swap never takes another session's credential",
    );
    rules.hold(
        opens(store, b"s2", START).await? == Some(first.id()),
        "a refused change leaves the credential where it was",
    );
    rules.hold(
        opens(store, b"o1", START).await? == Some(other.id()),
        "a refused change leaves the session its credential",
    );

    // Of two writers one wins.
    let (one, two) = (moved(&other, b"o2", START), moved(&other, b"o3", START));
    let (one, two) = tokio::join!(
        store.compare_and_swap(&other, one, None, START),
        store.compare_and_swap(&other, two, None, START),
    );
    let swaps = [one?, two?];
    let stored = swaps.iter().filter(|swap| matches!(swap, Swap::Stored(_)));
    rules.hold(stored.count() == 1, "of two writers one wins");
    let won = store.load(&Credential::of(b"o1"), START).await?;
    let won = won.map(|session| session.credential());
    let opened = [b"o2", b"o3"].map(|value| Credential::of(value));
    let mut found = 0;
    for credential in opened {
        if let Some(session) = store.load(&credential, START).await? {
            found += 1;
            rules.hold(
                Some(session.credential()) == won,
                "only the winner's credential opens the session",
            );
        }
    }
    rules.hold(found == 1, "only the winner's credential opens the session");
    Ok(())
}

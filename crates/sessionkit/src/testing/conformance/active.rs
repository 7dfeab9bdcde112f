//! Who is active, and lists.

use super::{DAY, Rules, START, ids, moved, session};
use crate::{SessionId, SessionStore, StoreError};

pub(super) async fn check<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    // The order of bytes, which is not that of any language.
    let people = [
        ("a", 4),
        ("c", 5),
        ("ab", 6),
        ("b", 7),
        ("a", 2),
        ("é", 8),
        ("Z", 9),
    ];
    for (subject, id) in people {
        store
            .create(session(subject, id, &[b'l', id], START), START)
            .await?;
    }
    let later = START.after(DAY / 2);
    store
        .create(session("d", 10, b"late", later), later)
        .await?;

    let all = store.active_subjects(None, 100, later).await?;
    rules.hold(
        all == ["Z", "a", "ab", "b", "c", "d", "é"],
        "active_subjects names everybody once, sorted by bytes",
    );
    let page = store
        .active_subjects(Some("a".to_owned()), 2, later)
        .await?;
    rules.hold(
        page == ["ab", "b"],
        "active_subjects goes on after a subject",
    );
    let page = store
        .active_subjects(Some("aa".to_owned()), 1, later)
        .await?;
    rules.hold(
        page == ["ab"],
        "active_subjects goes on after somebody who has gone",
    );
    let page = store
        .active_subjects(Some("é".to_owned()), 2, later)
        .await?;
    rules.hold(page.is_empty(), "active_subjects ends");
    let page = store.active_subjects(None, 2, START.after(DAY)).await?;
    rules.hold(page == ["d"], "an expired session makes nobody active");

    rules.hold(
        ids(&store.sessions_of("a", START).await?) == [2, 4],
        "sessions_of lists a subject's sessions, and no other's",
    );
    rules.hold(
        store.sessions_of("a", START.after(DAY)).await?.is_empty(),
        "sessions_of lists no expired session",
    );

    let listed = store.list(None, 100, later).await?;
    rules.hold(
        ids(&listed) == [9, 2, 4, 6, 7, 5, 10, 8],
        "list names every session once, by subject, then by id",
    );
    let after = Some(("a".to_owned(), SessionId::from_bytes([2; 16])));
    rules.hold(
        ids(&store.list(after, 3, later).await?) == [4, 6, 7],
        "list goes on in the middle of a subject",
    );
    rules.hold(
        ids(&store.list(None, 100, START.after(DAY)).await?) == [10],
        "list names no expired session",
    );

    // A write is no second session.
    if let Some(old) = store.sessions_of("ab", START).await?.pop() {
        store
            .compare_and_swap(&old, moved(&old, b"anew", START), None, START)
            .await?;
    }
    rules.hold(
        ids(&store
            .list(Some(("a".to_owned(), SessionId::MAX)), 2, later)
            .await?)
            == [6, 7],
        "list names a changed session once",
    );
    for (subject, _) in people.into_iter().chain([("d", 0)]) {
        store.end_all(subject, START).await?;
    }
    rules.hold(
        store.active_subjects(None, 100, START).await?.is_empty(),
        "who has no session is not active",
    );
    rules.hold(
        store.list(None, 100, START).await?.is_empty(),
        "list names no ended session",
    );
    Ok(())
}

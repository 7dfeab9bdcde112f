//! Named records.

use bytes::Bytes;

use super::{DAY, MILLISECOND, Rules, START};
use crate::{RecordStore, RecordSwap, StoreError};

pub(super) async fn check<S: RecordStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let end = START.after(DAY);
    let value = Bytes::from_static;
    let Some(first) = store
        .create_record("job/1", value(b"one"), end, START)
        .await?
    else {
        rules.hold(false, "a record is created");
        return Ok(());
    };
    rules.hold(
        store
            .create_record("job/1", value(b"other"), end, START)
            .await?
            .is_none(),
        "create_record never overwrites",
    );
    let found = store.record("job/1", START).await?;
    rules.hold(
        found.is_some_and(|r| r.value == "one" && r.version == first && r.expires_at == end),
        "a record comes back whole",
    );
    let swap = store
        .swap_record("job/1", first + 1, value(b"no"), end, START)
        .await?;
    rules.hold(
        matches!(&swap, RecordSwap::Conflict(r) if r.version == first && r.value == "one"),
        "swap_record refuses another version and shows what is stored",
    );
    let (one, two) = tokio::join!(
        store.swap_record("job/1", first, value(b"two"), end, START),
        store.swap_record("job/1", first, value(b"two"), end, START),
    );
    let swaps = [one?, two?];
    let stored: Vec<u64> = swaps
        .iter()
        .filter_map(|swap| match swap {
            RecordSwap::Stored(version) => Some(*version),
            _ => None,
        })
        .collect();
    rules.hold(stored.len() == 1, "of two who swap a record one wins");
    let second = stored.first().copied().unwrap_or_default();
    rules.hold(
        second > first,
        "each write of a record has a higher version",
    );
    let found = store.record("job/1", START).await?;
    rules.hold(
        found.is_some_and(|r| r.value == "two" && r.version == second),
        "a swapped record holds the new value",
    );

    rules.hold(
        store
            .record("job/1", end.before(MILLISECOND))
            .await?
            .is_some(),
        "a named record lives until its last instant",
    );
    rules.hold(
        store.record("job/1", end).await?.is_none()
            && store.records("job/", None, 9, end).await?.is_empty(),
        "an expired named record is as good as none",
    );
    let swap = store
        .swap_record("job/1", second, value(b"late"), end.after(DAY), end)
        .await?;
    rules.hold(
        swap == RecordSwap::Absent,
        "an expired named record is not swapped",
    );

    rules.hold(
        store.remove_record("job/1", START).await?,
        "a record is removed",
    );
    rules.hold(
        !store.remove_record("job/1", START).await?
            && store.record("job/1", START).await?.is_none(),
        "a removed record is gone",
    );
    let swap = store
        .swap_record("job/1", second, value(b"back"), end, START)
        .await?;
    rules.hold(
        swap == RecordSwap::Absent,
        "a removed record is not swapped back",
    );
    let third = store
        .create_record("job/1", value(b"x"), end, START)
        .await?;
    rules.hold(
        third.is_some_and(|third| third > second),
        "the version of a removed record never comes again",
    );

    for key in ["job/2", "job/10", "job", "jobs", "other"] {
        store.create_record(key, value(b"x"), end, START).await?;
    }
    let names = |page: Vec<(String, _)>| page.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    rules.hold(
        names(store.records("job/", None, 9, START).await?) == ["job/1", "job/10", "job/2"],
        "records names what begins with the prefix, sorted by bytes",
    );
    let page = store
        .records("job/", Some("job/1".to_owned()), 1, START)
        .await?;
    rules.hold(names(page) == ["job/10"], "records goes on after a key");
    rules.hold(
        store
            .records("job/", Some("job/2".to_owned()), 9, START)
            .await?
            .is_empty(),
        "records ends with the prefix",
    );
    Ok(())
}

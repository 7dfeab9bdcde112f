//! Records that are taken once.

use bytes::Bytes;

use super::{DAY, MILLISECOND, Rules, START};
use crate::{Credential, OneTimeStore, StoreError};

pub(super) async fn check<S: OneTimeStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let (key, end) = (Credential::of(b"state"), START.after(DAY));
    let value = Bytes::from_static;
    store.put(key, value(b"old"), end, START).await?;
    store.put(key, value(b"new"), end, START).await?;
    store
        .put(Credential::of(b"other"), value(b"other"), end, START)
        .await?;
    let (one, two) = tokio::join!(store.take(key, START), store.take(key, START));
    let taken: Vec<Bytes> = [one?, two?].into_iter().flatten().collect();
    rules.hold(taken.len() == 1, "of two takers one gets the record");
    rules.hold(
        taken.iter().all(|taken| taken == "new"),
        "a taker gets the newest record",
    );
    rules.hold(
        store.take(key, START).await?.is_none(),
        "a record is taken once",
    );
    rules.hold(
        store
            .take(Credential::of(b"other"), end.before(MILLISECOND))
            .await?
            .is_some_and(|v| v == "other"),
        "a record is kept until its end",
    );
    store.put(key, value(b"x"), end, START).await?;
    rules.hold(
        store.take(key, end).await?.is_none(),
        "an expired record is as good as none",
    );

    let key = Credential::of(b"jti");
    let (one, two) = tokio::join!(store.claim(key, end, START), store.claim(key, end, START));
    rules.hold(one? || two?, "a fresh key is claimed");
    rules.hold(
        !store.claim(key, end, end.before(MILLISECOND)).await?,
        "a claimed key is not claimed again",
    );
    let fresh = Credential::of(b"fresh");
    let (one, two) = tokio::join!(
        store.claim(fresh, end, START),
        store.claim(fresh, end, START)
    );
    rules.hold(one? != two?, "of two who claim a key one gets it");
    rules.hold(store.claim(key, end.after(DAY), end).await?, "a claim ends");
    Ok(())
}

//! Creating, finding, expiring.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{DAY, MILLISECOND, Rules, START, moved, opens, session, session_of};
use crate::{Created, Credential, Lifetimes, Peek, Session, SessionStore, StoreError, Timestamp};

pub(super) async fn check<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    creating(store, rules).await?;
    expiring(store, rules).await?;
    idling(store, rules).await
}

async fn creating<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let first = session_of(
        "one",
        20,
        b"one",
        Some("here"),
        &Lifetimes::default(),
        START,
    );
    let created = store.create(first.duplicate(), START).await?;
    rules.hold(
        matches!(created, Created::Stored(_)),
        "create stores a session",
    );
    let again = session("one", 20, b"another", START);
    rules.hold(
        matches!(store.create(again, START).await?, Created::IdTaken),
        "create never overwrites the session with the same id",
    );
    let same = session("two", 21, b"one", START);
    rules.hold(
        matches!(store.create(same, START).await?, Created::CredentialTaken),
        "create never overwrites the session with the same credential",
    );
    rules.hold(
        store.sessions_of("two", START).await?.is_empty(),
        "a refused create leaves nothing",
    );
    let found = store.load(&Credential::of(b"one"), START).await?;
    rules.hold(
        found.as_ref().is_some_and(|s| s.subject() == "one"),
        "load finds the session by its credential",
    );
    rules.hold(
        found.is_some_and(|found| same_content(&found, &first)),
        "a session comes back whole",
    );
    rules.hold(
        opens(store, b"nobody's", START).await?.is_none(),
        "load finds nothing by another credential",
    );
    rules.hold(
        !matches!(store.peek(&Credential::of(b"one"), START), Peek::Absent),
        "peek denies no session",
    );
    rules.hold(
        !matches!(
            store.peek(&Credential::of(b"nobody's"), START),
            Peek::Found(_)
        ),
        "peek finds nothing by another credential",
    );
    // Of two at once one wins.
    let (one, two) = (
        session("two", 22, b"both", START),
        session("three", 23, b"both", START),
    );
    let (one, two) = tokio::join!(store.create(one, START), store.create(two, START));
    let stored = [one?, two?];
    let stored = stored.iter().filter(|c| matches!(c, Created::Stored(_)));
    rules.hold(
        stored.count() == 1,
        "of two sessions with one credential, one is stored",
    );
    Ok(())
}

fn same_content(found: &Session, wanted: &Session) -> bool {
    let secrets = |session: &Session| {
        let tokens = session.tokens();
        let text =
            |token: Option<secrecy::SecretString>| token.map(|t| t.expose_secret().to_owned());
        (
            text(Some(tokens.access_token)),
            text(tokens.refresh_token),
            text(tokens.id_token),
            tokens.access_expires_at,
        )
    };
    let about = |session: &Session| {
        (
            (session.id(), session.version(), session.generation()),
            (session.subject().to_owned(), session.client().to_owned()),
            (session.created_at(), session.expires_at()),
            session.identity_provider_session().map(str::to_owned),
            (
                session.ip_address(),
                session.user_agent().map(str::to_owned),
            ),
        )
    };
    secrets(found) == secrets(wanted)
        && about(found) == about(wanted)
        && found.data() == wanted.data()
}

async fn expiring<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let end = START.after(DAY);
    rules.hold(
        opens(store, b"one", end.before(MILLISECOND))
            .await?
            .is_some(),
        "a session lives until its last instant",
    );
    rules.hold(
        opens(store, b"one", end).await?.is_none(),
        "an expired session is as good as none",
    );
    rules.hold(
        !matches!(store.peek(&Credential::of(b"one"), end), Peek::Found(_)),
        "peek finds no expired session",
    );
    let old = session("one", 20, b"one", START);
    let late = moved(&old, b"late", end);
    let swap = store.compare_and_swap(&old, late, None, end).await?;
    rules.hold(
        matches!(swap, crate::Swap::Ended),
        "an expired session is never written back",
    );
    let heir = session("four", 24, b"one", end);
    rules.hold(
        matches!(store.create(heir, end).await?, Created::Stored(_)),
        "the credential of an expired session is free",
    );
    rules.hold(
        opens(store, b"one", end)
            .await?
            .is_some_and(|id| id.as_bytes()[0] == 24),
        "a credential opens the session it was given to last",
    );
    rules.hold(
        store.end("one", old.id(), end).await?.is_none(),
        "end returns no expired session",
    );
    Ok(())
}

async fn idling<S: SessionStore>(store: &S, rules: &mut Rules) -> Result<(), StoreError> {
    let minute = Duration::from_secs(60);
    let lifetimes = Lifetimes {
        idle: Some(minute),
        ..Lifetimes::default()
    };
    let idle = session_of("idle", 25, b"idle", None, &lifetimes, START);
    store.create(idle, START).await?;
    let at = |seconds: u64| -> Timestamp { START.after(Duration::from_secs(seconds)) };
    rules.hold(
        opens(store, b"idle", at(60)).await?.is_none(),
        "an unused session ends",
    );
    if let Some(found) = store.load(&Credential::of(b"idle"), at(50)).await? {
        store.touch(&found, at(50)).await?;
    }
    rules.hold(
        opens(store, b"idle", at(109)).await?.is_some(),
        "a use prolongs the session",
    );
    rules.hold(
        opens(store, b"idle", at(110)).await?.is_none(),
        "a use prolongs the session by the idle limit, and no more",
    );
    rules.hold(
        store
            .active_subjects(Some("idl".to_owned()), 1, at(109))
            .await?
            == ["idle"],
        "a use keeps the person active",
    );
    Ok(())
}

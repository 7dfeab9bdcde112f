//! What every store must do. Hand [`check`] an empty store; it names each rule that is broken.

mod active;
mod creating;
mod ending;
mod leases;
mod one_time;
mod records;
mod swapping;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Credential, Lifetimes, OneTimeStore, RecordStore, Session, SessionId, SessionStore, SignIn,
    StoreError, Timestamp, Tokens,
};

/// Checks every rule of [`SessionStore`], [`OneTimeStore`] and [`RecordStore`] and returns those that
/// are broken. All times are around September 2026, whatever the clock says.
///
/// # Errors
/// [`StoreError`] when the store failed.
pub async fn check<S: SessionStore + OneTimeStore + RecordStore>(
    store: &S,
) -> Result<Vec<&'static str>, StoreError> {
    let mut rules = Rules::default();
    // First: it counts on an empty store.
    active::check(store, &mut rules).await?;
    creating::check(store, &mut rules).await?;
    swapping::check(store, &mut rules).await?;
    leases::check(store, &mut rules).await?;
    ending::check(store, &mut rules).await?;
    one_time::check(store, &mut rules).await?;
    records::check(store, &mut rules).await?;
    Ok(rules.0)
}

/// Collects broken rules.
#[derive(Debug, Default)]
struct Rules(Vec<&'static str>);

impl Rules {
    fn hold(&mut self, holds: bool, name: &'static str) {
        if !holds && !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}

const START: Timestamp = Timestamp::from_unix_millis(1_790_000_000_000);
const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);

/// A session for tests, good for a day.
#[must_use]
pub fn session(subject: &str, id: u8, value: &[u8], now: Timestamp) -> Session {
    session_of(subject, id, value, None, &Lifetimes::default(), now)
}

/// A session for tests that belongs to a session of the identity provider's.
#[must_use]
pub fn with_provider(
    subject: &str,
    id: u8,
    value: &[u8],
    identity_provider_session: &str,
    now: Timestamp,
) -> Session {
    let (name, limits) = (Some(identity_provider_session), Lifetimes::default());
    session_of(subject, id, value, name, &limits, now)
}

/// One of many sessions, opened by the decimal digits of its number.
#[must_use]
pub fn numbered(subject: &str, id: SessionId, number: u64, now: Timestamp) -> Session {
    let value = number.to_string();
    let sign_in = sign_in(subject, value.as_bytes(), None, now);
    Session::begin(id, &sign_in, None, &Lifetimes::default(), now)
}

/// The next state of a session, after a refresh that brought this access token.
#[must_use]
pub fn refreshed(session: &Session, access_token: &str, now: Timestamp) -> Session {
    let mut tokens = session.tokens();
    tokens.access_token = access_token.to_owned().into();
    let refreshed = crate::Refreshed { tokens, data: None };
    session.refreshed(&refreshed, Lifetimes::default().grace, now)
}

/// The same, with a session of the identity provider's and limits to choose.
fn session_of(
    subject: &str,
    id: u8,
    value: &[u8],
    identity_provider_session: Option<&str>,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Session {
    let sign_in = sign_in(subject, value, identity_provider_session, now);
    Session::begin(
        SessionId::from_bytes([id; 16]),
        &sign_in,
        None,
        lifetimes,
        now,
    )
}

fn sign_in(
    subject: &str,
    value: &[u8],
    identity_provider_session: Option<&str>,
    now: Timestamp,
) -> SignIn {
    SignIn {
        subject: subject.to_owned(),
        client: "website".to_owned(),
        credential: Credential::of(value),
        tokens: Tokens {
            access_token: "access".to_owned().into(),
            refresh_token: Some("refresh".to_owned().into()),
            id_token: Some("identity".to_owned().into()),
            access_expires_at: now.after(Duration::from_secs(3600)),
        },
        identity_provider_session: identity_provider_session.map(str::to_owned),
        data: Bytes::from_static(b"{}"),
        ip_address: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        user_agent: Some("browser".to_owned()),
    }
}

/// The next state of a session, under another credential.
#[must_use]
pub fn moved(session: &Session, value: &[u8], now: Timestamp) -> Session {
    session.with_credential(Credential::of(value), [7; 32], &Lifetimes::default(), now)
}

async fn opens<S: SessionStore>(
    store: &S,
    value: &[u8],
    now: Timestamp,
) -> Result<Option<SessionId>, StoreError> {
    let found = store.load(&Credential::of(value), now).await?;
    Ok(found.map(|session| session.id()))
}

fn ids<'a>(sessions: impl IntoIterator<Item = &'a std::sync::Arc<Session>>) -> Vec<u8> {
    sessions
        .into_iter()
        .map(|session| session.id().as_bytes()[0])
        .collect()
}

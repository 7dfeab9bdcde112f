//! A session, and what makes one.

#[cfg(any(feature = "embedded", feature = "redis"))]
pub(crate) mod record;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::credential::Previous;
use crate::packed::{Field, Packed};
use crate::refresh::Refreshed;
use crate::{Credential, Lifetimes, Timestamp};

/// Public handle of a session: 128 random bits. No credential; it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// The last of all ids, in their order.
    pub(crate) const MAX: Self = Self([u8::MAX; 16]);

    /// A fresh id.
    ///
    /// # Errors
    /// [`getrandom::Error`] when the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(bits))
    }

    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 22 characters of base64url.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The tokens inside a session.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: SecretString,
    /// Buys new ones; without it the session ends when the access token does.
    pub refresh_token: Option<SecretString>,
    /// The ID token.
    pub id_token: Option<SecretString>,
    /// Expiry of the access token.
    pub access_expires_at: Timestamp,
}

/// What a sign-in brings; [`crate::Sessions::open`] makes a [`Session`] of it.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who signed in.
    pub subject: String,
    /// Name of the client (application) they signed in to.
    pub client: String,
    /// Hash of the value that will open the session.
    pub credential: Credential,
    /// The tokens.
    pub tokens: Tokens,
    /// The identity provider's own session (`sid` of the ID token), where it names one.
    pub identity_provider_session: Option<String>,
    /// Application data, handed back as it is: for example a rendered profile.
    pub data: Bytes,
    /// Address of the person's client.
    pub ip_address: Option<IpAddr>,
    /// The browser, as it names itself; cut to 256 bytes at a character boundary.
    pub user_agent: Option<String>,
}

/// A session as stored. Immutable but for the time it was last seen: a change makes a new value
/// with a higher version, which [`crate::SessionStore::compare_and_swap`] puts in the old one's place.
///
/// A process may hold a million of these, so they are small: times that seconds suffice for are whole
/// seconds (rounded down: nobody gets in late), texts share one allocation that is wiped when dropped,
/// and what few sessions have at a time stands apart.
pub struct Session {
    id: SessionId,
    credential: Credential,
    access_expires_at: Timestamp,
    version: u32,
    generation: u32,
    bearer_expires_at: Seconds,
    created_at: Seconds,
    last_seen_at: AtomicU32,
    ends_at: Seconds,
    /// The identity provider's own end; the last of all seconds when it names none.
    ceiling: Seconds,
    /// Zero means no limit.
    idle_seconds: u32,
    history: Option<Box<History>>,
    packed: Packed,
}

// With the two counters of an `Arc` that makes 128 bytes, which allocators have a size for.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session>() == 112);

/// What is left of earlier tokens and credentials.
#[derive(Clone, Default)]
struct History {
    previous: Vec<Previous>,
    refresh_token: Option<PreviousRefreshToken>,
}

#[derive(Clone, Copy)]
struct PreviousRefreshToken {
    hash: Credential,
    valid_until: Timestamp,
}

/// Seconds since the epoch; good until the year 2106.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seconds(u32);

impl Seconds {
    fn floor(at: Timestamp) -> Self {
        let seconds = at
            .unix_millis()
            .div_euclid(1000)
            .clamp(0, i64::from(u32::MAX));
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_unix_millis(i64::from(self.0) * 1000)
    }
}

/// Most previous credentials that are remembered; the newest are.
const MAX_PREVIOUS: usize = 8;
/// Longest user agent that is kept, in bytes.
const MAX_USER_AGENT: usize = 256;
/// How stale `last_seen_at` may be where no idle limit depends on it.
const TOUCH_EVERY: u32 = 60;

impl Session {
    /// A session that begins now, and ends at `ceiling` at the latest.
    pub(crate) fn begin(
        id: SessionId,
        sign_in: &SignIn,
        ceiling: Option<Timestamp>,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Self {
        let ceiling = ceiling.map_or(Seconds(u32::MAX), Seconds::floor);
        let idle = lifetimes.idle.map_or(0, |idle| idle.as_secs().max(1));
        let address = match sign_in.ip_address {
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
            None => Vec::new(),
        };
        let user_agent = sign_in.user_agent.as_deref().unwrap_or_default();
        let user_agent = user_agent.get(..user_agent.floor_char_boundary(MAX_USER_AGENT));
        let packed = Packed::new(&[
            (Field::Data, &sign_in.data),
            (Field::Subject, sign_in.subject.as_bytes()),
            (Field::Client, sign_in.client.as_bytes()),
            (
                Field::AccessToken,
                sign_in.tokens.access_token.expose_secret().as_bytes(),
            ),
            (
                Field::RefreshToken,
                exposed(sign_in.tokens.refresh_token.as_ref()),
            ),
            (Field::IdToken, exposed(sign_in.tokens.id_token.as_ref())),
            (
                Field::IdentityProviderSession,
                sign_in
                    .identity_provider_session
                    .as_deref()
                    .unwrap_or_default()
                    .as_bytes(),
            ),
            (Field::IpAddress, &address),
            (Field::UserAgent, user_agent.unwrap_or_default().as_bytes()),
        ]);
        Self {
            id,
            credential: sign_in.credential,
            access_expires_at: sign_in.tokens.access_expires_at,
            version: 1,
            generation: 1,
            bearer_expires_at: Seconds::floor(sign_in.tokens.access_expires_at),
            created_at: Seconds::floor(now),
            last_seen_at: AtomicU32::new(Seconds::floor(now).0),
            ends_at: Seconds::floor(now.after(lifetimes.absolute)).min(ceiling),
            ceiling,
            idle_seconds: u32::try_from(idle).unwrap_or(u32::MAX),
            history: None,
            packed,
        }
    }

    /// The same session with a refresh's tokens and data, for the same credential.
    pub(crate) fn refreshed(&self, refreshed: &Refreshed, grace: Duration, now: Timestamp) -> Self {
        let tokens = &refreshed.tokens;
        let mut next = self.successor();
        let old_refresh_token = self.packed.token(Field::RefreshToken);
        let old_refresh_token = exposed(old_refresh_token.as_ref());
        let new_refresh_token = exposed(tokens.refresh_token.as_ref());
        // Also where it stays the same: the time tells when the latest refresh was.
        next.history_mut().refresh_token = Some(PreviousRefreshToken {
            hash: Credential::of(old_refresh_token),
            valid_until: now.after(grace),
        });
        next.generation = self.generation.saturating_add(1);
        next.access_expires_at = tokens.access_expires_at;
        let mut changes = vec![(
            Field::AccessToken,
            tokens.access_token.expose_secret().as_bytes(),
        )];
        // What does not come again stays good (RFC 6749, section 6).
        for (field, value) in [
            (Field::RefreshToken, new_refresh_token),
            (Field::IdToken, exposed(tokens.id_token.as_ref())),
        ] {
            if !value.is_empty() {
                changes.push((field, value));
            }
        }
        if let Some(data) = &refreshed.data {
            changes.push((Field::Data, data));
        }
        next.packed = self.packed.with(&changes);
        next
    }

    /// The same session, opened by another credential; its absolute life starts anew.
    pub(crate) fn with_credential(
        &self,
        credential: Credential,
        succession: [u8; 32],
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Self {
        let mut next = self.successor();
        let replaced = Previous {
            credential: self.credential,
            bearer_expires_at: self.bearer_expires_at(),
            valid_until: now.after(lifetimes.grace),
            succession,
        };
        let previous = &mut next.history_mut().previous;
        previous.retain(|previous| previous.valid_until > now && previous.credential != credential);
        previous.push(replaced);
        let surplus = previous.len().saturating_sub(MAX_PREVIOUS);
        previous.drain(..surplus);
        next.credential = credential;
        next.bearer_expires_at = Seconds::floor(self.access_expires_at);
        next.ends_at = Seconds::floor(now.after(lifetimes.absolute)).min(self.ceiling);
        next.last_seen_at = AtomicU32::new(Seconds::floor(now).0);
        next
    }

    /// The same session once more, for the conformance kit.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            version: self.version,
            ..self.successor()
        }
    }

    fn successor(&self) -> Self {
        Self {
            version: self.version.saturating_add(1),
            last_seen_at: AtomicU32::new(self.last_seen_at.load(Ordering::Relaxed)),
            history: self.history.clone(),
            packed: self.packed.clone(),
            ..*self
        }
    }

    fn history_mut(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    /// Public handle.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Counts the writes of this record, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        u64::from(self.version)
    }

    /// Counts the token sets this session has had, from 1; a refresh adds one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Who signed in.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.packed.text(Field::Subject)
    }

    /// Name of the client.
    #[must_use]
    pub fn client(&self) -> &str {
        self.packed.text(Field::Client)
    }

    /// Hash of the value that opens it now.
    #[must_use]
    pub fn credential(&self) -> Credential {
        self.credential
    }

    /// Expiry of the access token that the credential is (or was made beside), in whole seconds: what
    /// counts when the credential is shown as a bearer.
    #[must_use]
    pub fn bearer_expires_at(&self) -> Timestamp {
        self.bearer_expires_at.timestamp()
    }

    /// Credentials that still open it for the grace time.
    #[must_use]
    pub fn previous(&self) -> &[Previous] {
        self.history
            .as_ref()
            .map_or(&[], |history| &history.previous)
    }

    /// The tokens, copied out.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens {
            access_token: self.packed.token(Field::AccessToken).unwrap_or_default(),
            refresh_token: self.packed.token(Field::RefreshToken),
            id_token: self.packed.token(Field::IdToken),
            access_expires_at: self.access_expires_at,
        }
    }

    /// True when there is a refresh token.
    #[must_use]
    pub fn has_refresh_token(&self) -> bool {
        self.packed.has(Field::RefreshToken)
    }

    /// Expiry of the access token inside.
    #[must_use]
    pub fn access_expires_at(&self) -> Timestamp {
        self.access_expires_at
    }

    /// Compares with the refresh token inside, in constant time.
    #[must_use]
    pub fn is_refresh_token(&self, value: &str) -> bool {
        let token = self.packed.token(Field::RefreshToken);
        token.is_some_and(|token| {
            token
                .expose_secret()
                .as_bytes()
                .ct_eq(value.as_bytes())
                .into()
        })
    }

    /// Compares with the refresh token that the latest refresh replaced, within the grace time.
    #[must_use]
    pub fn is_previous_refresh_token(&self, value: &str, now: Timestamp) -> bool {
        self.history
            .as_ref()
            .and_then(|history| history.refresh_token)
            .is_some_and(|previous| {
                previous.valid_until > now && previous.hash == Credential::of(value.as_bytes())
            })
    }

    /// Did the latest refresh come within the grace time, and has the credential not been replaced since?
    /// Then its tokens are still to be handed to whoever asked for them.
    #[must_use]
    pub fn has_tokens_to_hand_over(&self, now: Timestamp) -> bool {
        let latest = self
            .history
            .as_ref()
            .and_then(|history| history.refresh_token);
        latest.is_some_and(|latest| {
            let replaced = |previous: &Previous| previous.valid_until >= latest.valid_until;
            latest.valid_until > now && !self.previous().iter().any(replaced)
        })
    }

    /// The identity provider's session.
    #[must_use]
    pub fn identity_provider_session(&self) -> Option<&str> {
        Some(self.packed.text(Field::IdentityProviderSession)).filter(|text| !text.is_empty())
    }

    /// Application data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.packed.get(Field::Data)
    }

    /// When the person signed in, in whole seconds.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at.timestamp()
    }

    /// When the session was last used: a minute stale at most, or a twentieth of the idle limit.
    #[must_use]
    pub fn last_seen_at(&self) -> Timestamp {
        Seconds(self.last_seen_at.load(Ordering::Relaxed)).timestamp()
    }

    /// The instant from which it is over: absolute and idle limits, and the access token's expiry
    /// where there is no refresh token.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        let mut end = self.ends_at.timestamp();
        if self.idle_seconds > 0 {
            end = end.min(
                self.last_seen_at()
                    .after(Duration::from_secs(self.idle_seconds.into())),
            );
        }
        if !self.has_refresh_token() {
            end = end.min(self.access_expires_at);
        }
        end
    }

    /// Is it over?
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }

    /// Does this credential open it: the current one, or a previous one within its grace time?
    #[must_use]
    pub fn is_opened_by(&self, credential: &Credential, now: Timestamp) -> bool {
        self.credential == *credential
            || self
                .previous()
                .iter()
                .any(|p| p.credential == *credential && p.valid_until > now)
    }

    /// Notes the use of the session. True when the note is due to be stored: it is a minute old, or a
    /// twentieth of the idle limit.
    pub fn touch(&self, now: Timestamp) -> bool {
        let every = match self.idle_seconds {
            0 => TOUCH_EVERY,
            idle => (idle / 20).max(1),
        };
        let (now, seen) = (
            Seconds::floor(now).0,
            self.last_seen_at.load(Ordering::Relaxed),
        );
        let due = now >= seen.saturating_add(every);
        if due {
            self.last_seen_at.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Takes over a use that was noted elsewhere; an earlier one changes nothing.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn seen_at_seconds(&self, seconds: u32) {
        self.last_seen_at.fetch_max(seconds, Ordering::Relaxed);
    }

    /// The instant from which it is over even if it is used all the time.
    #[cfg(feature = "redis")]
    pub(crate) fn ends_at_latest(&self) -> Timestamp {
        let end = self.ends_at.timestamp();
        if self.has_refresh_token() {
            end
        } else {
            end.min(self.access_expires_at)
        }
    }

    /// The idle limit; zero means none.
    #[cfg(feature = "redis")]
    pub(crate) fn idle_seconds(&self) -> u32 {
        self.idle_seconds
    }

    /// The latest use, in seconds since the epoch.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn last_seen_seconds(&self) -> u32 {
        self.last_seen_at.load(Ordering::Relaxed)
    }

    /// Address of the person's client at sign-in.
    #[must_use]
    pub fn ip_address(&self) -> Option<IpAddr> {
        let octets = self.packed.get(Field::IpAddress);
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
            .ok()
    }

    /// The browser at sign-in.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        Some(self.packed.text(Field::UserAgent)).filter(|text| !text.is_empty())
    }
}

fn exposed(secret: Option<&SecretString>) -> &[u8] {
    secret.map_or(&[], |secret| secret.expose_secret().as_bytes())
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("generation", &self.generation)
            .field("client", &self.client())
            .field("credential", &self.credential)
            .field("access_expires_at", &self.access_expires_at)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

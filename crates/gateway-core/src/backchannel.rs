//! Auth0 says that a session of its own has ended (OpenID Connect Back-Channel Logout 1.0).

use std::sync::Arc;

use auth0_api::{LogoutToken, VerifyError, unverified_claims};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Map, Value};
use sessionkit::{Credential, Session, Timestamp};

use crate::config::Client;
use crate::{Error, Gateway};

/// What stands in the record of a token that has been served; until then the instant of the first try.
const DONE: &[u8] = b"done";

impl Gateway {
    /// Ends the sessions that a logout token is about: those of its `sid`, or, without one, all of its
    /// `sub`. Says how many there were.
    ///
    /// A token serves once; one that could not be served to its end may be sent again. It ends sessions of
    /// its own tenant alone.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a token that does not hold or was used before, [`Error::Unavailable`]
    /// when the tenant's keys cannot be had, [`Error::Store`].
    pub async fn backchannel_logout(&self, token: &str) -> Result<usize, Error> {
        let refused = |why: &str| Error::BadRequest(format!("logout_token is not valid: {why}"));
        let unverified = unverified_claims(token).ok_or_else(|| refused("no signed token"))?;
        let client = self
            .client_named_by(&unverified)
            .ok_or_else(|| refused("for none of the clients"))?;
        let now = self.sessions.now();
        let claims = self
            .verifier
            .logout_token(
                &client.application,
                &LogoutToken::new(token),
                &client.signing_algorithms,
                now.to_utc(),
            )
            .await
            .map_err(|error| match error {
                VerifyError::Invalid(fault) => refused(&fault.to_string()),
                VerifyError::KeysUnavailable(error) => error.into(),
                error => Error::Internal(Box::new(error)),
            })?;
        let issuer = client.application.tenant.issuer();
        let until = claims.expires_at.unix_timestamp().saturating_mul(1000);
        let until = Timestamp::from_unix_millis(until);
        let key = Credential::of(format!("{issuer} {}", claims.jti).as_bytes());
        let key = record_key("logout", &key);
        let (version, meant) = self
            .begin_logout(&key, until, now)
            .await?
            .ok_or_else(|| refused("used before"))?;
        let store = self.sessions.store();
        let sessions = match (&claims.sid, &claims.subject) {
            (Some(sid), _) => {
                store
                    .sessions_by_identity_provider_session(sid, now)
                    .await?
            }
            (None, Some(subject)) => {
                self.refuse_adoption(issuer, subject).await?;
                store.sessions_of(subject, now).await?
            }
            (None, None) => Vec::new(),
        };
        let mut ended = 0;
        for session in sessions {
            let same_person = claims
                .subject
                .as_deref()
                .is_none_or(|subject| subject == session.subject());
            if same_person
                && meant.is_none_or(|meant| session.created_at() <= meant)
                && self.is_of_tenant(&session, issuer)
            {
                let last = store.end(session.subject(), session.id(), now).await?;
                if let Some(last) = last {
                    self.revoke_later(&last);
                    ended += 1;
                }
            }
        }
        // Where somebody else was faster, the same has been written.
        self.records
            .swap_record(&key, version, Bytes::from_static(DONE), until, now)
            .await?;
        Ok(ended)
    }

    /// Notes that a logout token is being served, so that a failure on the way leaves it good. Gives the
    /// note's version, and on a further try the last instant of the sessions that the first one meant;
    /// `None` when the token has been served.
    async fn begin_logout(
        &self,
        key: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<(u64, Option<Timestamp>)>, Error> {
        let begun = now.unix_millis().to_string();
        if let Some(version) = self
            .records
            .create_record(key, begun.into(), until, now)
            .await?
        {
            return Ok(Some((version, None)));
        }
        let Some(stored) = self.records.record(key, now).await? else {
            // It has run out in this moment, and the token with it.
            return Ok(None);
        };
        let begun = std::str::from_utf8(&stored.value).ok();
        Ok(begun.and_then(|text| text.parse().ok()).map(|millis| {
            // Replicas' clocks differ; a sign-in well after the first try is none it was about.
            let begun = Timestamp::from_unix_millis(millis);
            (
                stored.version,
                Some(begun.after(self.settings.id_token_leeway)),
            )
        }))
    }

    /// The client whose application a token of this tenant was issued for.
    fn client_named_by(&self, claims: &Map<String, Value>) -> Option<&Arc<Client>> {
        let issuer = claims.get("iss")?.as_str()?;
        let audience = claims.get("aud")?;
        let names = |id: &str| match audience {
            Value::String(given) => given == id,
            Value::Array(given) => given.iter().any(|given| given == id),
            _ => false,
        };
        self.clients.by_name.values().find(|client| {
            client.application.tenant.issuer() == issuer && names(&client.application.client_id)
        })
    }

    fn is_of_tenant(&self, session: &Session, issuer: &str) -> bool {
        let client = self.clients.by_name.get(session.client());
        client.is_some_and(|client| client.application.tenant.issuer() == issuer)
    }
}

/// The name of a record about something that is itself not to be read there.
pub(crate) fn record_key(what: &str, about: &Credential) -> String {
    format!("{what}/{}", URL_SAFE_NO_PAD.encode(about.hash()))
}

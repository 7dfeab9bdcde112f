//! Swap day: a token that the service before this one handed out becomes a session, once.

use std::sync::Arc;
use std::time::Duration;

use auth0_api::{AccessToken, VerifyError, unverified_claims};
use secrecy::SecretString;
use serde_json::Value;
use sessionkit::{Credential, OpenError, Presented, Session, SignIn, Timestamp, Tokens, Verdict};

use crate::config::Client;
use crate::gateway::Caller;
use crate::{Error, Gateway};

/// How long a request waits for another that adopts the same token.
const WAIT: Duration = Duration::from_secs(2);

impl Gateway {
    /// May this value, which no session knows, be a token to adopt?
    pub(crate) fn may_adopt(&self, value: &[u8]) -> bool {
        self.settings.adopt_bearer.is_some()
            && value.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Makes a session of an access token that verifies against the tenant's keys: issuer, audience,
    /// expiry, client, and issued no longer ago than `ADOPT_BEARER_SECONDS`. Each token is adopted once:
    /// a session that was ended does not come back by the same token.
    ///
    /// # Errors
    /// [`Error::NoSession`] for anything else, [`Error::Unavailable`] when Auth0 cannot be asked now,
    /// [`Error::Store`].
    pub(crate) async fn adopt(
        &self,
        value: &[u8],
        presented: Presented,
        caller: &Caller,
    ) -> Result<Arc<Session>, Error> {
        let window = self.settings.adopt_bearer.ok_or(Error::NoSession)?;
        let token = std::str::from_utf8(value).map_err(|_| Error::NoSession)?;
        let unverified = unverified_claims(token).ok_or(Error::NoSession)?;
        let claim = |name: &str| unverified.get(name).and_then(Value::as_str);
        let party = claim("azp").or(claim("client_id"));
        // By cookie it was a website's; by bearer one that keeps its tokens itself.
        let website = presented == Presented::Cookie;
        let suits = |client: &&Arc<Client>| {
            Some(client.application.tenant.issuer()) == claim("iss")
                && Some(client.application.client_id.as_str()) == party
                && client.audience.is_some()
        };
        let clients = || self.clients.by_name.values().filter(suits);
        let client = clients()
            .find(|client| client.website == website)
            .or_else(|| clients().next())
            .ok_or(Error::NoSession)?;
        let audience = client.audience.as_deref().ok_or(Error::NoSession)?;
        let access_token = AccessToken::new(token);
        let now = self.sessions.now();
        let claims = self
            .verifier
            .access_token(
                &client.application,
                &access_token,
                audience,
                &client.signing_algorithms,
                now.to_utc(),
            )
            .await
            .map_err(|error| match error {
                VerifyError::Invalid(fault) => {
                    tracing::debug!(%fault, "a token was not adopted");
                    Error::NoSession
                }
                VerifyError::KeysUnavailable(error) => error.into(),
                error => Error::Internal(Box::new(error)),
            })?;
        let millis = |seconds: i64| Timestamp::from_unix_millis(seconds.saturating_mul(1000));
        let issued_at = millis(claims.issued_at.unix_timestamp());
        let expires_at = millis(claims.expires_at.unix_timestamp());
        if now.since(issued_at) > window {
            return Err(Error::NoSession);
        }
        let credential = Credential::of(value);
        // The profile was in an ID token that nobody has any more.
        let profile = self
            .api
            .user_info(&client.application.tenant, &access_token)
            .await
            .map_err(|error| match error {
                auth0_api::Error::Refused(_) => Error::NoSession,
                error => error.into(),
            })?;
        if profile.get("sub").and_then(Value::as_str) != Some(&claims.subject) {
            return Err(Error::NoSession);
        }
        let key = Credential::of(format!("adopt {token}").as_bytes());
        if !self.one_time.claim(key, expires_at, now).await? {
            return self.adopted_meanwhile(&credential, presented).await;
        }
        let data = self.render(profile, &access_token);
        let sign_in = SignIn {
            subject: claims.subject,
            client: client.name.clone(),
            credential,
            tokens: Tokens {
                access_token: SecretString::from(token.to_owned()),
                refresh_token: None,
                id_token: None,
                access_expires_at: expires_at,
            },
            identity_provider_session: None,
            data,
            ip_address: caller.ip_address,
            user_agent: caller.user_agent.clone(),
        };
        match self.sessions.open(sign_in).await {
            Ok(session) => Ok(session),
            Err(OpenError::CredentialTaken) => self.adopted_meanwhile(&credential, presented).await,
            Err(OpenError::Store(error)) => Err(error.into()),
            Err(error) => Err(Error::Internal(Box::new(error))),
        }
    }

    /// The session that another request has made of the token just now, if it has not ended.
    async fn adopted_meanwhile(
        &self,
        credential: &Credential,
        presented: Presented,
    ) -> Result<Arc<Session>, Error> {
        const PAUSE: Duration = Duration::from_millis(50);
        let until = tokio::time::Instant::now() + WAIT;
        loop {
            match self.sessions.check(credential, presented).await? {
                Verdict::Live(session) => return Ok(session),
                Verdict::RunOut(_) | Verdict::Expired(_) => return Err(Error::NoSession),
                Verdict::Unknown if tokio::time::Instant::now() < until => {}
                Verdict::Unknown => return Err(Error::NoSession),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

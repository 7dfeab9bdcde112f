//! Swap day: a token that the service before this one handed out becomes a session, once.

use std::sync::Arc;
use std::time::Duration;

use auth0_api::{AccessToken, VerifyError, unverified_claims};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use sessionkit::{
    Credential, OpenError, Presented, RecordSwap, Session, SignIn, Timestamp, Tokens, Verdict,
};

use crate::backchannel::record_key;
use crate::config::Client;
use crate::gateway::Caller;
use crate::{Error, Gateway};

/// How long a request waits for another that adopts the same token.
const WAIT: Duration = Duration::from_secs(2);

/// An access token that no session knows and that may become one.
#[derive(Debug)]
pub(crate) struct Adoptable {
    pub(crate) client: Arc<Client>,
    access_token: AccessToken,
    subject: String,
    presented: Presented,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Adoptable {
    fn credential(&self) -> Credential {
        Credential::of(self.access_token.expose().as_bytes())
    }

    /// What whoever adopts it claims.
    fn adoption(&self) -> Credential {
        Credential::of(format!("adopt {}", self.access_token.expose()).as_bytes())
    }
}

impl Gateway {
    /// May this value, which no session knows, be a token to adopt?
    pub(crate) fn may_adopt(&self, value: &[u8]) -> bool {
        self.settings.adopt_bearer.is_some()
            && value.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Looks at a value that no session knows: an access token that verifies against the tenant's keys
    /// (issuer, audience, expiry, client) and was issued no longer ago than `ADOPT_BEARER_SECONDS`?
    ///
    /// # Errors
    /// [`Error::Unavailable`] when Auth0's keys cannot be had now.
    pub(crate) async fn adoptable(
        &self,
        value: &[u8],
        presented: Presented,
    ) -> Result<Option<Adoptable>, Error> {
        let (Some(window), true) = (self.settings.adopt_bearer, self.may_adopt(value)) else {
            return Ok(None);
        };
        let Ok(token) = std::str::from_utf8(value) else {
            return Ok(None);
        };
        let Some((client, audience)) = self.adopting_client(token, presented) else {
            return Ok(None);
        };
        let access_token = AccessToken::new(token);
        let now = self.sessions.now();
        let claims = match self
            .verifier
            .access_token(
                &client.application,
                &access_token,
                audience,
                &client.signing_algorithms,
                now.to_utc(),
            )
            .await
        {
            Ok(claims) => claims,
            Err(VerifyError::Invalid(fault)) => {
                tracing::debug!(%fault, "a token was not adopted");
                return Ok(None);
            }
            Err(VerifyError::KeysUnavailable(error)) => return Err(error.into()),
            Err(error) => return Err(Error::Internal(Box::new(error))),
        };
        let millis = |seconds: i64| Timestamp::from_unix_millis(seconds.saturating_mul(1000));
        let issued_at = millis(claims.issued_at.unix_timestamp());
        Ok((now.since(issued_at) <= window).then(|| Adoptable {
            client: Arc::clone(client),
            access_token,
            subject: claims.subject,
            presented,
            issued_at,
            expires_at: millis(claims.expires_at.unix_timestamp()),
        }))
    }

    /// The client that a token claims to be for, and its audience. Several may share an id.
    fn adopting_client(&self, token: &str, presented: Presented) -> Option<(&Arc<Client>, &str)> {
        let unverified = unverified_claims(token)?;
        let claim = |name: &str| unverified.get(name).and_then(Value::as_str);
        let party = claim("azp").or(claim("client_id"));
        let meant = |audience: &str| match unverified.get("aud") {
            Some(Value::String(given)) => given == audience,
            Some(Value::Array(given)) => given.iter().any(|given| given == audience),
            _ => false,
        };
        let suits = |client: &&Arc<Client>| {
            Some(client.application.tenant.issuer()) == claim("iss")
                && Some(client.application.client_id.as_str()) == party
                && client.audience.as_deref().is_some_and(meant)
        };
        let clients = || self.clients.by_name.values().filter(suits);
        // By cookie it was a website's; by bearer one that keeps its tokens itself.
        let website = presented == Presented::Cookie;
        let client = clients()
            .find(|client| client.website == website)
            .or_else(|| clients().next())?;
        Some((client, client.audience.as_deref()?))
    }

    /// Makes a session of an [`Adoptable`] token. Each is adopted once: a session that was ended does not
    /// come back by the same token.
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
        let token = self
            .adoptable(value, presented)
            .await?
            .ok_or(Error::NoSession)?;
        if self.is_signed_out(&token).await? {
            return Err(Error::NoSession);
        }
        // The profile was in an ID token that nobody has any more.
        let profile = self
            .api
            .user_info(&token.client.application.tenant, &token.access_token)
            .await
            .map_err(|error| match error {
                auth0_api::Error::Refused(_) => Error::NoSession,
                error => error.into(),
            })?;
        if profile.get("sub").and_then(Value::as_str) != Some(&token.subject) {
            return Err(Error::NoSession);
        }
        let now = self.sessions.now();
        if !self
            .one_time
            .claim(token.adoption(), token.expires_at, now)
            .await?
        {
            return self.adopted_meanwhile(&token).await;
        }
        let data = self.render(profile, &token.access_token);
        let sign_in = SignIn {
            subject: token.subject.clone(),
            client: token.client.name.clone(),
            credential: token.credential(),
            tokens: Tokens {
                access_token: SecretString::from(token.access_token.expose().to_owned()),
                refresh_token: None,
                id_token: None,
                access_expires_at: token.expires_at,
            },
            identity_provider_session: None,
            data,
            ip_address: caller.ip_address,
            user_agent: caller.user_agent.clone(),
        };
        let session = match self.sessions.open(sign_in).await {
            Ok(session) => session,
            Err(OpenError::CredentialTaken) => return self.adopted_meanwhile(&token).await,
            Err(OpenError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(Error::Internal(Box::new(error))),
        };
        // All sessions of the person may have ended between the first look and this one's beginning.
        if self.is_signed_out(&token).await? {
            self.sign_out(&session).await?;
            return Err(Error::NoSession);
        }
        Ok(session)
    }

    /// Signs out by a token that is no session yet: it never becomes one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn forgo(&self, token: &Adoptable) -> Result<(), Error> {
        let now = self.sessions.now();
        if self
            .one_time
            .claim(token.adoption(), token.expires_at, now)
            .await?
        {
            return Ok(());
        }
        // Another request was faster: it has adopted the token, or is about to.
        match self.adopted_meanwhile(token).await {
            Ok(session) => self.sign_out(&session).await,
            Err(Error::NoSession) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Before all sessions of a person at a tenant end: the tokens issued for them until now are not
    /// adopted any more.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn refuse_adoption(&self, issuer: &str, subject: &str) -> Result<(), Error> {
        const TRIES: u32 = 8;
        let Some(window) = self.settings.adopt_bearer else {
            return Ok(());
        };
        let (key, now) = (signed_out(issuer, subject), self.sessions.now());
        let value = || Bytes::from(now.unix_millis().to_string());
        // A second more: issue times are whole ones.
        let until = now.after(window).after(Duration::from_secs(1));
        for _ in 0..TRIES {
            let created = self
                .records
                .create_record(&key, value(), until, now)
                .await?;
            if created.is_some() {
                return Ok(());
            }
            if let Some(stored) = self.records.record(&key, now).await?
                && let RecordSwap::Stored(_) = self
                    .records
                    .swap_record(&key, stored.version, value(), until, now)
                    .await?
            {
                return Ok(());
            }
        }
        Err(Error::Unavailable {
            retry_after: Some(Duration::from_secs(1)),
            source: None,
        })
    }

    /// Have all sessions of the token's person ended since it was issued?
    async fn is_signed_out(&self, token: &Adoptable) -> Result<bool, Error> {
        let issuer = token.client.application.tenant.issuer();
        let key = signed_out(issuer, &token.subject);
        let stored = self.records.record(&key, self.sessions.now()).await?;
        Ok(stored.is_some_and(|stored| {
            let millis = std::str::from_utf8(&stored.value).map(str::parse);
            // One that cannot be read refuses all.
            !matches!(millis, Ok(Ok(at)) if token.issued_at > Timestamp::from_unix_millis(at))
        }))
    }

    /// The session that another request has made of the token just now, if it has not ended.
    async fn adopted_meanwhile(&self, token: &Adoptable) -> Result<Arc<Session>, Error> {
        const PAUSE: Duration = Duration::from_millis(50);
        let credential = token.credential();
        let until = tokio::time::Instant::now() + WAIT;
        loop {
            match self.sessions.check(&credential, token.presented).await? {
                Verdict::Live(session) => return Ok(session),
                Verdict::RunOut(_) | Verdict::Expired(_) => return Err(Error::NoSession),
                Verdict::Unknown if tokio::time::Instant::now() < until => {}
                Verdict::Unknown => return Err(Error::NoSession),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The name of the record that says when all sessions of a person ended.
fn signed_out(issuer: &str, subject: &str) -> String {
    record_key(
        "signed-out",
        &Credential::of(format!("{issuer} {subject}").as_bytes()),
    )
}

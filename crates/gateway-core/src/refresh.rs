//! Staying signed in: the refresh that a check needs, and the one a caller asks for.

use std::sync::Arc;

use async_trait::async_trait;
use auth0_api::{Grant, IdTokenExpectations, RefreshToken, VerifyError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sessionkit::{
    Credential, Presented, RefreshError, RefreshFailure, Refreshed, Refresher, Replaced, Session,
    StoreError, Tokens, Verdict,
};

use crate::config::{Client, SessionCookieValue};
use crate::error::BoxError;
use crate::gateway::Gateway;
use crate::profile::stored_claims;
use crate::sign_in::{Issued, next_second, note_fault, stored};
use crate::{Error, cookies, refusal};

/// A caller's own refresh (`POST /refreshtoken`).
#[derive(Clone, Copy, Debug)]
pub struct RefreshRequest<'a> {
    /// The bearer's or cookie's value, which names the session.
    pub value: &'a str,
    /// Which of the two it is.
    pub presented: Presented,
    /// The refresh token; by cookie it may be left out, and the stored one serves.
    pub refresh_token: Option<&'a str>,
    /// The client that the request names, if any.
    pub client: Option<&'a Client>,
}

impl Gateway {
    /// Refreshes a session on the caller's own wish. The answer's credential takes the place of the
    /// presented one, which still serves for the grace time.
    ///
    /// A caller that comes late, with the credential or refresh token that the latest refresh replaced,
    /// gets that refresh's result.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::ForeignRefreshToken`], [`Error::BadRequest`] without any refresh
    /// token, [`Error::Unavailable`], [`Error::Store`].
    pub async fn refresh(
        self: &Arc<Self>,
        request: RefreshRequest<'_>,
    ) -> Result<(Issued, Arc<Client>), Error> {
        let credential = Credential::of(request.value.as_bytes());
        let session = match self.sessions.check(&credential, request.presented).await? {
            Verdict::Live(session) | Verdict::RunOut(session) | Verdict::Expired(session) => {
                session
            }
            Verdict::Unknown => return Err(Error::NoSession),
        };
        let client = self.client_of(&session)?;
        if request
            .client
            .is_some_and(|named| named.name != client.name)
        {
            return Err(Error::NoSession);
        }
        let now = self.sessions.now();
        let current = session.credential() == credential;
        // Who comes between a refresh and the new credential gets what the refresh brought. A value that
        // is the access token itself tells by that; random bits by the times.
        let opaque = request.presented == Presented::Cookie
            && client.session_cookie == SessionCookieValue::Opaque;
        let is_newest = || {
            let token = session.tokens().access_token;
            !opaque && Credential::of(token.expose_secret().as_bytes()) == credential
        };
        let late = !current || (session.has_tokens_to_hand_over(now) && !is_newest());
        let wanted = match request.refresh_token {
            // The latest refresh left it as it was: the credential tells who is late.
            Some(token) if session.is_previous_refresh_token(token, now) && late => false,
            Some(token) if session.is_refresh_token(token) => true,
            Some(token) if session.is_previous_refresh_token(token, now) => false,
            Some(_) => return Err(Error::ForeignRefreshToken),
            None if request.presented == Presented::Cookie && session.has_refresh_token() => !late,
            None => return Err(Error::BadRequest("refresh_token is required".to_owned())),
        };
        let session = if wanted {
            self.refreshed(&session).await?
        } else {
            session
        };
        let issued = self
            .hand_over(session, request.value, request.presented, &client)
            .await?;
        Ok((issued, client))
    }

    /// Refreshes a session's tokens under the same credential, once for all who ask.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub(crate) async fn refreshed(
        self: &Arc<Self>,
        seen: &Arc<Session>,
    ) -> Result<Arc<Session>, Error> {
        let refresher = Arc::new(TokenRefresher {
            gateway: Arc::clone(self),
        });
        // The refresh goes on by itself when the tenant takes longer; whoever asks again gets its result.
        let patience = self.settings.request_timeout * 5 / 6;
        let refresh = tokio::time::timeout(patience, self.sessions.refresh(seen, refresher));
        let outcome = refresh.await.map_err(|_| Error::Unavailable {
            retry_after: None,
            source: Some("the refresh is still under way".into()),
        })?;
        outcome.map_err(|error| match error {
            RefreshError::Ended(_) | RefreshError::NoRefreshToken => Error::NoSession,
            RefreshError::Unavailable {
                retry_after,
                source,
            } => Error::Unavailable {
                retry_after,
                source: Some(Box::new(source)),
            },
            RefreshError::Store(error) => Error::Store(StoreError(Box::new(error))),
            error => Error::Internal(Box::new(error)),
        })
    }

    /// Makes the session open to a value that the caller can be given.
    async fn hand_over(
        self: &Arc<Self>,
        mut session: Arc<Session>,
        presented_value: &str,
        presented: Presented,
        client: &Arc<Client>,
    ) -> Result<Issued, Error> {
        const TRIES: u32 = 8;
        let presented_credential = Credential::of(presented_value.as_bytes());
        for _ in 0..TRIES {
            let tokens = session.tokens();
            let opaque = presented == Presented::Cookie
                && client.session_cookie == SessionCookieValue::Opaque;
            let (value, succession) = if opaque {
                let known = session
                    .previous()
                    .iter()
                    .find(|previous| previous.credential == presented_credential)
                    .map(|previous| previous.succession)
                    .map(|succession| (successor(&succession, presented_value), succession))
                    .filter(|(value, _)| Credential::of(value.as_bytes()) == session.credential());
                match known {
                    Some(known) => known,
                    None => {
                        let succession = random_bits()?;
                        (successor(&succession, presented_value), succession)
                    }
                }
            } else {
                (tokens.access_token.expose_secret().to_owned(), [0; 32])
            };
            if presented == Presented::Cookie {
                cookies::check_size(client, &value)?;
            }
            let credential = Credential::of(value.as_bytes());
            if session.credential() == credential {
                return Ok(issue(presented, client, value, tokens));
            }
            match self
                .sessions
                .replace_credential(&session, credential, succession)
                .await?
            {
                Replaced::Done(stored) => {
                    return Ok(issue(presented, client, value, stored.tokens()));
                }
                Replaced::Lost(stored) => session = stored,
                Replaced::Ended => return Err(Error::NoSession),
                // Another session of this person got the same bytes in the same second.
                Replaced::Taken(stored) => {
                    next_second().await;
                    session = self.refreshed(&stored).await?;
                }
            }
        }
        Err(Error::Unavailable {
            retry_after: None,
            source: Some(BoxError::from(
                "the session is being replaced by too many at once",
            )),
        })
    }

    /// The configured client of a session.
    pub(crate) fn client_of(&self, session: &Session) -> Result<Arc<Client>, Error> {
        self.clients
            .by_name
            .get(session.client())
            .cloned()
            .ok_or(Error::UnknownClient)
    }
}

fn issue(presented: Presented, client: &Arc<Client>, value: String, tokens: Tokens) -> Issued {
    match presented {
        Presented::Bearer => Issued::Tokens(tokens),
        Presented::Cookie => Issued::Cookie {
            value: SecretString::from(value),
            client: Arc::clone(client),
        },
    }
}

/// The opaque value that follows another. Whoever shows the old one within the grace time gets the
/// same new one, although the store holds neither: it takes both the old value and the stored bits.
fn successor(succession: &[u8; 32], old: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, succession);
    URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, old.as_bytes()))
}

fn random_bits() -> Result<[u8; 32], Error> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(bits)
}

/// Buys new tokens at Auth0.
struct TokenRefresher {
    gateway: Arc<Gateway>,
}

#[async_trait]
impl Refresher for TokenRefresher {
    async fn refresh(&self, session: &Session) -> Result<Refreshed, RefreshFailure> {
        let gateway = &self.gateway;
        let unavailable = |error: auth0_api::Error| RefreshFailure::Unavailable {
            retry_after: error.retry_after(),
            source: Arc::new(error),
        };
        let client = gateway
            .client_of(session)
            .map_err(|error| RefreshFailure::Unavailable {
                retry_after: None,
                source: Arc::new(error),
            })?;
        let old = session.tokens();
        let Some(refresh_token) = old.refresh_token else {
            return Err(RefreshFailure::Refused(Arc::new(Error::NoSession)));
        };
        // Keys first: what comes back must be checked before it is believed.
        gateway
            .verifier
            .prepare(&client.application.tenant)
            .await
            .map_err(unavailable)?;
        let asked_at = gateway.sessions.now();
        let grant = Grant::RefreshToken {
            refresh_token: RefreshToken::new(refresh_token.expose_secret()),
            scope: None,
        };
        let tokens = match gateway.api.token(&client.application, &grant).await {
            Ok(tokens) => tokens,
            Err(error) if refusal::ends_the_session(&error) => {
                return Err(RefreshFailure::Refused(Arc::new(error)));
            }
            Err(error) => {
                tracing::warn!(client = client.name, %error, "a session was not refreshed");
                return Err(unavailable(error));
            }
        };
        let stored = stored(&tokens, asked_at);
        let claims = match &tokens.id_token {
            Some(id_token) => {
                let expected = IdTokenExpectations {
                    algorithms: &client.signing_algorithms,
                    subject: Some(session.subject()),
                    ..IdTokenExpectations::default()
                };
                let now = gateway.sessions.now().to_utc();
                let checked = gateway
                    .verifier
                    .id_token(&client.application, id_token, expected, now)
                    .await;
                match checked {
                    Ok(claims) => Some(claims.all),
                    Err(VerifyError::KeysUnavailable(error)) => {
                        return Err(RefreshFailure::Unverified {
                            tokens: Tokens {
                                id_token: None,
                                ..stored
                            },
                            source: Arc::new(error),
                        });
                    }
                    Err(error) => {
                        if let VerifyError::Invalid(fault) = &error {
                            note_fault(&client, *fault);
                        }
                        // The refresh token is spent and what came for it is not to be believed.
                        if let Some(new) = tokens.refresh_token {
                            gateway.revoke(&client, new).await;
                        }
                        return Err(RefreshFailure::Refused(Arc::new(error)));
                    }
                }
            }
            // The permissions in the new access token may still be others.
            None => old
                .id_token
                .as_ref()
                .and_then(|token| stored_claims(token.expose_secret())),
        };
        let data = claims.map(|claims| gateway.render(claims, &tokens.access_token));
        Ok(Refreshed {
            tokens: stored,
            data,
        })
    }

    async fn discard(&self, session: &Session, tokens: Tokens) {
        let Ok(client) = self.gateway.client_of(session) else {
            return;
        };
        if let Some(token) = tokens.refresh_token {
            self.gateway
                .revoke(&client, RefreshToken::new(token.expose_secret()))
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_needs_both_halves() {
        let value = successor(&[7; 32], "old");
        assert_eq!(value.len(), 43);
        assert_eq!(value, successor(&[7; 32], "old"));
        assert_ne!(value, successor(&[8; 32], "old"));
        assert_ne!(value, successor(&[7; 32], "other"));
    }
}

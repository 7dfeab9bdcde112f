//! Signing in: by password, and by authorization code in two halves.

use std::sync::Arc;
use std::time::Duration;

use auth0_api::{
    AuthorizationCode, AuthorizeRequest, Grant, IdTokenClaims, IdTokenExpectations, Password,
    RefreshToken, TokenFault, TokenSet, VerifyError, random_urlsafe,
};
use secrecy::SecretString;
use sessionkit::{Credential, OpenError, Presented, Session, SignIn, Timestamp, Tokens, Verdict};
use url::Url;

use crate::config::{Client, SessionCookieValue};
use crate::error::BoxError;
use crate::gateway::{Caller, Gateway};
use crate::login_state::LoginState;
use crate::redirect::RedirectTarget;
use crate::{Error, connection, refusal};

/// What a sign-in or an explicit refresh hands to the caller.
#[derive(Clone, Debug)]
pub enum Issued {
    /// The tokens, for a client that keeps them itself.
    Tokens(Tokens),
    /// The value of the `sid` cookie.
    Cookie {
        /// The value: an access token or random bits.
        value: SecretString,
        /// The client, whose cookie attributes count.
        client: Arc<Client>,
    },
}

/// The first half of a browser sign-in, as asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Begin<'a> {
    /// The caller's own `state`; counts only where the client requires one.
    pub state: Option<&'a str>,
    /// Where to go afterwards.
    pub redirect: Option<&'a str>,
    /// The connection asked for.
    pub connection: Option<&'a str>,
    /// The binding cookie that the browser has already, from another sign-in under way.
    pub binding: Option<&'a str>,
    /// Passed on.
    pub prompt: Option<&'a str>,
    /// Passed on.
    pub login_hint: Option<&'a str>,
    /// Passed on.
    pub screen_hint: Option<&'a str>,
    /// Passed on.
    pub ui_locales: Option<&'a str>,
    /// Passed on, and checked in the ID token.
    pub organization: Option<&'a str>,
    /// Passed on.
    pub invitation: Option<&'a str>,
    /// Passed on, and checked against the ID token's `auth_time`; in seconds.
    pub max_age: Option<u64>,
}

/// A browser sign-in that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Auth0's page.
    pub location: Url,
    /// The binding cookie's value to set, where the state is bound to the browser.
    pub binding: Option<String>,
}

/// A browser sign-in that has been completed.
#[derive(Debug)]
pub struct Completed {
    /// What the caller gets.
    pub issued: Issued,
    /// The target asked for at the beginning.
    pub redirect: Option<String>,
}

/// The second half: what came back from Auth0.
#[derive(Clone, Copy, Debug)]
pub struct Callback<'a> {
    /// The code.
    pub code: &'a str,
    /// The state.
    pub state: &'a str,
    /// The client that the request is for; `None` where the state alone says it.
    pub client: Option<&'a Client>,
    /// The binding cookie.
    pub binding: Option<&'a str>,
    /// It came to the built-in login pages: they set a cookie whatever the client's scopes say, and finish
    /// only what this browser began there.
    pub web_login: bool,
}

impl Gateway {
    /// Begins a browser sign-in. `bound`: only this browser may finish it.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a redirect, state or connection that is not allowed;
    /// [`Error::Store`].
    pub async fn begin(
        &self,
        client: &Client,
        begin: Begin<'_>,
        bound: bool,
    ) -> Result<Begun, Error> {
        let connection = connection::choose(client, begin.connection)?;
        let mut state = LoginState::new(&client.name)?;
        if let Some(redirect) = begin.redirect {
            let target = RedirectTarget::parse(redirect, &client.allowed_redirect_urls)
                .ok_or_else(|| Error::BadRequest(REDIRECT_NOT_ALLOWED.to_owned()))?;
            state.redirect = Some(target.as_str().to_owned());
        }
        state.max_age = begin.max_age;
        state.organization = begin.organization.map(str::to_owned);
        let binding = if bound {
            // A secret the browser has already serves again, so that several tabs can sign in.
            let secret = match begin.binding.filter(|value| is_binding(value)) {
                Some(known) => known.to_owned(),
                None => random()?,
            };
            state.bind(&secret);
            Some(secret)
        } else {
            None
        };
        let value = state_value(client, begin.state)?;
        state
            .store(&self.one_time, &value, self.sessions.now())
            .await?;
        let location = client.application.tenant.authorize_url(&AuthorizeRequest {
            client_id: &client.application.client_id,
            redirect_uri: client.redirect_url.as_str(),
            scope: &client.scope,
            audience: client.audience.as_deref(),
            connection,
            state: &value,
            nonce: &state.nonce,
            code_challenge: Some(state.verifier().challenge()),
            prompt: begin.prompt,
            login_hint: begin.login_hint,
            screen_hint: begin.screen_hint,
            ui_locales: begin.ui_locales,
            organization: begin.organization,
            invitation: begin.invitation,
            max_age: begin.max_age,
        });
        Ok(Begun { location, binding })
    }

    /// Completes a browser sign-in: takes the state, exchanges the code, checks the ID token, opens a
    /// session.
    ///
    /// # Errors
    /// [`Error::UnknownState`], [`Error::Refused`], [`Error::Unverified`], [`Error::Unavailable`] …
    pub async fn complete(
        &self,
        callback: Callback<'_>,
        caller: &Caller,
    ) -> Result<Completed, Error> {
        // Keys first: without them the code would be spent for nothing.
        if let Some(client) = callback.client {
            self.verifier.prepare(&client.application.tenant).await?;
        }
        let now = self.sessions.now();
        let state = LoginState::take(&self.one_time, callback.state, now).await?;
        let client = self
            .clients
            .by_name
            .get(&state.client)
            .ok_or(Error::UnknownState)?;
        if callback
            .client
            .is_some_and(|expected| expected.name != client.name)
            || !state.is_bound_to(callback.binding)
            || (callback.web_login && !(client.web_login && state.is_bound()))
        {
            return Err(Error::UnknownState);
        }
        let grant = Grant::AuthorizationCode {
            code: AuthorizationCode::new(callback.code),
            redirect_uri: client.redirect_url.as_str().to_owned(),
            code_verifier: Some(state.verifier()),
        };
        let tokens = self
            .api
            .token(&client.application, &grant)
            .await
            .map_err(refusal::of_code)?;
        let expected = IdTokenExpectations {
            nonce: Some(&state.nonce),
            max_age: state.max_age,
            organization: state.organization.as_deref(),
            ..IdTokenExpectations::default()
        };
        let cookie = client.website || callback.web_login;
        let issued = self
            .establish(client, tokens, now, expected, cookie, caller)
            .await?;
        Ok(Completed {
            issued,
            redirect: state.redirect,
        })
    }

    /// Gives up a browser sign-in that Auth0 answered with an error: its state is used up.
    ///
    /// # Errors
    /// [`Error::UnknownState`], [`Error::Store`].
    pub async fn abandon(&self, state: &str) -> Result<(), Error> {
        LoginState::take(&self.one_time, state, self.sessions.now())
            .await
            .map(drop)
    }

    /// Signs in with username and password.
    ///
    /// # Errors
    /// [`Error::Refused`] for wrong credentials, a blocked person, a second factor wanted;
    /// [`Error::RateLimited`] for Auth0's attack protection; [`Error::Unavailable`] …
    pub async fn sign_in_with_password(
        &self,
        client: &Arc<Client>,
        username: &str,
        password: Password,
        connection: Option<&str>,
        caller: &Caller,
    ) -> Result<Issued, Error> {
        let realm = connection::choose(client, connection)?.map(str::to_owned);
        let grant = Grant::Password {
            username: username.to_owned(),
            password,
            realm,
            scope: client.scope.clone(),
            audience: client.audience.clone(),
            forwarded_for: caller.ip_address.filter(|_| caller.through_trusted_proxy),
        };
        self.verifier.prepare(&client.application.tenant).await?;
        let now = self.sessions.now();
        let tokens = self
            .api
            .token(&client.application, &grant)
            .await
            .map_err(refusal::of_password)?;
        let expected = IdTokenExpectations::default();
        self.establish(client, tokens, now, expected, client.website, caller)
            .await
    }

    /// Ends the session that the browser's cookie opened before it signed in anew, so that the old
    /// value opens nothing any more.
    pub async fn end_superseded(&self, cookie: &str, issued: &Issued) {
        let Issued::Cookie { value, .. } = issued else {
            return;
        };
        if secrecy::ExposeSecret::expose_secret(value) == cookie {
            return;
        }
        let credential = Credential::of(cookie.as_bytes());
        match self.sessions.check(&credential, Presented::Cookie).await {
            Ok(Verdict::Live(session) | Verdict::RunOut(session) | Verdict::Expired(session)) => {
                if let Err(error) = self.sign_out(&session).await {
                    tracing::warn!(%error, "a superseded session was not ended");
                }
            }
            // Unless it is claimed, the next check would make a session of it.
            Ok(Verdict::Unknown) => {
                let forgone = match self.adoptable(cookie.as_bytes(), Presented::Cookie).await {
                    Ok(Some(token)) => self.forgo(&token).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = forgone {
                    tracing::warn!(%error, "a superseded token may still be adopted");
                }
            }
            Err(error) => tracing::warn!(%error, "a superseded session was not looked up"),
        }
    }

    /// Checks the ID token and opens a session with the tokens.
    async fn establish(
        &self,
        client: &Arc<Client>,
        tokens: TokenSet,
        asked_at: Timestamp,
        expected: IdTokenExpectations<'_>,
        cookie: bool,
        caller: &Caller,
    ) -> Result<Issued, Error> {
        let expected = IdTokenExpectations {
            algorithms: &client.signing_algorithms,
            ..expected
        };
        let spent = tokens.refresh_token.clone();
        let result = match self.verified(client, &tokens, expected).await {
            Ok(claims) => {
                self.open(client, tokens, asked_at, claims, cookie, caller)
                    .await
            }
            Err(error) => Err(error),
        };
        // Tokens that lead to no session must not stay good at Auth0.
        if let (Err(_), Some(refresh_token)) = (&result, spent) {
            self.revoke(client, refresh_token).await;
        }
        result
    }

    /// The claims of the ID token, if it holds.
    pub(crate) async fn verified(
        &self,
        client: &Client,
        tokens: &TokenSet,
        expected: IdTokenExpectations<'_>,
    ) -> Result<IdTokenClaims, Error> {
        let Some(id_token) = &tokens.id_token else {
            tracing::warn!(
                client = client.name,
                "Auth0 sent no ID token, although openid was asked"
            );
            return Err(Error::Unverified);
        };
        let now = self.sessions.now().to_utc();
        self.verifier
            .id_token(&client.application, id_token, expected, now)
            .await
            .map_err(|error| match error {
                VerifyError::KeysUnavailable(error) => Error::from(error),
                VerifyError::Invalid(fault) => {
                    note_fault(client, fault);
                    Error::Unverified
                }
                other => Error::Internal(Box::new(other)),
            })
    }

    async fn open(
        &self,
        client: &Arc<Client>,
        mut tokens: TokenSet,
        mut asked_at: Timestamp,
        mut claims: IdTokenClaims,
        cookie: bool,
        caller: &Caller,
    ) -> Result<Issued, Error> {
        const TRIES: u32 = 8;
        for attempt in 1..=TRIES {
            let data = self.render(claims.all.clone(), &tokens.access_token);
            let stored = stored(&tokens, asked_at);
            let issued = if cookie {
                let value = match client.session_cookie {
                    SessionCookieValue::Token => tokens.access_token.expose().to_owned(),
                    SessionCookieValue::Opaque => random()?,
                };
                crate::cookies::check_size(client, &value)?;
                Issued::Cookie {
                    value: SecretString::from(value),
                    client: Arc::clone(client),
                }
            } else {
                Issued::Tokens(stored.clone())
            };
            let sign_in = SignIn {
                subject: claims.subject.clone(),
                client: client.name.clone(),
                credential: issued.credential(),
                tokens: stored,
                identity_provider_session: claims.sid.clone(),
                data,
                ip_address: caller.ip_address,
                user_agent: caller.user_agent.clone(),
            };
            let credential = sign_in.credential;
            match self.sessions.open_until(sign_in, ceiling(&claims)).await {
                Ok(_) => return Ok(issued),
                Err(OpenError::Store(error)) => return Err(error.into()),
                Err(OpenError::CredentialTaken) if attempt < TRIES => {}
                Err(OpenError::CredentialTaken) => break,
                Err(error) => return Err(Error::Internal(Box::new(error))),
            }
            // Auth0's access tokens have no unique claim: two sign-ins of one person in one second
            // get the same bytes. A refresh in the next second makes them differ.
            let Some(refresh_token) = tokens.refresh_token.clone() else {
                return match self.opened_by(&credential).await? {
                    // Without a refresh token nothing but the token itself is shared.
                    Some(other)
                        if other.subject() == claims.subject && other.client() == client.name =>
                    {
                        Ok(issued)
                    }
                    _ => Err(Error::Internal(BoxError::from(
                        "an access token was issued twice",
                    ))),
                };
            };
            next_second().await;
            asked_at = self.sessions.now();
            tokens = self.renew(client, tokens, refresh_token).await?;
            let expected = IdTokenExpectations {
                algorithms: &client.signing_algorithms,
                subject: Some(&claims.subject),
                ..IdTokenExpectations::default()
            };
            claims = IdTokenClaims {
                sid: claims.sid.clone(),
                ..self.verified(client, &tokens, expected).await?
            };
        }
        // Each second's access token was another's: too many of one person's at once.
        Err(Error::Unavailable {
            retry_after: Some(Duration::from_secs(1)),
            source: Some(BoxError::from("each access token was issued twice")),
        })
    }

    /// One refresh outside of a session; what does not come again is kept.
    async fn renew(
        &self,
        client: &Client,
        old: TokenSet,
        refresh_token: RefreshToken,
    ) -> Result<TokenSet, Error> {
        let grant = Grant::RefreshToken {
            refresh_token,
            scope: None,
        };
        let new = self
            .api
            .token(&client.application, &grant)
            .await
            .map_err(refusal::of_code)?;
        Ok(TokenSet {
            refresh_token: new.refresh_token.or(old.refresh_token),
            id_token: new.id_token.or(old.id_token),
            ..new
        })
    }

    async fn opened_by(&self, credential: &Credential) -> Result<Option<Arc<Session>>, Error> {
        Ok(
            match self.sessions.check(credential, Presented::Cookie).await? {
                Verdict::Live(session) | Verdict::RunOut(session) | Verdict::Expired(session) => {
                    Some(session)
                }
                Verdict::Unknown => None,
            },
        )
    }
}

impl Issued {
    /// What opens the session.
    fn credential(&self) -> Credential {
        use secrecy::ExposeSecret;
        let value = match self {
            Self::Tokens(tokens) => tokens.access_token.expose_secret(),
            Self::Cookie { value, .. } => value.expose_secret(),
        };
        Credential::of(value.as_bytes())
    }
}

/// The identity provider's own end of the session, where the ID token names one (`session_expiry`, seconds
/// since the epoch; OpenID IPSIE session lifetime profile).
fn ceiling(claims: &IdTokenClaims) -> Option<Timestamp> {
    let seconds = claims.all.get("session_expiry")?.as_i64()?;
    (seconds > 0).then(|| Timestamp::from_unix_millis(seconds.saturating_mul(1000)))
}

/// Auth0's tokens as a session keeps them. Their life counts from before they were asked for.
pub(crate) fn stored(tokens: &TokenSet, asked_at: Timestamp) -> Tokens {
    let secret = |text: &str| SecretString::from(text.to_owned());
    Tokens {
        access_token: secret(tokens.access_token.expose()),
        refresh_token: tokens
            .refresh_token
            .as_ref()
            .map(|token| secret(token.expose())),
        id_token: tokens.id_token.as_ref().map(|token| secret(token.expose())),
        access_expires_at: asked_at.after(tokens.expires_in),
    }
}

/// Waits until it is another second at Auth0, whose clock need not agree with ours: a whole one.
pub(crate) async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1010)).await;
}

pub(crate) fn random() -> Result<String, Error> {
    random_urlsafe().map_err(|error| Error::Internal(Box::new(error)))
}

pub(crate) fn note_fault(client: &Client, fault: TokenFault) {
    tracing::warn!(client = client.name, %fault, "an ID token was not accepted");
}

/// The caller's state where the client requires one, else a fresh one.
fn state_value(client: &Client, given: Option<&str>) -> Result<String, Error> {
    if !client.authorize_state_required {
        return random();
    }
    match given {
        Some(state) if (8..=512).contains(&state.chars().count()) => Ok(state.to_owned()),
        Some(_) => Err(Error::BadRequest(
            "state must have 8 to 512 characters".to_owned(),
        )),
        None => Err(Error::BadRequest(
            "state is required for this client".to_owned(),
        )),
    }
}

/// Is it a value that we could have set?
fn is_binding(value: &str) -> bool {
    value.len() == 43
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

const REDIRECT_NOT_ALLOWED: &str = "redirect is not allowed: give a path on this host, or a URL whose \
     origin and path are in this client's allowedRedirectUrls";

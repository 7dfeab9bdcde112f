//! The adapter over reqwest: the one place that sends.

use std::time::Duration;

use async_trait::async_trait;

use crate::keys::KeySet;
use crate::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, Grant, RefreshToken,
    Tenant, TokenSet,
};

/// How [`Auth0Client`] sends.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Longest time for one call, connection included. 10 s by default.
    pub timeout: Duration,
    /// Longest body that is read, in bytes. 1 MiB by default.
    pub max_body_bytes: usize,
    /// Extra certificate authorities, as PEM; the platform's serve too.
    pub extra_roots_pem: Vec<u8>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_body_bytes: 1 << 20,
            extra_roots_pem: Vec::new(),
        }
    }
}

/// Speaks to Auth0 over HTTPS: time-outs, no redirects, a bounded body.
#[derive(Clone, Debug)]
pub struct Auth0Client {
    #[expect(dead_code, reason = "skeleton")]
    http: reqwest::Client,
}

impl Auth0Client {
    /// A client with its own connection pool.
    ///
    /// # Errors
    /// [`Error::Transport`] when the extra authorities are no PEM, or TLS can't be set up.
    pub fn new(_settings: ClientSettings) -> Result<Self, Error> {
        todo!()
    }
}

#[async_trait]
impl AuthenticationApi for Auth0Client {
    async fn token(&self, _application: &Application, _grant: &Grant) -> Result<TokenSet, Error> {
        todo!()
    }

    async fn revoke(
        &self,
        _application: &Application,
        _refresh_token: &RefreshToken,
    ) -> Result<(), Error> {
        todo!()
    }

    async fn change_password(
        &self,
        _application: &Application,
        _request: &ChangePassword,
    ) -> Result<(), Error> {
        todo!()
    }

    async fn user_info(
        &self,
        _tenant: &Tenant,
        _access_token: &AccessToken,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        todo!()
    }

    async fn key_set(&self, _tenant: &Tenant) -> Result<KeySet, Error> {
        todo!()
    }
}

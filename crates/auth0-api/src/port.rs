//! The port: what Auth0's Authentication API offers.

use async_trait::async_trait;

use crate::keys::KeySet;
use crate::{AccessToken, Application, Error, Grant, RefreshToken, Tenant, TokenSet};

/// Auth0's Authentication API.
#[cfg_attr(any(test, feature = "testing"), mockall::automock)]
#[async_trait]
pub trait AuthenticationApi: Send + Sync + std::fmt::Debug {
    /// Exchanges a grant for tokens (`POST /oauth/token`).
    async fn token(&self, application: &Application, grant: &Grant) -> Result<TokenSet, Error>;

    /// Revokes a refresh token (`POST /oauth/revoke`). `Ok` is no proof that it was known.
    async fn revoke(
        &self,
        application: &Application,
        refresh_token: &RefreshToken,
    ) -> Result<(), Error>;

    /// Asks for a password-reset mail (`POST /dbconnections/change_password`).
    async fn change_password(
        &self,
        application: &Application,
        request: &ChangePassword,
    ) -> Result<(), Error>;

    /// The claims behind an access token (`GET /userinfo`). Auth0 limits this to 5 a minute per
    /// person: not for every request.
    async fn user_info(
        &self,
        tenant: &Tenant,
        access_token: &AccessToken,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Error>;

    /// The tenant's signing keys (`GET /.well-known/jwks.json`).
    async fn key_set(&self, tenant: &Tenant) -> Result<KeySet, Error>;
}

/// A request for a password-reset mail.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// The person's address.
    pub email: String,
    /// Name of the database connection.
    pub connection: Option<String>,
}

//! What the token endpoint answers.

use std::time::Duration;

use crate::{AccessToken, IdToken, RefreshToken};

/// A successful answer of the token endpoint (RFC 6749, section 5.1).
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token: a JWT, or opaque when no audience was asked for.
    pub access_token: AccessToken,
    /// There when `openid` was granted.
    pub id_token: Option<IdToken>,
    /// There when `offline_access` was granted; on a refresh only with rotation.
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives from now.
    pub expires_in: Duration,
    /// Granted scopes, where Auth0 names them.
    pub scope: Option<String>,
}

//! What can be exchanged for tokens.

use std::net::IpAddr;

use crate::{AuthorizationCode, CodeVerifier, Password, RefreshToken};

/// A grant of the token endpoint (RFC 6749, section 1.3, and Auth0's own).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Grant {
    /// `authorization_code`, with PKCE (RFC 7636).
    AuthorizationCode {
        /// The code from the callback.
        code: AuthorizationCode,
        /// The `redirect_uri` that was sent to `/authorize`.
        redirect_uri: String,
        /// The verifier whose challenge was sent to `/authorize`.
        code_verifier: Option<CodeVerifier>,
    },
    /// `password`, or, with a realm, Auth0's `password-realm`.
    Password {
        /// E-mail address, username or phone number.
        username: String,
        /// The person's password.
        password: Password,
        /// Name of the connection; without it the tenant's Default Directory serves.
        realm: Option<String>,
        /// Space-separated scopes. Always sent: without it Auth0 grants all of the API's.
        scope: String,
        /// Identifier of the API the access token is for.
        audience: Option<String>,
        /// The person's address, sent as `auth0-forwarded-for` for Auth0's attack protection.
        forwarded_for: Option<IpAddr>,
    },
    /// `refresh_token`.
    RefreshToken {
        /// The stored refresh token.
        refresh_token: RefreshToken,
        /// Narrows the scopes; `None` keeps them.
        scope: Option<String>,
    },
    /// `client_credentials`.
    ClientCredentials {
        /// Identifier of the API.
        audience: String,
        /// Space-separated scopes; `None` asks for all that were granted.
        scope: Option<String>,
    },
}

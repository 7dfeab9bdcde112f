//! What can be exchanged for tokens.

use std::net::IpAddr;

use url::form_urlencoded;

use crate::{Application, AuthorizationCode, CodeVerifier, Password, RefreshToken};

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

impl Grant {
    /// The body of `POST /oauth/token`, with the application's credentials in it
    /// (`client_secret_post`; RFC 6749, section 2.3.1).
    pub(crate) fn to_form(&self, application: &Application) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", self.grant_type())
            .append_pair("client_id", &application.client_id)
            .append_pair("client_secret", application.client_secret.expose());
        match self {
            Self::AuthorizationCode {
                code,
                redirect_uri,
                code_verifier,
            } => {
                form.append_pair("code", code.expose())
                    .append_pair("redirect_uri", redirect_uri);
                if let Some(verifier) = code_verifier {
                    form.append_pair("code_verifier", verifier.expose());
                }
            }
            Self::Password {
                username,
                password,
                realm,
                scope,
                audience,
                forwarded_for: _, // a header
            } => {
                form.append_pair("username", username)
                    .append_pair("password", password.expose())
                    .append_pair("scope", scope)
                    .extend_pairs(realm.as_ref().map(|realm| ("realm", realm)))
                    .extend_pairs(audience.as_ref().map(|audience| ("audience", audience)));
            }
            Self::RefreshToken {
                refresh_token,
                scope,
            } => {
                form.append_pair("refresh_token", refresh_token.expose())
                    .extend_pairs(scope.as_ref().map(|scope| ("scope", scope)));
            }
            Self::ClientCredentials { audience, scope } => {
                form.append_pair("audience", audience)
                    .extend_pairs(scope.as_ref().map(|scope| ("scope", scope)));
            }
        }
        form.finish()
    }

    /// The person's address, where Auth0 shall judge by it.
    pub(crate) fn forwarded_for(&self) -> Option<IpAddr> {
        match self {
            Self::Password { forwarded_for, .. } => *forwarded_for,
            _ => None,
        }
    }

    fn grant_type(&self) -> &'static str {
        match self {
            Self::AuthorizationCode { .. } => "authorization_code",
            Self::Password { realm: None, .. } => "password",
            Self::Password { realm: Some(_), .. } => PASSWORD_REALM,
            Self::RefreshToken { .. } => "refresh_token",
            Self::ClientCredentials { .. } => "client_credentials",
        }
    }
}

/// Grant type of a password grant that names its connection (the "realm").
pub const PASSWORD_REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

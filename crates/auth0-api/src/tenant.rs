//! A tenant's host name, and everything that follows from it.

use url::Url;

use crate::{AuthorizeRequest, LogoutRequest};

/// An Auth0 tenant (or its custom domain): issuer and endpoint URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    base: Url,
}

/// Why a text is no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// Neither a host name nor a URL.
    #[error("is neither a host name nor a URL")]
    Malformed,
    /// Plain http on a host that is not loopback, or another scheme.
    #[error("must use https (http is accepted for loopback hosts only)")]
    Insecure,
    /// Something beside scheme, host and port.
    #[error("must not have a path, query, fragment or user information")]
    NotBare,
}

impl Tenant {
    /// Reads a bare host (`acme.eu.auth0.com`, taken as https) or a URL with nothing but scheme,
    /// host and port. A trailing slash is accepted.
    ///
    /// # Errors
    /// [`TenantError`] says which rule is broken.
    pub fn parse(_text: &str) -> Result<Self, TenantError> {
        todo!()
    }

    /// The issuer: `https://DOMAIN/`, always with the trailing slash.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.base.as_str()
    }

    /// URL that starts a browser sign-in (`GET /authorize`).
    #[must_use]
    pub fn authorize_url(&self, _request: &AuthorizeRequest<'_>) -> Url {
        todo!()
    }

    /// URL that ends the browser's session at Auth0 (`GET /v2/logout`).
    #[must_use]
    pub fn logout_url(&self, _request: &LogoutRequest<'_>) -> Url {
        todo!()
    }

    /// URL of an endpoint below the tenant, for example `oauth/token`.
    #[must_use]
    pub(crate) fn endpoint(&self, _path: &str) -> Url {
        todo!()
    }
}

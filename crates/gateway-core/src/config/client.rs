//! What `config.json` says, as typed values.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth0_api::{Application, SigningAlgorithm, Tenant};
use sessionkit::SameSite;
use url::Url;

/// Everything in `config.json`.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The named clients (`clients.<name>`).
    pub by_name: BTreeMap<String, Arc<Client>>,
    /// Serves a request that names none (`defaultClient`).
    pub default_client: Option<Arc<Client>>,
    /// Whole names of claims that are shown under their last path segment
    /// (`customClaimsNamespaces`).
    pub custom_claims_namespaces: Vec<String>,
    /// Keys of the `secret` header (`apiKeys`); empty means that the header is ignored.
    pub api_keys: Vec<ApiKey>,
    /// The tenant's own URL, where `auth0Url` is a custom domain (`auth0TenantUrl`).
    pub tenant: Option<Tenant>,
    /// The application that administers the tenant (`managementClient`).
    pub management: Option<ManagementClient>,
}

/// One of the named clients.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name in `config.json` and in the header `client-type`.
    pub name: String,
    /// `auth0Url`, `clientId`, `clientSecret`.
    pub application: Application,
    /// `redirectUrl`: where Auth0 sends the code to.
    pub redirect_url: Url,
    /// `openid` and the configured `scopes`, without `website`, without duplicates, joined by spaces.
    pub scope: String,
    /// True when `scopes` has `website`: answers set a cookie instead of showing tokens.
    pub website: bool,
    /// `audience`: identifier of the API.
    pub audience: Option<String>,
    /// `supportedSigningAlgs`; RS256 by default.
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// `supportedConnections`; empty means all.
    pub supported_connections: Vec<String>,
    /// `defaultConnection`; always one of the supported ones, where there are any.
    pub default_connection: Option<String>,
    /// `sameSite` of the cookie.
    pub same_site: Option<SameSite>,
    /// `authorizeStateRequired`; false by default.
    pub authorize_state_required: bool,
    /// `allowedRedirectUrls`: origin and path are compared.
    pub allowed_redirect_urls: Vec<Url>,
    /// `sessionCookie`: `token` by default.
    pub session_cookie: SessionCookieValue,
    /// `bindStateToBrowser`; false by default.
    pub bind_state_to_browser: bool,
    /// `webLogin`; false by default.
    pub web_login: bool,
    /// `revokeOnLogout`; true by default.
    pub revoke_on_logout: bool,
    /// `logoutMethod`; `any` by default.
    pub logout_method: LogoutMethod,
}

/// What the `sid` cookie holds (`sessionCookie`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCookieValue {
    /// `token`: the access token.
    Token,
    /// `opaque`: 256 random bits.
    Opaque,
}

/// Which methods sign out (`logoutMethod`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutMethod {
    /// `any`: GET and POST.
    Any,
    /// `post`: POST alone.
    Post,
}

/// A key of the `secret` header.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// The client it stands for.
    pub client: Arc<Client>,
}

/// The application that administers the tenant.
#[derive(Clone, Debug)]
pub struct ManagementClient {
    /// `auth0Url`, `clientId`, `clientSecret`.
    pub application: Application,
    /// `enforceConnections`; true by default.
    pub enforce_connections: bool,
    /// Which connections it may touch.
    pub connections: ManagementConnections,
}

/// Connections of the management client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagementConnections {
    /// Neither pair is there: all are allowed, and a create must name one.
    All,
    /// `supportedConnectionsMap` (name to connection id) and `defaultManagementConnectionName`.
    Map {
        /// Name to `connectionId`.
        ids: BTreeMap<String, String>,
        /// The default.
        default: Option<String>,
    },
    /// The deprecated `supportedConnections` and `defaultCreateUserConnection`.
    Names {
        /// Empty means all.
        supported: Vec<String>,
        /// The default of a create.
        default: Option<String>,
    },
}

//! What a tenant holds when it starts: applications, APIs, connections and people.

mod check;
mod example;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::check::SeedError;
use crate::secret::{Secret, sha256_hex};

/// The grant types that the tenant knows, by the names that Auth0 gives them.
pub(crate) mod grant_type {
    pub(crate) const AUTHORIZATION_CODE: &str = "authorization_code";
    pub(crate) const PASSWORD: &str = "password";
    pub(crate) const PASSWORD_REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";
    pub(crate) const REFRESH_TOKEN: &str = "refresh_token";
    pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";
    pub(crate) const MFA_OTP: &str = "http://auth0.com/oauth/grant-type/mfa-otp";

    pub(crate) const ALL: [&str; 6] = [
        AUTHORIZATION_CODE,
        PASSWORD,
        PASSWORD_REALM,
        REFRESH_TOKEN,
        CLIENT_CREDENTIALS,
        MFA_OTP,
    ];
}

/// The audience that stands, in [`ClientGrant`], for the tenant's own Management API,
/// whose real identifier is only known once the tenant listens.
pub const MANAGEMENT_API: &str = "management";

/// The content of a tenant. Names of fields are Auth0's own where it has them.
///
/// ```
/// use dev_tenant::Seed;
///
/// let seed = Seed::from_json(r#"{
///     "connections": [{ "name": "Username-Password-Authentication" }],
///     "applications": [{
///         "client_id": "shop",
///         "client_secret": "shop-secret",
///         "grant_types": ["authorization_code", "refresh_token"],
///         "callbacks": ["http://localhost:8080/web-login/callback"]
///     }],
///     "users": [{
///         "email": "mia@example.org",
///         "password": "Correct-Horse-1",
///         "app_metadata": { "groups": ["users"] }
///     }]
/// }"#)?;
/// assert_eq!(seed.users[0].connection, "Username-Password-Authentication");
/// # Ok::<(), dev_tenant::SeedError>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seed {
    /// Settings of the tenant itself.
    pub tenant: TenantOptions,
    /// Pools of users.
    pub connections: Vec<Connection>,
    /// APIs that access tokens can be asked for, besides the Management API.
    pub apis: Vec<Api>,
    /// Applications (OAuth clients).
    pub applications: Vec<Application>,
    /// People.
    pub users: Vec<SeedUser>,
}

impl Seed {
    /// Reads a seed file and checks it.
    ///
    /// # Errors
    /// Names every fault: the place of a syntax error or unknown key, or everything
    /// that does not fit together.
    pub fn from_json(text: &str) -> Result<Self, SeedError> {
        let seed: Self = serde_json::from_str(text).map_err(|error| SeedError::syntax(&error))?;
        seed.check()?;
        Ok(seed)
    }

    /// Whether everything named exists and nothing is there twice.
    ///
    /// # Errors
    /// Names every fault, each with its place in the file.
    pub fn check(&self) -> Result<(), SeedError> {
        check::check(self)
    }

    /// The built-in people and applications: see the crate's README for the list.
    #[must_use]
    pub fn example() -> Self {
        example::example()
    }
}

/// Settings of the tenant itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantOptions {
    /// Connection of the `password` grant ("Default Directory"). Without it that grant
    /// fails, as at Auth0.
    pub default_directory: Option<String>,
    /// API of a request without `audience` ("Default Audience").
    pub default_audience: Option<String>,
    /// Namespace under which an Action puts metadata into ID tokens: with
    /// `https://example.org/` they carry `https://example.org/app_metadata` and
    /// `https://example.org/user_metadata`.
    pub custom_claims_namespace: Option<String>,
    /// Allowed Logout URLs for a logout without `client_id`.
    pub allowed_logout_urls: Vec<String>,
}

/// A pool of users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The name, as in `connection` and `realm`.
    pub name: String,
    /// `con_` and 16 letters or digits; made from the name when unset. See
    /// [`id`](Self::id).
    #[serde(default, rename = "id")]
    pub fixed_id: Option<String>,
    /// Auth0's strategy: `auth0` (the default) is a database, others are `samlp`,
    /// `google-oauth2`, …
    #[serde(default = "database_strategy")]
    pub strategy: String,
    /// Whether people of this database have usernames.
    #[serde(default)]
    pub requires_username: bool,
}

impl Connection {
    /// A database with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fixed_id: None,
            strategy: database_strategy(),
            requires_username: false,
        }
    }

    /// The identifier that jobs and tickets take: the one that was set, or one that only
    /// depends on the name.
    ///
    /// ```
    /// use dev_tenant::Connection;
    ///
    /// let connection = Connection::new("Username-Password-Authentication");
    /// assert_eq!(connection.id().len(), 20);
    /// ```
    #[must_use]
    pub fn id(&self) -> String {
        self.fixed_id.clone().unwrap_or_else(|| {
            let digest = sha256_hex(self.name.as_bytes());
            format!("con_{}", digest.get(..16).unwrap_or_default())
        })
    }

    /// Whether it keeps its people itself.
    pub(crate) fn is_database(&self) -> bool {
        self.strategy == "auth0"
    }
}

fn database_strategy() -> String {
    "auth0".to_owned()
}

/// An API (resource server).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The `audience`, compared literally.
    pub identifier: String,
    /// The scopes it defines; they are the permissions that people can have, too.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What its access tokens look like.
    #[serde(default)]
    pub token_dialect: TokenDialect,
    /// Life of its access tokens in seconds; the tenant's setting when unset.
    #[serde(default)]
    pub token_lifetime: Option<u64>,
    /// Whether `offline_access` may be granted with it ("Allow Offline Access").
    #[serde(default)]
    pub allow_offline_access: bool,
}

/// Access token profile of an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenDialect {
    /// Auth0's profile: `typ: JWT`, `azp` and `gty`, no `jti`. Two tokens that are
    /// issued alike in one second are identical byte for byte.
    #[default]
    AccessToken,
    /// RFC 9068: `typ: at+jwt`, `client_id` and `jti`.
    Rfc9068Profile,
}

/// An application (OAuth client). With a secret it is confidential and may send it in
/// the body or as `Basic`; without one it is public.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Application {
    /// The identifier.
    pub client_id: String,
    /// The secret of a confidential application.
    pub client_secret: Option<Secret>,
    /// Grant types switched on.
    pub grant_types: Vec<String>,
    /// Allowed Callback URLs, compared literally.
    pub callbacks: Vec<String>,
    /// Allows every `http(s)` callback on a loopback host, whatever its port and path.
    pub any_loopback_callback: bool,
    /// Allowed Logout URLs.
    pub allowed_logout_urls: Vec<String>,
    /// Allows every `http(s)` logout URL on a loopback host.
    pub any_loopback_logout: bool,
    /// Where logout tokens go (OpenID Connect Back-Channel Logout 1.0).
    pub backchannel_logout_urls: Vec<String>,
    /// Connections switched on; empty means all.
    pub connections: Vec<String>,
    /// Whether `auth0-forwarded-for` counts when the application sends its secret
    /// ("Trust Token Endpoint IP Header").
    pub is_token_endpoint_ip_header_trusted: bool,
    /// What the `client_credentials` grant may ask for.
    pub client_grants: Vec<ClientGrant>,
}

impl Application {
    /// Whether `connection` is switched on.
    pub(crate) fn allows_connection(&self, connection: &str) -> bool {
        self.connections.is_empty() || self.connections.iter().any(|name| name == connection)
    }

    /// Whether a grant type is switched on. "Password" covers the realm variant too.
    pub(crate) fn allows_grant(&self, grant_type: &str) -> bool {
        let has = |name: &str| self.grant_types.iter().any(|allowed| allowed == name);
        has(grant_type) || (grant_type == grant_type::PASSWORD_REALM && has(grant_type::PASSWORD))
    }
}

/// A machine's right to call an API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientGrant {
    /// An API's identifier, or [`MANAGEMENT_API`].
    pub audience: String,
    /// The scopes granted.
    #[serde(default)]
    pub scope: Vec<String>,
}

/// A person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedUser {
    /// `auth0|…`, or any other text with a `|`; made from connection and e-mail when unset, always the same.
    #[serde(default)]
    pub user_id: Option<String>,
    /// Where the person lives.
    #[serde(default = "default_connection")]
    pub connection: String,
    /// E-mail address, the identifier to sign in with.
    pub email: String,
    /// Whether it has been verified.
    #[serde(default)]
    pub email_verified: bool,
    /// A second identifier to sign in with.
    #[serde(default)]
    pub username: Option<String>,
    /// Password; may only be left out in a connection that is no database.
    #[serde(default)]
    pub password: Secret,
    /// Full name; the e-mail address when unset.
    #[serde(default)]
    pub name: Option<String>,
    /// Given name.
    #[serde(default)]
    pub given_name: Option<String>,
    /// Family name.
    #[serde(default)]
    pub family_name: Option<String>,
    /// Nickname; the local part of the e-mail address when unset.
    #[serde(default)]
    pub nickname: Option<String>,
    /// Address of a portrait.
    #[serde(default)]
    pub picture: Option<String>,
    /// What the application's owner keeps about the person.
    #[serde(default)]
    pub app_metadata: Map<String, Value>,
    /// What the person may change.
    #[serde(default)]
    pub user_metadata: Map<String, Value>,
    /// Permissions (RBAC), each defined as a scope by some API.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Blocked by an administrator.
    #[serde(default)]
    pub blocked: bool,
    /// Enrolled in MFA with this one-time password, which never changes.
    #[serde(default)]
    pub otp: Option<Secret>,
    /// Phone number, a further identifier to sign in with.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// When the account was made (RFC 3339); the tenant's start when unset.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Further attributes of the user object, as social profiles bring them.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl SeedUser {
    /// A person with an e-mail address and a password, and nothing else.
    #[must_use]
    pub fn new(email: &str, password: &str) -> Self {
        Self {
            user_id: None,
            connection: default_connection(),
            email: email.to_owned(),
            email_verified: true,
            username: None,
            password: Secret::from(password),
            name: None,
            given_name: None,
            family_name: None,
            nickname: None,
            picture: None,
            app_metadata: Map::new(),
            user_metadata: Map::new(),
            permissions: Vec::new(),
            blocked: false,
            otp: None,
            phone_number: None,
            created_at: None,
            extra: Map::new(),
        }
    }
}

/// The database connection that every Auth0 tenant is born with.
fn default_connection() -> String {
    "Username-Password-Authentication".to_owned()
}

//! Typed parameters of the two URLs a browser is sent to.

use crate::CodeChallenge;

/// Parameters of `GET /authorize` (Auth0 Authentication API; OpenID Connect Core, section 3.1.2.1).
///
/// The URL is made from these fields alone: a value can never become another parameter.
#[derive(Clone, Debug, Default)]
pub struct AuthorizeRequest<'a> {
    /// The application's `client_id`.
    pub client_id: &'a str,
    /// Where the code is sent back to.
    pub redirect_uri: &'a str,
    /// Space-separated scopes.
    pub scope: &'a str,
    /// Identifier of the API the access token is for.
    pub audience: Option<&'a str>,
    /// Name of the connection to sign in with.
    pub connection: Option<&'a str>,
    /// Opaque value that comes back with the code.
    pub state: &'a str,
    /// Value copied into the ID token.
    pub nonce: &'a str,
    /// PKCE challenge, sent with method `S256`.
    pub code_challenge: Option<CodeChallenge>,
    /// `none`, `login`, `consent` or `select_account`.
    pub prompt: Option<&'a str>,
    /// Pre-fills the identifier.
    pub login_hint: Option<&'a str>,
    /// `signup` shows the sign-up page.
    pub screen_hint: Option<&'a str>,
    /// Preferred languages, BCP 47, space-separated.
    pub ui_locales: Option<&'a str>,
    /// Organization id or name.
    pub organization: Option<&'a str>,
    /// Ticket of an organization invitation.
    pub invitation: Option<&'a str>,
    /// Longest acceptable age of the sign-in, in seconds.
    pub max_age: Option<u64>,
}

/// Parameters of `GET /v2/logout`.
#[derive(Clone, Debug)]
pub struct LogoutRequest<'a> {
    /// The application whose Allowed Logout URLs are consulted.
    pub client_id: &'a str,
    /// Where the browser goes afterwards.
    pub return_to: Option<&'a str>,
}

//! An application registered at Auth0.

use crate::{ClientSecret, Tenant};

/// An application as registered at Auth0: OAuth's "client" (RFC 6749, section 2).
#[derive(Clone, Debug)]
pub struct Application {
    /// The tenant it is registered at.
    pub tenant: Tenant,
    /// Public identifier, the `client_id`.
    pub client_id: String,
    /// What it authenticates with at the token endpoint (`client_secret_post`).
    pub client_secret: ClientSecret,
}

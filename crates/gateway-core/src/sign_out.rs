//! Signing out.

use auth0_api::{LogoutRequest, RefreshToken};
use secrecy::ExposeSecret;
use sessionkit::Session;

use crate::Error;
use crate::config::Client;
use crate::gateway::Gateway;
use crate::redirect::RedirectTarget;

impl Gateway {
    /// Ends a session and revokes its refresh token at Auth0.
    ///
    /// The session is over when this returns, whatever becomes of the revocation: that is tried a few
    /// times and goes on in the background.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn sign_out(&self, session: &Session) -> Result<(), Error> {
        // What was stored last counts: a refresh may have moved the tokens on.
        let Some(ended) = self.sessions.end(session).await? else {
            return Ok(());
        };
        let Some(client) = self.clients.by_name.get(ended.client()) else {
            return Ok(());
        };
        if client.revoke_on_logout
            && let Some(token) = ended.tokens().refresh_token
        {
            self.revoke(client, RefreshToken::new(token.expose_secret()))
                .await;
        }
        Ok(())
    }

    /// Auth0's page that ends the browser's session there, and where it sends the browser then.
    ///
    /// `origin` is this host as the browser knows it (`https://host`), where that can be told.
    #[must_use]
    pub fn logout_location(
        client: &Client,
        redirect: Option<&str>,
        origin: Option<&str>,
    ) -> String {
        let target = redirect
            .and_then(|redirect| RedirectTarget::parse(redirect, &client.allowed_redirect_urls));
        let return_to = match (target, origin) {
            (Some(target), Some(origin)) => Some(target.absolute_on(origin)),
            (Some(target), None) => {
                Some(target.as_str().to_owned()).filter(|t| !t.starts_with('/'))
            }
            (None, origin) => origin.map(|origin| format!("{origin}/")),
        };
        client
            .application
            .tenant
            .logout_url(&LogoutRequest {
                client_id: &client.application.client_id,
                return_to: return_to.as_deref(),
            })
            .into()
    }
}

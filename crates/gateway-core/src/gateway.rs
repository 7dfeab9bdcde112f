//! The gateway as a value: the configuration and the ports, and what the use cases share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use auth0_api::{AccessToken, AuthenticationApi, ManagementApi, RefreshToken, TokenVerifier};
use bytes::Bytes;
use serde_json::{Map, Value};
use sessionkit::{OneTimeStore, Sessions};
use tokio::task::JoinHandle;

use crate::config::{Client, Clients, Settings};
use crate::http::Metrics;
use crate::imports::Imports;
use crate::profile::{Rendered, profile};

/// What a [`Gateway`] is put together from.
#[derive(Debug)]
pub struct Parts {
    /// The environment's part of the configuration.
    pub settings: Settings,
    /// The part of `config.json`.
    pub clients: Clients,
    /// Auth0.
    pub api: Arc<dyn AuthenticationApi>,
    /// Auth0's Management API, where `managementClient` is configured.
    pub management: Option<Arc<dyn ManagementApi>>,
    /// Bulk imports, where `managementClient` is configured.
    pub imports: Option<Arc<Imports>>,
    /// Sessions, over a store and a clock.
    pub sessions: Arc<Sessions>,
    /// What `/-/metrics` shows; without it there is no such route.
    pub metrics: Option<Arc<dyn Metrics>>,
    /// Where the state of a sign-in is kept: the same store, as a rule.
    pub one_time: Arc<dyn OneTimeStore>,
}

/// Signs people in, keeps them signed in, answers who they are, and signs them out.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
    pub(crate) api: Arc<dyn AuthenticationApi>,
    pub(crate) management: Option<Arc<dyn ManagementApi>>,
    pub(crate) imports: Option<Arc<Imports>>,
    pub(crate) metrics: Option<Arc<dyn Metrics>>,
    pub(crate) verifier: TokenVerifier,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) one_time: Arc<dyn OneTimeStore>,
}

impl Gateway {
    /// Puts a gateway together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let verifier =
            TokenVerifier::new(Arc::clone(&parts.api)).with_leeway(parts.settings.id_token_leeway);
        Self {
            verifier,
            settings: parts.settings,
            clients: parts.clients,
            api: parts.api,
            management: parts.management,
            imports: parts.imports,
            metrics: parts.metrics,
            sessions: parts.sessions,
            one_time: parts.one_time,
        }
    }

    /// The sessions, for an embedding program to look into.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Does what goes on without a request: moves imports on, and asks Auth0 about the people of old
    /// sessions where that is configured. Run it once, beside the service, for as long as the process
    /// lives.
    pub async fn run_background(self: &Arc<Self>) {
        let imports = async {
            match &self.imports {
                Some(imports) => imports.work().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(imports, self.revalidate());
    }

    /// The bytes a session answers checks with.
    pub(crate) fn render(&self, claims: Map<String, Value>, access_token: &AccessToken) -> Bytes {
        Rendered::render(&profile(
            claims,
            &self.clients.custom_claims_namespaces,
            access_token,
        ))
    }

    /// Revokes a refresh token at Auth0. Goes on when the caller leaves; waits for it a little, so
    /// that it is done, as a rule, when the caller reads the answer.
    pub(crate) async fn revoke(&self, client: &Arc<Client>, refresh_token: RefreshToken) {
        const WAIT: Duration = Duration::from_secs(3);
        let work = self.revoke_in_background(client, refresh_token);
        // Whether it ended or the wait did: either way there is nothing more to do here.
        let _ = tokio::time::timeout(WAIT, work).await;
    }

    /// Revokes a refresh token at Auth0, whatever becomes of the caller.
    pub(crate) fn revoke_in_background(
        &self,
        client: &Arc<Client>,
        refresh_token: RefreshToken,
    ) -> JoinHandle<()> {
        const TRIES: u32 = 3;
        let (api, client) = (Arc::clone(&self.api), Arc::clone(client));
        tokio::spawn(async move {
            for attempt in 1..=TRIES {
                match api.revoke(&client.application, &refresh_token).await {
                    Ok(()) => return,
                    Err(error)
                        if attempt < TRIES
                            && (error.is_unavailable() || error.retry_after().is_some()) =>
                    {
                        let pause = error.retry_after().unwrap_or(Duration::from_millis(500));
                        tokio::time::sleep(pause.min(Duration::from_secs(30)) * attempt).await;
                    }
                    Err(error) => {
                        tracing::warn!(client = client.name, %error, "a refresh token was not revoked");
                        return;
                    }
                }
            }
        })
    }
}

/// Who is calling: kept with the session, and told to Auth0's attack protection.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Address of the person's client: the first untrusted one from the right.
    pub ip_address: Option<IpAddr>,
    /// True when a trusted proxy vouches for `ip_address`.
    pub through_trusted_proxy: bool,
    /// The browser, as it names itself.
    pub user_agent: Option<String>,
}

//! The gateway as a value: the configuration and the ports, and what the use cases share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use auth0_api::{AccessToken, AuthenticationApi, ManagementApi, RefreshToken, TokenVerifier};
use bytes::Bytes;
use serde_json::{Map, Value};
use sessionkit::{OneTimeStore, RecordStore, Sessions};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Client, Clients, Settings};
use crate::http::Metrics;
use crate::imports::Imports;
use crate::profile::{Rendered, profile};

/// How long a stop waits for refreshes: the longest exchange of a refresh token (60 s), what is asked and
/// stored around it, and some more.
const REFRESHES: Duration = Duration::from_secs(90);
/// How long a stop waits for revocations: what is not revoked then merely lives on for its time.
const REVOCATIONS: Duration = Duration::from_secs(10);

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
    /// Where it is kept how far a logout token has got, and whose older tokens are not adopted: the same
    /// store, as a rule.
    pub records: Arc<dyn RecordStore>,
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
    pub(crate) records: Arc<dyn RecordStore>,
    /// Revocations that nobody may be waiting for.
    revocations: TaskTracker,
    stopping: CancellationToken,
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
            records: parts.records,
            revocations: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// The sessions, for an embedding program to look into.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Does what goes on without a request: moves imports on, and asks Auth0 about the people of old
    /// sessions where that is configured. Run it once, beside the service; it ends after [`Self::stop`], once
    /// it has come to a place where nothing is lost.
    pub async fn run_background(self: &Arc<Self>) {
        let imports = async {
            if let Some(imports) = &self.imports {
                imports.work().await;
            }
        };
        let revalidation = async {
            tokio::select! {
                () = self.revalidate() => {}
                // Anywhere: its refreshes are tasks of their own.
                () = self.stopping.cancelled() => {}
            }
        };
        tokio::join!(imports, revalidation);
    }

    /// Nothing is begun any more but what requests ask for.
    pub fn stop(&self) {
        self.stopping.cancel();
        if let Some(imports) = &self.imports {
            imports.stop();
        }
    }

    /// Waits, bounded, for what goes on behind the answers: refreshes until their tokens are stored, then
    /// revocations. Call it when the last request is answered, and before the store is closed.
    pub async fn settle(&self) {
        let refreshes = self.sessions.refreshes_under_way();
        let revocations = self.revocations.len();
        if refreshes + revocations > 0 {
            tracing::info!(
                refreshes,
                revocations,
                "waiting for what is under way at Auth0"
            );
        }
        if timeout(REFRESHES, self.sessions.refreshes_done())
            .await
            .is_err()
        {
            let refreshes = self.sessions.refreshes_under_way();
            tracing::warn!(
                refreshes,
                "refreshes were broken off: their sessions may be lost"
            );
        }
        self.revocations.close();
        if timeout(REVOCATIONS, self.revocations.wait()).await.is_err() {
            let revocations = self.revocations.len();
            tracing::warn!(revocations, "some refresh tokens were not revoked");
        }
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
        let _ = timeout(WAIT, work).await;
    }

    /// Revokes a refresh token at Auth0, whatever becomes of the caller.
    pub(crate) fn revoke_in_background(
        &self,
        client: &Arc<Client>,
        refresh_token: RefreshToken,
    ) -> JoinHandle<()> {
        const TRIES: u32 = 3;
        let (api, client) = (Arc::clone(&self.api), Arc::clone(client));
        self.revocations.spawn(async move {
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

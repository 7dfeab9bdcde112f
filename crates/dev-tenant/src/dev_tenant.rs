//! A running tenant, and what can be done to it from the same process.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::backchannel::{self, BackchannelDelivery};
use crate::certificate::{self, MadeCertificate};
use crate::dev_routes::remove_user;
use crate::fault::Fault;
use crate::journal::Call;
use crate::keys::KeyError;
use crate::router::Routes;
use crate::seed::{Connection, Seed, SeedError, SeedUser};
use crate::server::Server;
use crate::settings::TenantSettings;
use crate::tenant::Tenant;
use crate::users::User;

/// Why a tenant cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("the tenant cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The seed is faulty.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// `domain` is not a host with an optional port.
    #[error("{0:?} is not a host with an optional port")]
    Domain(String),
    /// No certificate could be made.
    #[error("the tenant's certificate could not be made")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Two routes clash: a fault of this crate.
    #[error("the tenant's routes clash")]
    Routes(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// There is no such user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user does not exist")]
#[non_exhaustive]
pub struct UnknownUser;

/// A tenant that listens. Dropping it closes everything at once; [`shutdown`] does so
/// cleanly.
///
/// ```
/// use dev_tenant::{DevTenant, Seed, TenantSettings};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let tenant = DevTenant::start(TenantSettings::default(), Seed::example()).await?;
/// println!("sign in at {}/authorize", tenant.url());
/// tenant.shutdown().await;
/// # Ok::<(), dev_tenant::StartError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`shutdown`]: Self::shutdown
pub struct DevTenant {
    tenant: Arc<Tenant>,
    routes: Arc<Routes>,
    certificate: Option<MadeCertificate>,
    address: SocketAddr,
    url: String,
    server: Mutex<Option<Server>>,
}

impl DevTenant {
    /// Checks the seed and starts to listen. Needs a tokio runtime, which it runs on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: TenantSettings, seed: Seed) -> Result<Self, StartError> {
        seed.check()?;
        let listener = listen(settings.listen).await?;
        let address = listener.local_addr().map_err(|source| StartError::Listen {
            address: settings.listen,
            source,
        })?;
        let scheme = if settings.https { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(address));
        let (base, host) = match &settings.domain {
            None => (url.clone(), None),
            Some(domain) => {
                let base = format!("{scheme}://{domain}");
                let host = host_of(&base, domain)?;
                (base, Some(host))
            }
        };
        let certificate = settings
            .https
            .then(|| certificate::make(host.as_deref()))
            .transpose()
            .map_err(StartError::Certificate)?;
        let tenant = Arc::new(Tenant::new(settings, seed, &base));
        let routes = Routes::new(Arc::clone(&tenant))
            .map(Arc::new)
            .map_err(|error| StartError::Routes(Box::new(error)))?;
        let tls = certificate.as_ref().map(|made| made.acceptor.clone());
        let server = Server::start(listener, tls, Arc::clone(&routes));
        tracing::info!(url, issuer = tenant.issuer, "the tenant listens");
        Ok(Self {
            tenant,
            routes,
            certificate,
            address,
            url,
            server: Mutex::new(Some(server)),
        })
    }

    /// Where it is reached, without a slash at the end: `http://127.0.0.1:4000`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The issuer, with the slash at the end.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.tenant.issuer
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate in PEM, which is its own authority; none on plain HTTP.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate.as_ref().map(|made| made.pem.as_str())
    }

    /// Stops to listen, lets requests under way finish for up to a second, and returns
    /// once every connection is closed. The port can be bound again at once.
    pub async fn shutdown(self) {
        if let Some(server) = self.server.lock().await.take() {
            server.shutdown().await;
        }
    }

    /// Goes away as a tenant does that cannot be reached: the port is closed and every
    /// connection is cut. State stays.
    pub async fn pause(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.abort().await;
        }
    }

    /// Comes back on the same port after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`StartError::Listen`] when somebody else has taken the port.
    pub async fn resume(&self) -> Result<(), StartError> {
        let mut server = self.server.lock().await;
        if server.is_none() {
            let listener = listen(self.address).await?;
            let tls = self.certificate.as_ref().map(|made| made.acceptor.clone());
            *server = Some(Server::start(listener, tls, Arc::clone(&self.routes)));
        }
        Ok(())
    }

    /// Makes the next signing key the current one and returns its `kid`; the previous
    /// one stays published.
    ///
    /// # Errors
    /// When no new key can be made.
    pub async fn rotate_keys(&self) -> Result<String, KeyError> {
        self.tenant.keys.rotate().await
    }

    /// Drops every previous signing key; tokens signed by them die. Returns their number.
    pub fn revoke_previous_keys(&self) -> usize {
        self.tenant.keys.revoke_previous()
    }

    /// Moves the tenant's clock forward: everything that it has issued ages.
    pub fn advance_clock(&self, by: Duration) {
        self.tenant.clock.advance(by);
    }

    /// The tenant's idea of now.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.tenant.now()
    }

    /// The `user_id` behind an e-mail address or username, whatever the connection.
    #[must_use]
    pub fn user_id(&self, identifier: &str) -> Option<String> {
        let state = self.tenant.state();
        let found = state
            .users
            .find(identifier, &self.tenant.connections)
            .next();
        found.map(|user| user.user_id.clone())
    }

    /// Blocks a person, or lets them in again.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn block_user(&self, user_id: &str, blocked: bool) -> Result<(), UnknownUser> {
        self.change_user(user_id, |user| user.blocked = Some(blocked))
    }

    /// Deletes a person with their sessions.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn delete_user(&self, user_id: &str) -> Result<(), UnknownUser> {
        if remove_user(&self.tenant, user_id) {
            Ok(())
        } else {
            Err(UnknownUser)
        }
    }

    /// Replaces a person's `app_metadata`; the next ID token has it.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_app_metadata(
        &self,
        user_id: &str,
        metadata: Map<String, Value>,
    ) -> Result<(), UnknownUser> {
        self.change_user(user_id, |user| user.app_metadata = metadata)
    }

    /// Replaces a person's `user_metadata`; the next ID token has it.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_user_metadata(
        &self,
        user_id: &str,
        metadata: Map<String, Value>,
    ) -> Result<(), UnknownUser> {
        self.change_user(user_id, |user| user.user_metadata = Some(metadata))
    }

    /// Replaces a person's permissions; the next access token has those that its API
    /// defines.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_permissions(
        &self,
        user_id: &str,
        permissions: Vec<String>,
    ) -> Result<(), UnknownUser> {
        self.change_user(user_id, |user| user.permissions = permissions)
    }

    /// Adds a person; whoever has the same `user_id` is replaced.
    pub fn add_user(&self, user: SeedUser) {
        let now = self.tenant.now();
        let home = self.tenant.pool(&user.connection);
        let in_database = home.is_none_or(Connection::is_database);
        let user = User::from_seed(user, in_database, now);
        self.tenant.state().users.add(user, now);
    }

    /// Everybody, as `GET /api/v2/users/{id}` shows them, by `user_id`.
    #[must_use]
    pub fn users(&self) -> Vec<Value> {
        let state = self.tenant.state();
        state.users.iter().map(User::to_json).collect()
    }

    /// How many people there are.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.tenant.state().users.len()
    }

    /// How many import jobs were accepted.
    #[must_use]
    pub fn import_jobs(&self) -> usize {
        self.tenant.state().jobs.imports()
    }

    /// Most import jobs that ran at once.
    #[must_use]
    pub fn running_jobs_max(&self) -> usize {
        self.tenant.state().jobs.running_max()
    }

    /// The id of a connection, which import jobs take.
    #[must_use]
    pub fn connection_id(&self, name: &str) -> Option<String> {
        self.tenant.pool(name).map(Connection::id)
    }

    fn change_user(
        &self,
        user_id: &str,
        change: impl FnOnce(&mut User),
    ) -> Result<(), UnknownUser> {
        let now = self.tenant.now();
        let mut state = self.tenant.state();
        let changed = state.users.update(user_id, now, change);
        changed.ok_or(UnknownUser)
    }

    /// Lets a fault wait for the requests that it matches.
    pub fn inject(&self, fault: Fault) {
        self.tenant.faults().inject(fault);
    }

    /// Takes back every fault that waits.
    pub fn clear_faults(&self) {
        self.tenant.faults().clear();
    }

    /// The latest 10 000 calls, oldest first; those under `/_dev/` do not count. A call
    /// is there as soon as its whole request is, also when a fault hits it.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.tenant.journal().calls()
    }

    /// Forgets the calls and sets the count of refreshes to zero.
    pub fn clear_calls(&self) {
        self.tenant.journal().clear();
    }

    /// How often `grant_type=refresh_token` was called, whatever came of it.
    #[must_use]
    pub fn refresh_exchanges(&self) -> u64 {
        self.tenant.journal().refresh_exchanges()
    }

    /// How often a refresh token was presented that had been spent before (outside the
    /// leeway), which killed its family.
    #[must_use]
    pub fn refresh_reuses(&self) -> u64 {
        self.tenant.state().refresh.reuses()
    }

    /// Whether a refresh token could be exchanged now, without the help of the leeway.
    #[must_use]
    pub fn is_refresh_token_live(&self, refresh_token: &str) -> bool {
        let now = self.tenant.now();
        self.tenant.state().refresh.is_live(refresh_token, now)
    }

    /// Sends a logout token to every application that has a URL for them, whether it
    /// took part in a session or not, and waits for the answers.
    pub async fn send_backchannel_logout(
        &self,
        user_id: &str,
        sid: Option<&str>,
    ) -> Vec<BackchannelDelivery> {
        self.tenant.keys.ready().await;
        backchannel::send(&self.tenant, user_id, sid, |_| true).await
    }

    /// How the latest 1000 logout tokens fared, oldest first.
    #[must_use]
    pub fn backchannel_deliveries(&self) -> Vec<BackchannelDelivery> {
        self.tenant.deliveries().clone()
    }
}

/// No state: it is made of credentials.
impl fmt::Debug for DevTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevTenant")
            .field("url", &self.url)
            .field("issuer", &self.tenant.issuer)
            .finish_non_exhaustive()
    }
}

/// Tokio sets `SO_REUSEADDR` on Unix, so a port that has just been closed can be had
/// again.
async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

/// The address to connect to: an unspecified one is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    SocketAddr::new(host, address.port())
}

/// The host of `scheme://domain`, if the domain is nothing but a host and a port.
fn host_of(base: &str, domain: &str) -> Result<String, StartError> {
    let invalid = || StartError::Domain(domain.to_owned());
    let url = url::Url::parse(base).map_err(|_| invalid())?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && !domain.contains(['/', '@', '\\']);
    match url.host_str() {
        Some(host) if bare => Ok(host.trim_matches(['[', ']']).to_owned()),
        _ => Err(invalid()),
    }
}

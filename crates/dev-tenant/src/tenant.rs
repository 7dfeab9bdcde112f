//! The tenant that all routes share.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::backchannel::BackchannelDelivery;
use crate::clock::TenantClock;
use crate::fault::Faults;
use crate::grant::Target;
use crate::journal::Journal;
use crate::keys::KeyRing;
use crate::management::MANAGEMENT_SCOPES;
use crate::message::Request;
use crate::seed::{
    Api, Application, Connection, MANAGEMENT_API, Seed, TenantOptions, TokenDialect,
};
use crate::settings::TenantSettings;
use crate::state::State;

/// Content, keys, clock and state of a running tenant.
///
/// Everything that changes sits behind short locks. Routes are plain functions, so none
/// of them can be held across an await.
pub(crate) struct Tenant {
    pub(crate) settings: TenantSettings,
    pub(crate) options: TenantOptions,
    /// `https://host:port/`, with the slash.
    pub(crate) issuer: String,
    pub(crate) management_audience: String,
    pub(crate) keys: KeyRing,
    pub(crate) clock: TenantClock,
    /// Names of all connections, in the order of the seed.
    pub(crate) connections: Vec<String>,
    /// The connections themselves, in the same order.
    pub(crate) pools: Vec<Connection>,
    /// Who the login page names, since this is a tenant to play with.
    pub(crate) hints: Vec<Hint>,
    applications: HashMap<String, Application>,
    apis: HashMap<String, Api>,
    state: Mutex<State>,
    journal: Mutex<Journal>,
    faults: Mutex<Faults>,
    deliveries: Mutex<Vec<BackchannelDelivery>>,
    http: OnceLock<Option<reqwest::Client>>,
}

/// A person of the seed, for the login page.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) user_id: String,
    pub(crate) connection: String,
    pub(crate) email: String,
    pub(crate) password: crate::secret::Secret,
    pub(crate) otp: Option<crate::secret::Secret>,
}

impl Tenant {
    /// A tenant that is reached at `base` (no slash at its end); needs a tokio runtime.
    pub(crate) fn new(settings: TenantSettings, seed: Seed, base: &str) -> Self {
        let issuer = format!("{base}/");
        let management_audience = format!("{issuer}api/v2/");
        let clock = TenantClock::default();
        let management = Api {
            identifier: management_audience.clone(),
            scopes: MANAGEMENT_SCOPES.map(str::to_owned).into(),
            token_dialect: TokenDialect::AccessToken,
            token_lifetime: None,
            allow_offline_access: false,
        };
        let applications = seed.applications.into_iter().map(|mut app| {
            for grant in &mut app.client_grants {
                if grant.audience == MANAGEMENT_API {
                    grant.audience.clone_from(&management_audience);
                }
            }
            (app.client_id.clone(), app)
        });
        let state = State::new(
            seed.users.clone(),
            &seed.connections,
            &settings,
            clock.now(),
        );
        let hints = seed
            .users
            .into_iter()
            .filter(|user| !user.password.expose().is_empty())
            .filter_map(|user| {
                let known = state
                    .users
                    .find(&user.email, std::slice::from_ref(&user.connection))
                    .next()?;
                Some(Hint {
                    user_id: known.user_id.clone(),
                    connection: user.connection,
                    email: user.email,
                    password: user.password,
                    otp: user.otp,
                })
            })
            .collect();
        Self {
            applications: applications.collect(),
            apis: seed
                .apis
                .into_iter()
                .chain([management])
                .map(|api| (api.identifier.clone(), api))
                .collect(),
            connections: seed.connections.iter().map(|c| c.name.clone()).collect(),
            pools: seed.connections,
            options: seed.tenant,
            hints,
            issuer,
            management_audience,
            keys: KeyRing::start(),
            clock,
            state: Mutex::new(state),
            journal: Mutex::default(),
            faults: Mutex::default(),
            deliveries: Mutex::default(),
            http: OnceLock::new(),
            settings,
        }
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn deliveries(&self) -> MutexGuard<'_, Vec<BackchannelDelivery>> {
        lock(&self.deliveries)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.settings.https
    }

    pub(crate) fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications.get(client_id)
    }

    /// The connection with this name.
    pub(crate) fn pool(&self, name: &str) -> Option<&Connection> {
        self.pools.iter().find(|connection| connection.name == name)
    }

    /// The connection with this id.
    pub(crate) fn pool_by_id(&self, id: &str) -> Option<&Connection> {
        self.pools.iter().find(|connection| connection.id() == id)
    }

    pub(crate) fn applications(&self) -> impl Iterator<Item = &Application> {
        self.applications.values()
    }

    pub(crate) fn api(&self, audience: &str) -> Option<&Api> {
        self.apis.get(audience)
    }

    /// The API of a request: its `audience`, else the tenant's default one. `None` when
    /// the audience is unknown.
    pub(crate) fn target(&self, audience: Option<&str>) -> Option<Target<'_>> {
        match audience.or(self.options.default_audience.as_deref()) {
            None => Some(Target {
                api: None,
                is_management: false,
            }),
            Some(audience) => self.api(audience).map(|api| Target {
                api: Some(api),
                is_management: audience == self.management_audience,
            }),
        }
    }

    /// Names of the connections that an application has switched on; the tenant's
    /// default directory goes first.
    pub(crate) fn connections_of(&self, app: &Application) -> Vec<String> {
        let default = self.options.default_directory.iter();
        let others = self
            .connections
            .iter()
            .filter(|name| self.options.default_directory.as_ref() != Some(*name));
        default
            .chain(others)
            .filter(|name| app.allows_connection(name))
            .cloned()
            .collect()
    }

    /// The address of the person behind a token call: `auth0-forwarded-for` when the
    /// application is trusted with it and has sent its secret, else the peer's.
    pub(crate) fn end_user_address(
        &self,
        request: &Request,
        app: &Application,
        with_secret: bool,
    ) -> IpAddr {
        let forwarded = || request.header("auth0-forwarded-for")?.trim().parse().ok();
        if app.is_token_endpoint_ip_header_trusted && with_secret {
            forwarded().unwrap_or(request.peer)
        } else {
            request.peer
        }
    }

    /// The client that sends logout tokens; `None` when it cannot be made.
    pub(crate) fn http(&self) -> Option<&reqwest::Client> {
        self.http
            .get_or_init(|| {
                reqwest::Client::builder()
                    .timeout(Duration::from_secs(5))
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .build()
                    .ok()
            })
            .as_ref()
    }
}

/// Nothing of the state: it is made of credentials.
impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// A panic elsewhere must not take the whole tenant with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

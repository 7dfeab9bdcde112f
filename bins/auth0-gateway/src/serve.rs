//! The `serve` and `check-config` commands.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use auth0_api::{Auth0Client, ClientSettings, Governor, ManagementApi, ManagementClient};
use gateway_core::config::{Clients, Loaded, ManagementAccess};
use gateway_core::http::{GatewayService, Listener};
use gateway_core::imports::Imports;
use gateway_core::{Gateway, Parts};
use sessionkit::{Lifetimes, Sessions, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::certificates::load;
use crate::environment::ProcessEnvironment;
use crate::metrics::{OlderKeys, Registered};
use crate::{logging, server, store};

/// How long a stop waits for what goes on without a request: a part of an import that is being sent.
const BACKGROUND: Duration = Duration::from_secs(15);
/// Exit status for a configuration that does not hold together.
const BAD_CONFIGURATION: u8 = 2;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads the configuration and says what is wrong with it.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to a person"
)]
pub(crate) fn check_config() -> ExitCode {
    match load(&ProcessEnvironment) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                println!("warning: {warning}");
            }
            println!(
                "the configuration is good: {} clients",
                loaded.clients.by_name.len()
            );
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Runs the server until it is told to stop.
#[expect(
    clippy::print_stderr,
    reason = "there is no log yet when the configuration is bad"
)]
pub(crate) fn serve() -> ExitCode {
    let loaded = match load(&ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    logging::start(&loaded.settings.log_level);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match runtime().and_then(|runtime| runtime.block_on(run(loaded))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = with_causes(&*error);
            tracing::error!(error, "the server stopped");
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it: the words of the outermost alone seldom tell what to mend.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// One thread where there is one processor: handing work between threads would cost and gain nothing.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, BoxError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if processors == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    Ok(builder.worker_threads(processors).enable_all().build()?)
}

/// A gateway put together, and where it listens.
pub(crate) struct Assembled {
    gateway: Arc<Gateway>,
    reseal: Option<store::Resealing>,
    older_keys: OlderKeys,
    pub(crate) service: GatewayService,
    address: SocketAddr,
    limits: server::Limits,
    management_address: Option<SocketAddr>,
}

impl Assembled {
    /// What goes on without a request, until the service drains.
    fn background(&self) -> impl Future<Output = ()> + Send + 'static {
        let (gateway, reseal) = (Arc::clone(&self.gateway), self.reseal.clone());
        let older_keys = Arc::clone(&self.older_keys);
        async move {
            let reseal = async {
                match reseal {
                    Some(resealing) => store::reseal(resealing, older_keys).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = gateway.run_background() => {}
                // Never ends. What it leaves undone is done after the next start.
                () = reseal => {}
            }
        }
    }
}

async fn run(loaded: Loaded) -> Result<(), BoxError> {
    let assembled = assemble(loaded).await?;
    let service = &assembled.service;
    let mut listeners = vec![(bind(assembled.address, "HTTP_PORT").await?, service.clone())];
    if let Some(address) = assembled.management_address {
        let listener = bind(address, "MANAGEMENT_HTTP_PORT").await?;
        listeners.push((listener, service.on(Listener::Management)));
    }
    serve_on(&assembled, listeners).await
}

/// Serves until it is told to stop, and waits for what must not be broken off. Told again, it stops at
/// once.
pub(crate) async fn serve_on<H: server::Handler>(
    assembled: &Assembled,
    listeners: Vec<(TcpListener, H)>,
) -> Result<(), BoxError> {
    let mut signals = Signals::new()?;
    let mut background = tokio::spawn(assembled.background());
    let (told, shutdown) = oneshot::channel();
    let serving = async {
        // The other end goes away with all of this only.
        let shutdown = async { shutdown.await.unwrap_or(server::Shutdown::AtOnce) };
        let drain = || assembled.service.drain();
        server::run(listeners, assembled.limits, shutdown, drain).await;
        let background = tokio::time::timeout(BACKGROUND, &mut background);
        let (ended, ()) = tokio::join!(background, assembled.gateway.settle());
        if ended.is_err() {
            tracing::warn!(
                "an import was broken off while it was sent: the next start looks what became of it"
            );
        }
        tracing::info!("stopped");
    };
    let stop_at_once = async {
        // Nobody listens any more only when the other branch is done.
        let _ = told.send(signals.next().await);
        signals.next().await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = stop_at_once => Err("told to stop a second time: nothing more was waited for".into()),
    }
}

/// Puts adapters and settings together.
pub(crate) async fn assemble(loaded: Loaded) -> Result<Assembled, BoxError> {
    let Loaded {
        settings, clients, ..
    } = loaded;
    let stores = store::open(&settings, &clients).await?;
    let lifetimes = Lifetimes {
        absolute: settings.session_duration,
        idle: settings.session_idle,
        grace: settings.refresh_grace,
        ..Lifetimes::default()
    };
    let sessions = Arc::new(Sessions::new(
        Arc::clone(&stores.sessions),
        Arc::new(SystemClock),
        lifetimes,
    ));
    let api = Auth0Client::new(ClientSettings {
        timeout: settings.upstream_timeout,
        // Room is left for the call itself.
        rate_limit_wait: settings.request_timeout / 3,
        ..ClientSettings::default()
    })?;
    let main_address = SocketAddr::new(settings.http_host, settings.http_port);
    let management_address = match settings.management_access {
        ManagementAccess::OwnListener(port) => Some(SocketAddr::new(settings.http_host, port)),
        _ => None,
    };
    let limits = server::Limits::from(&settings);
    let management = management(&clients, &api);
    let imports = management.as_ref().map(|management| {
        Arc::new(Imports::new(
            Arc::clone(management),
            Arc::clone(&stores.records),
            Arc::clone(&stores.payloads),
            Arc::new(SystemClock),
            settings.import_results,
        ))
    });
    let older_keys = OlderKeys::new((-1).into());
    let tenants = tenants(&clients, &api);
    let metrics = Registered::new(stores.watched, Arc::clone(&older_keys), tenants);
    let gateway = Arc::new(Gateway::new(Parts {
        settings,
        clients,
        api: Arc::new(api),
        management,
        imports,
        metrics: Some(Arc::new(metrics)),
        sessions,
        one_time: stores.one_time,
        records: stores.records,
    }));
    let service = GatewayService::new(Arc::clone(&gateway))?;

    Ok(Assembled {
        gateway,
        reseal: stores.reseal,
        older_keys,
        service,
        address: main_address,
        limits,
        management_address,
    })
}

/// The Management API, where `managementClient` is configured. Its audience is the tenant's own domain,
/// also where the calls go through a custom one.
fn management(clients: &Clients, api: &Auth0Client) -> Option<Arc<dyn ManagementApi>> {
    let application = &clients.management.as_ref()?.application;
    let tenant = clients.tenant.as_ref().unwrap_or(&application.tenant);
    // One tenant under two names has one rate limit.
    api.share_governor(application.tenant.clone(), api.governor(tenant));
    let audience = ManagementClient::audience(tenant);
    Some(Arc::new(ManagementClient::new(
        api.clone(),
        application.clone(),
        audience,
    )))
}

/// The tenants of all clients, each once, and who watches their limits.
fn tenants(clients: &Clients, api: &Auth0Client) -> Vec<(String, Governor)> {
    let management = clients.management.as_ref().map(|m| &m.application);
    let applications = clients.by_name.values().map(|client| &client.application);
    let mut tenants: Vec<_> = applications
        .chain(management)
        .map(|application| &application.tenant)
        .collect();
    tenants.sort_unstable_by_key(|tenant| tenant.issuer());
    tenants.dedup();
    let watched = |tenant: &auth0_api::Tenant| (tenant.issuer().to_owned(), api.governor(tenant));
    tenants.into_iter().map(watched).collect()
}

/// Listens on an address whose port is this setting's.
async fn bind(address: SocketAddr, port: &str) -> Result<TcpListener, BoxError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let (setting, mend) = match error.kind() {
            ErrorKind::AddrInUse => (port, ": choose another port, or stop what listens there"),
            ErrorKind::AddrNotAvailable => {
                ("HTTP_HOST", ": give one of this machine's own addresses")
            }
            ErrorKind::PermissionDenied => (port, ": ports below 1024 need a privilege"),
            _ => (port, ""),
        };
        format!("{setting}: cannot listen on {address}: {error}{mend}")
    })?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    Ok(listener)
}

/// The signals that stop the process. From the first look on neither ends it by itself.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// SIGTERM or Ctrl-C. The former waits `DELAY_SHUTDOWN_SECONDS`, for load balancers to notice; a person
    /// at a terminal does not want to.
    pub(crate) async fn next(&mut self) -> server::Shutdown {
        tokio::select! {
            _ = self.terminate.recv() => server::Shutdown::Delayed,
            _ = self.interrupt.recv() => server::Shutdown::AtOnce,
        }
    }
}

//! What the environment says, as typed values.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use sessionkit::EncryptionKeys;

/// The environment. Each field names its variable and default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `LOG_LEVEL`: `trace`, `debug`, `info` (default), `warn` or `error`.
    pub log_level: String,
    /// `HTTP_HOST`: address to listen on; `0.0.0.0` by default.
    pub http_host: IpAddr,
    /// `HTTP_PORT`: 8080 by default; 0 lets the system choose.
    pub http_port: u16,
    /// `SERVICE_PREFIX`: path before all routes but `/-/`; empty, or `/x` without a trailing slash.
    pub service_prefix: String,
    /// `SERVICE_VERSION`: shown by the status routes; the package's own by default.
    pub service_version: String,
    /// `SERVICE_CONFIG_PATH` and `SERVICE_CONFIG_FILE_NAME` (without `.json`).
    pub config_file: PathBuf,
    /// `SESSION_DURATION_SECONDS`: 86400 by default.
    pub session_duration: Duration,
    /// `SESSION_IDLE_SECONDS`: none by default.
    pub session_idle: Option<Duration>,
    /// `SESSION_SCOPE`: prefixes every key in the store.
    pub session_scope: Option<String>,
    /// `SESSION_STORE`: `redis` when `REDIS_HOSTS` is set, else `embedded`.
    pub session_store: StoreKind,
    /// `SESSION_STORE_PATH`: `sessions.redb` by default.
    pub session_store_path: PathBuf,
    /// `SESSION_ENCRYPTION_KEYS`: seal what a durable store holds; the first seals, all open.
    pub encryption_keys: Option<EncryptionKeys>,
    /// `SESSION_CACHE_SIZE`: sessions in the near cache over Redis, 10000 by default; 0 switches it off.
    pub session_cache: usize,
    /// `SESSION_CACHE_SECONDS`: longest age in the near cache, 5 by default.
    pub session_cache_age: Duration,
    /// `SESSION_REVALIDATE_SECONDS`: how often a session's person is asked about at Auth0; not at all by
    /// default.
    pub session_revalidate: Option<Duration>,
    /// `ADOPT_BEARER_SECONDS`: how old a token of the service before this one may be to become a session;
    /// none does by default.
    pub adopt_bearer: Option<Duration>,
    /// `REFRESH_GRACE_SECONDS`: 30 by default.
    pub refresh_grace: Duration,
    /// `ID_TOKEN_LEEWAY_SECONDS`: how far clocks may differ, 60 by default, at most 300.
    pub id_token_leeway: Duration,
    /// `REDIS_*`, when `REDIS_HOSTS` is set.
    pub redis: Option<RedisSettings>,
    /// `ORIGINAL_PROTOCOL_HEADER`: lower-case name of the header with the protocol the browser used.
    pub original_protocol_header: Option<String>,
    /// `TRUSTED_PROXIES`: nobody by default.
    pub trusted_proxies: Vec<IpNet>,
    /// `MANAGEMENT_API_KEYS`: comma list.
    pub management_api_keys: Vec<SecretString>,
    /// `MANAGEMENT_HTTP_PORT`, `MANAGEMENT_ACCESS`.
    pub management_access: ManagementAccess,
    /// `REQUEST_TIMEOUT_SECONDS`: 30 by default.
    pub request_timeout: Duration,
    /// `UPSTREAM_TIMEOUT_SECONDS`: 10 by default.
    pub upstream_timeout: Duration,
    /// `HEADER_TIMEOUT_SECONDS`: 10 by default.
    pub header_timeout: Duration,
    /// `MAX_BODY_BYTES`: 1 MiB by default.
    pub max_body_bytes: usize,
    /// `IMPORT_MAX_BYTES`: 100 MiB by default.
    pub import_max_bytes: u64,
    /// `IMPORT_RESULTS_SECONDS`: how long an import's status and errors are kept; 604800 (7 days) by
    /// default. Auth0 itself forgets them after a day.
    pub import_results: Duration,
    /// `IMPORT_FOLDER`: where the rows of imports wait; `imports` beside the session store by default.
    pub import_folder: PathBuf,
    /// `DELAY_SHUTDOWN_SECONDS`: 10 by default.
    pub delay_shutdown: Duration,
}

/// Where sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the variable's own values")]
pub enum StoreKind {
    Memory,
    Embedded,
    Redis,
}

/// Who may reach the routes that administer the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagementAccess {
    /// On the main listener, for holders of one of the keys; on a loopback address without keys, for
    /// everybody.
    MainListener,
    /// On a listener of their own (`MANAGEMENT_HTTP_PORT`).
    OwnListener(u16),
    /// On the main listener, for everybody (`MANAGEMENT_ACCESS=open`): something in front protects them.
    Open,
}

/// How Redis is reached.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `REDIS_HOSTS`: host and port, 6379 by default.
    pub hosts: Vec<(String, u16)>,
    /// `REDIS_MODE`.
    pub mode: RedisMode,
    /// `REDIS_USERNAME`.
    pub username: Option<String>,
    /// `REDIS_PASSWORD`.
    pub password: Option<SecretString>,
    /// `REDIS_SENTINEL_USERNAME`.
    pub sentinel_username: Option<String>,
    /// `REDIS_SENTINEL_PASSWORD`.
    pub sentinel_password: Option<SecretString>,
    /// `REDIS_TLS`.
    pub tls: bool,
    /// `REDIS_CA` (PEM, or `REDIS_CA_FILE`): the authority to trust; the system's when none.
    pub ca: Option<String>,
    /// `REDIS_CLIENT_CERT` and `REDIS_CLIENT_KEY` (PEM, or `…_FILE`).
    pub client_certificate: Option<(String, SecretString)>,
}

/// Kind of Redis deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// `normal`: one server.
    Normal,
    /// `sentinel`, with `REDIS_MASTER_NAME`.
    Sentinel {
        /// Name of the primary.
        master_name: String,
    },
    /// `cluster`.
    Cluster,
}

//! Reads the environment.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use sessionkit::EncryptionKeys;

use super::fault::Report;
use super::settings::{ManagementAccess, RedisMode, RedisSettings, Settings, StoreKind};
use super::variables::{Environment, variable};

/// Variables of the original's mirror into MongoDB, which is not here yet.
const MIRROR: [&str; 4] = [
    "MONGO_DB_URL",
    "USERS_DATABASE_NAME",
    "USERS_COLLECTION_NAME",
    "USERS_PROPERTIES_TO_SAVE",
];
/// Longest time that is taken, in seconds: ten years.
const TEN_YEARS: u64 = 315_360_000;
/// Shortest management key, in bytes.
const MIN_KEY: usize = 16;

struct Reader<'a> {
    environment: &'a dyn Environment,
    report: &'a mut Report,
}

/// Reads every setting. Where one is faulty its default stands in, and the report says so.
pub(super) fn read(environment: &dyn Environment, report: &mut Report) -> Settings {
    let mut reader = Reader {
        environment,
        report,
    };
    let r = &mut reader;
    let http_host = r
        .parsed("HTTP_HOST", "an IP address")
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let http_port = r.number("HTTP_PORT", 8080, 0, 65_535);
    let folder = r
        .text("SERVICE_CONFIG_PATH")
        .unwrap_or_else(|| ".".to_owned());
    let file = r
        .text("SERVICE_CONFIG_FILE_NAME")
        .unwrap_or_else(|| "config".to_owned());
    let redis = redis(r);
    let session_store = session_store(r, redis.is_some());
    let request_timeout = r.seconds("REQUEST_TIMEOUT_SECONDS", 30, 1, 3600);
    let upstream_timeout = r.seconds("UPSTREAM_TIMEOUT_SECONDS", 10, 1, 3600);
    if upstream_timeout > request_timeout {
        r.report.warn(
            "UPSTREAM_TIMEOUT_SECONDS",
            "is longer than REQUEST_TIMEOUT_SECONDS, which ends a request first",
        );
    }
    let session_store_path = r
        .text("SESSION_STORE_PATH")
        .map_or_else(|| PathBuf::from("sessions.redb"), PathBuf::from);
    let import_folder = r.text("IMPORT_FOLDER").map_or_else(
        || session_store_path.with_file_name("imports"),
        PathBuf::from,
    );
    let keys = management_api_keys(r);
    let management_access = management_access(r, http_host, http_port);
    for name in MIRROR {
        if r.text(name).is_some() {
            r.report.warn(
                name,
                "is taken and not used: metadata is not mirrored into MongoDB",
            );
        }
    }
    Settings {
        log_level: log_level(r),
        http_host,
        http_port: u16::try_from(http_port).unwrap_or(8080),
        service_prefix: service_prefix(r),
        service_version: r
            .text("SERVICE_VERSION")
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        config_file: PathBuf::from(folder).join(format!("{file}.json")),
        session_duration: r.seconds("SESSION_DURATION_SECONDS", 86_400, 1, TEN_YEARS),
        session_idle: r.optional_seconds("SESSION_IDLE_SECONDS", 1),
        session_scope: session_scope(r, session_store),
        session_store,
        session_store_path,
        encryption_keys: encryption_keys(r),
        session_cache: usize::try_from(r.number("SESSION_CACHE_SIZE", 10_000, 0, 10_000_000))
            .unwrap_or(10_000),
        session_cache_age: r.seconds("SESSION_CACHE_SECONDS", 5, 1, 60),
        session_revalidate: r.optional_seconds("SESSION_REVALIDATE_SECONDS", 60),
        adopt_bearer: r.optional_seconds("ADOPT_BEARER_SECONDS", 1),
        refresh_grace: r.seconds("REFRESH_GRACE_SECONDS", 30, 0, 3600),
        id_token_leeway: r.seconds("ID_TOKEN_LEEWAY_SECONDS", 60, 0, 300),
        redis,
        original_protocol_header: original_protocol_header(r),
        trusted_proxies: trusted_proxies(r),
        management_api_keys: keys,
        management_access,
        request_timeout,
        upstream_timeout,
        header_timeout: r.seconds("HEADER_TIMEOUT_SECONDS", 10, 1, 3600),
        max_body_bytes: usize::try_from(r.number("MAX_BODY_BYTES", 1 << 20, 1024, 1 << 30))
            .unwrap_or(1 << 20),
        import_results: r.seconds("IMPORT_RESULTS_SECONDS", 604_800, 60, TEN_YEARS),
        import_folder,
        import_max_bytes: r.number("IMPORT_MAX_BYTES", 100 << 20, 1024, 1 << 40),
        delay_shutdown: r.seconds("DELAY_SHUTDOWN_SECONDS", 10, 0, 3600),
    }
}

impl Reader<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        variable(self.environment, name, self.report)
    }

    fn parsed<T: FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let parsed = self.text(name)?.trim().parse().ok();
        if parsed.is_none() {
            self.report
                .fault(name, "cannot be read", format!("give {what}"));
        }
        parsed
    }

    /// A time that is not set by default.
    fn optional_seconds(&mut self, name: &str, least: u64) -> Option<Duration> {
        self.text(name)
            .is_some()
            .then(|| self.seconds(name, least, least, TEN_YEARS))
    }

    fn number(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                let mend = format!("give a whole number from {least} to {most}");
                self.report
                    .fault(name, "is out of range or no number", mend);
                default
            }
        }
    }

    fn seconds(&mut self, name: &str, default: u64, least: u64, most: u64) -> Duration {
        Duration::from_secs(self.number(name, default, least, most))
    }

    /// A comma list. One of commas alone was meant to say something, and would count as not given.
    fn list(&mut self, name: &str) -> Vec<String> {
        let Some(text) = self.text(name) else {
            return Vec::new();
        };
        let items = text.split(',').map(str::trim);
        let items: Vec<String> = items
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect();
        if items.is_empty() {
            self.report.fault(
                name,
                "is set, and has no entry",
                "list one or more, separated by commas, or remove it",
            );
        }
        items
    }
}

fn log_level(r: &mut Reader<'_>) -> String {
    let Some(level) = r.text("LOG_LEVEL") else {
        return "info".to_owned();
    };
    match level.to_ascii_lowercase().as_str() {
        // The original's names for what is quieter than `error`.
        "fatal" => "error".to_owned(),
        "silent" => "off".to_owned(),
        known @ ("trace" | "debug" | "info" | "warn" | "error" | "off") => known.to_owned(),
        _ => {
            r.report.fault(
                "LOG_LEVEL",
                "is not one of its values",
                "use trace, debug, info, warn or error",
            );
            "info".to_owned()
        }
    }
}

fn service_prefix(r: &mut Reader<'_>) -> String {
    let Some(text) = r.text("SERVICE_PREFIX") else {
        return String::new();
    };
    let path = text.trim_matches('/');
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | ".." | "-")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    if path.is_empty() {
        return String::new();
    }
    if !path.split('/').all(is_segment) {
        r.report.fault(
            "SERVICE_PREFIX",
            "is no plain path",
            "use segments of letters, digits and - _ . ~, as /api/auth",
        );
        return String::new();
    }
    format!("/{path}")
}

fn original_protocol_header(r: &mut Reader<'_>) -> Option<String> {
    let text = r.text("ORIGINAL_PROTOCOL_HEADER")?;
    match HeaderName::from_str(text.trim()) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            r.report.fault(
                "ORIGINAL_PROTOCOL_HEADER",
                "is no header's name",
                "give one, as x-forwarded-proto",
            );
            None
        }
    }
}

fn trusted_proxies(r: &mut Reader<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for item in r.list("TRUSTED_PROXIES") {
        match item
            .parse()
            .ok()
            .or_else(|| item.parse().ok().map(|address: IpAddr| address.into()))
        {
            Some(net) => nets.push(net),
            None => r.report.fault(
                "TRUSTED_PROXIES",
                format!("{item} is no address range"),
                "list CIDR ranges or addresses, as 10.0.0.0/8,192.0.2.7",
            ),
        }
    }
    nets
}

fn redis(r: &mut Reader<'_>) -> Option<RedisSettings> {
    let mut hosts = Vec::new();
    for item in r.list("REDIS_HOSTS") {
        match host_and_port(&item) {
            Some(host) => hosts.push(host),
            // A URL with a password in it must not be repeated.
            None => r.report.fault(
                "REDIS_HOSTS",
                "has an entry that is no host",
                "list host or host:port, IPv6 in brackets",
            ),
        }
    }
    let master_name = r.text("REDIS_MASTER_NAME");
    let mode = match r.text("REDIS_MODE").as_deref() {
        None | Some("normal") => RedisMode::Normal,
        Some("cluster") => RedisMode::Cluster,
        Some("sentinel") => {
            if master_name.is_none() {
                r.report.fault(
                    "REDIS_MASTER_NAME",
                    "is missing",
                    "REDIS_MODE sentinel needs the primary's name",
                );
            }
            RedisMode::Sentinel {
                master_name: master_name.unwrap_or_default(),
            }
        }
        Some(_) => {
            r.report.fault(
                "REDIS_MODE",
                "is not one of its values",
                "use normal, sentinel or cluster",
            );
            RedisMode::Normal
        }
    };
    let username = r.text("REDIS_USERNAME");
    let password = r.text("REDIS_PASSWORD").map(SecretString::from);
    let sentinel_username = r.text("REDIS_SENTINEL_USERNAME");
    let sentinel_password = r.text("REDIS_SENTINEL_PASSWORD").map(SecretString::from);
    let ca = r.text("REDIS_CA");
    let certificate = r.text("REDIS_CLIENT_CERT");
    let key = r.text("REDIS_CLIENT_KEY").map(SecretString::from);
    let tls = match r.text("REDIS_TLS").as_deref() {
        // A certificate makes no sense without.
        None => ca.is_some() || certificate.is_some(),
        Some("true") => true,
        Some("false") => false,
        Some(_) => {
            r.report.fault(
                "REDIS_TLS",
                "is neither true nor false",
                "use true or false",
            );
            false
        }
    };
    // Without this, a server whose certificate nobody vouches for looks like one that is away.
    let mut pem = |name: &str, text: Option<&str>, what: &str| {
        if text.is_some_and(|text| !text.contains("-----BEGIN ") || !text.contains(what)) {
            let problem = format!("holds no {what} in PEM");
            let mend = format!("give one, or the file's name in {name}_FILE");
            r.report.fault(name, problem, mend);
        }
    };
    pem("REDIS_CA", ca.as_deref(), "CERTIFICATE");
    pem("REDIS_CLIENT_CERT", certificate.as_deref(), "CERTIFICATE");
    pem(
        "REDIS_CLIENT_KEY",
        key.as_ref().map(SecretString::expose_secret),
        "PRIVATE KEY",
    );
    let client_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            r.report.fault(
                "REDIS_CLIENT_CERT",
                "and REDIS_CLIENT_KEY belong together",
                "set both or neither",
            );
            None
        }
    };
    (!hosts.is_empty()).then_some(RedisSettings {
        hosts,
        mode,
        username,
        password,
        sentinel_username,
        sentinel_password,
        tls,
        ca,
        client_certificate,
    })
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    const PORT: u16 = 6379;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() {
            PORT
        } else {
            rest.strip_prefix(':')?.parse().ok()?
        };
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, PORT),
        }
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    (!host.is_empty() && host.bytes().all(is_host)).then(|| (host.to_owned(), port))
}

fn session_store(r: &mut Reader<'_>, has_redis: bool) -> StoreKind {
    match r.text("SESSION_STORE").as_deref() {
        None if has_redis => StoreKind::Redis,
        None | Some("embedded") => StoreKind::Embedded,
        Some("memory") => StoreKind::Memory,
        Some("redis") => {
            if !has_redis {
                r.report
                    .fault("REDIS_HOSTS", "is missing", "SESSION_STORE redis needs it");
            }
            StoreKind::Redis
        }
        Some(_) => {
            r.report.fault(
                "SESSION_STORE",
                "is not one of its values",
                "use memory, embedded or redis",
            );
            StoreKind::Embedded
        }
    }
}

/// What Redis's keys are made of: a brace would choose the slots of a cluster.
fn session_scope(r: &mut Reader<'_>, store: StoreKind) -> Option<String> {
    let scope = r.text("SESSION_SCOPE")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if store == StoreKind::Redis && !scope.chars().all(fits) {
        r.report.fault(
            "SESSION_SCOPE",
            "has a character that no key may hold",
            "use letters, digits and _ . : -",
        );
    }
    Some(scope)
}

fn encryption_keys(r: &mut Reader<'_>) -> Option<EncryptionKeys> {
    let text = SecretString::from(r.text("SESSION_ENCRYPTION_KEYS")?);
    match EncryptionKeys::parse(text.expose_secret()) {
        Ok(keys) => Some(keys),
        Err(error) => {
            r.report.fault(
                "SESSION_ENCRYPTION_KEYS",
                format!("does not hold: {error}"),
                "list keys of 32 random bytes in base64, each as from `openssl rand -base64 32`",
            );
            None
        }
    }
}

fn management_api_keys(r: &mut Reader<'_>) -> Vec<SecretString> {
    let keys = r.list("MANAGEMENT_API_KEYS");
    if keys.iter().any(|key| key.len() < MIN_KEY) {
        r.report.fault(
            "MANAGEMENT_API_KEYS",
            format!("has a key of less than {MIN_KEY} characters"),
            "use long random keys",
        );
    }
    keys.into_iter().map(SecretString::from).collect()
}

fn management_access(r: &mut Reader<'_>, host: IpAddr, main_port: u64) -> ManagementAccess {
    let open = match r.text("MANAGEMENT_ACCESS").as_deref() {
        None => false,
        Some("open") => true,
        Some(_) => {
            r.report.fault(
                "MANAGEMENT_ACCESS",
                "is not its value",
                "use open, or remove it",
            );
            true
        }
    };
    if r.text("MANAGEMENT_HTTP_PORT").is_some() {
        let port = r.number("MANAGEMENT_HTTP_PORT", 0, 0, 65_535);
        // 0 is another one each time.
        if port != 0 && port == main_port {
            r.report.fault(
                "MANAGEMENT_HTTP_PORT",
                format!("{port} is HTTP_PORT too"),
                "give each listener a port of its own",
            );
        }
        return ManagementAccess::OwnListener(u16::try_from(port).unwrap_or(0));
    }
    if open {
        return ManagementAccess::Open;
    }
    // Keys that are no good have been reported, and were a choice.
    if r.text("MANAGEMENT_API_KEYS").is_none() && !host.is_loopback() {
        r.report.fault(
            "MANAGEMENT_ACCESS",
            "is not chosen, and the routes that show and change the tenant's users would be open to everybody",
            "set MANAGEMENT_API_KEYS, MANAGEMENT_HTTP_PORT, MANAGEMENT_ACCESS=open (something in front protects them), or a loopback HTTP_HOST",
        );
    }
    ManagementAccess::MainListener
}

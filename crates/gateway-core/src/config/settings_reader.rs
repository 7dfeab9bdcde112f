//! Reads the environment into [`Settings`].

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::fault::Report;
use super::management_access;
use super::redis;
use super::settings::{Settings, StoreKind};
use super::variables::{Read, Variables, or};

/// Browsers keep no cookie longer: 400 days (RFC 6265bis, section 5.5).
const MAX_SESSION_SECONDS: u64 = 400 * 24 * 60 * 60;
const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Variables of the original that have no effect here.
const WITHOUT_EFFECT: [&str; 4] = [
    "MONGO_DB_URL",
    "USERS_DATABASE_NAME",
    "USERS_COLLECTION_NAME",
    "USERS_PROPERTIES_TO_SAVE",
];

/// Reads every variable. The path of the config file is `None` when it has a fault.
pub(super) fn read(variables: &Variables<'_>, report: &Report) -> (Settings, Option<PathBuf>) {
    let seconds = |name, range, default| or(duration(variables, name, range), default);
    let http_host = or(http_host(variables), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let http_port = or(port(variables, "HTTP_PORT"), 8080);
    let (management_api_keys, management_access) =
        management_access::read(variables, http_host, http_port);
    let config_file = config_file(variables);
    let redis = redis::read(variables);
    let settings = Settings {
        log_level: or(log_level(variables), "info").to_owned(),
        http_host,
        http_port,
        service_prefix: or(service_prefix(variables), String::new()),
        service_version: or(
            variables.text("SERVICE_VERSION"),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        config_file: config_file.clone().unwrap_or_default(),
        session_duration: seconds(
            "SESSION_DURATION_SECONDS",
            1..=MAX_SESSION_SECONDS,
            Duration::from_secs(86_400),
        ),
        session_idle: or(
            duration(variables, "SESSION_IDLE_SECONDS", 1..=MAX_SESSION_SECONDS).map(Some),
            None,
        ),
        session_scope: or(session_scope(variables).map(Some), None),
        session_store: session_store(variables, redis.is_ok_and_some()),
        session_store_path: or(
            variables.text("SESSION_STORE_PATH").map(|path| path.map(PathBuf::from)),
            PathBuf::from("sessions.redb"),
        ),
        refresh_grace: seconds("REFRESH_GRACE_SECONDS", 0..=300, Duration::from_secs(30)),
        id_token_leeway: seconds("ID_TOKEN_LEEWAY_SECONDS", 0..=300, Duration::from_secs(60)),
        redis: or(redis, None),
        original_protocol_header: None,
        trusted_proxies: Vec::new(),
        management_api_keys,
        management_access,
        request_timeout: Duration::ZERO,
        upstream_timeout: Duration::ZERO,
        header_timeout: Duration::ZERO,
        max_body_bytes: 0,
        import_max_bytes: 0,
        delay_shutdown: Duration::ZERO,
    };
    (settings, config_file)
}

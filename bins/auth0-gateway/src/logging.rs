//! Log lines: JSON on standard output, one event a line.

use tracing_subscriber::EnvFilter;

/// Starts logging at a level of the gateway's own; the libraries below speak up from `warn` on, so that
/// `trace` shows what the gateway does and never what goes over the wire.
pub(crate) fn start(level: &str) {
    let filter = format!(
        "warn,auth0_gateway={level},gateway_core={level},sessionkit={level},auth0_api={level}"
    );
    let filter = if matches!(level, "error" | "off") {
        level.to_owned()
    } else {
        filter
    };
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(EnvFilter::new(filter))
        .finish();
    // Fails only where a test has set one before.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

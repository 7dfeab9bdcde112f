//! The `dev` and `dev-tenant` commands: everything runs with nothing set.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dev_tenant::{DevTenant, Seed, TenantSettings};
use gateway_core::config::{Environment, load};
use serde_json::json;
use tokio::net::TcpListener;

use crate::dev_page::{DevService, ORIGINAL_PROTOCOL};
use crate::environment::ProcessEnvironment;
use crate::logging;
use crate::serve::{BoxError, Signals, assemble, runtime, serve_on, with_causes};

/// The API key of the client `app` in development, sent in the header `secret`.
const APP_KEY: &str = "dev-app-key";
/// SHA-256 of [`APP_KEY`].
const APP_KEY_SHA256: &str = "427bdc289ed8f3babee3f5ed9852ac2f556f111aadc23c46049160399de23768";
/// A person of the built-in tenant.
const PERSON: (&str, &str) = ("mia@example.org", "Correct-Horse-1");

/// How the development tenant listens.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TenantArguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// Serve https with a certificate made at the start, which is written to this file.
    #[arg(long, value_name = "FILE")]
    https: Option<PathBuf>,
    /// JSON file with applications, APIs, connections and people; without it the built-in ones.
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
}

/// Runs the development tenant alone.
pub(crate) fn tenant(arguments: &TenantArguments) -> ExitCode {
    logging::start("info");
    finish(runtime().and_then(|runtime| runtime.block_on(run_tenant(arguments))))
}

#[expect(clippy::print_stdout, reason = "a command speaks to a person")]
async fn run_tenant(arguments: &TenantArguments) -> Result<(), BoxError> {
    let seed = match &arguments.seed {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            Seed::from_json(&text)?
        }
        None => Seed::example(),
    };
    let settings = TenantSettings {
        listen: arguments.listen,
        https: arguments.https.is_some(),
        ..TenantSettings::default()
    };
    let tenant = DevTenant::start(settings, seed).await?;
    if let (Some(path), Some(pem)) = (&arguments.https, tenant.certificate_pem()) {
        std::fs::write(path, pem)?;
    }
    println!("development tenant: {}", tenant.url());
    Signals::new()?.next().await;
    tenant.shutdown().await;
    Ok(())
}

/// Runs the gateway in front of a development tenant.
#[expect(
    clippy::print_stderr,
    reason = "there is no log yet when the configuration is bad"
)]
pub(crate) fn dev() -> ExitCode {
    let result = runtime().and_then(|runtime| runtime.block_on(run()));
    if let Err(error) = &result {
        eprintln!("{}", with_causes(&**error));
    }
    finish(result)
}

fn finish(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = with_causes(&*error);
            tracing::error!(error, "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    // The gateway's port first: the redirect URL is made from it.
    let process = ProcessEnvironment;
    let port = process
        .variable("HTTP_PORT")
        .unwrap_or_else(|| "8080".to_owned());
    let address: SocketAddr = format!("127.0.0.1:{port}")
        .parse()
        .map_err(|_| "HTTP_PORT must be a port")?;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}; set HTTP_PORT to another port")
    })?;
    let address = listener.local_addr()?;
    let tenant = DevTenant::start(TenantSettings::default(), Seed::example()).await?;
    let folder = tempfile::tempdir()?;
    let environment = DevEnvironment {
        config: config(tenant.url(), address),
        folder: folder.path().to_owned(),
    };
    let loaded = load(&environment)?;
    logging::start(&loaded.settings.log_level);
    let gateway = assemble(loaded).await?;
    greet(address, tenant.url());
    let service = DevService::new(gateway.service.clone());
    serve_on(&gateway, vec![(listener, service)]).await?;
    tenant.shutdown().await;
    Ok(())
}

/// The process' environment, on loopback, with a `config.json` made for the tenant.
struct DevEnvironment {
    config: String,
    folder: PathBuf,
}

impl Environment for DevEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "HTTP_HOST" => Some("127.0.0.1".to_owned()),
            // Its people are new with each start, so nothing is kept for the next one.
            "SESSION_STORE_PATH" if !ProcessEnvironment.is_set(name) => {
                let file = self.folder.join("sessions.redb");
                file.to_str().map(str::to_owned)
            }
            "ORIGINAL_PROTOCOL_HEADER" => Some(ORIGINAL_PROTOCOL.as_str().to_owned()),
            _ => ProcessEnvironment.variable(name),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        self.variable(name).is_some() || ProcessEnvironment.is_set(name)
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        // `<NAME>_FILE` still names real files.
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            return Ok(self.config.clone());
        }
        ProcessEnvironment.read_file(path)
    }
}

fn config(tenant_url: &str, address: SocketAddr) -> String {
    let client = |scopes: &[&str], website: bool| {
        json!({
            "auth0Url": tenant_url,
            "clientId": "dev-website",
            "clientSecret": "dev-website-secret",
            "redirectUrl": format!("http://localhost:{}/web-login/callback", address.port()),
            "audience": "https://api.example.org/",
            "scopes": scopes,
            "webLogin": website,
            "sameSite": "Lax",
        })
    };
    json!({
        "clients": {
            "website": client(&["profile", "email", "offline_access", "website"], true),
            "app": client(&["profile", "email", "offline_access"], false),
        },
        "defaultClient": "website",
        "apiKeys": [{"sha256": APP_KEY_SHA256, "client": "app"}],
        "managementClient": {
            "auth0Url": tenant_url,
            "clientId": "dev-management",
            "clientSecret": "dev-management-secret",
        },
        "customClaimsNamespaces": [
            "https://mia-platform.eu/app_metadata",
            "https://mia-platform.eu/user_metadata",
        ],
    })
    .to_string()
}

#[expect(clippy::print_stdout, reason = "a command speaks to a person")]
fn greet(address: SocketAddr, tenant: &str) {
    let (gateway, (person, password)) = (format!("http://localhost:{}", address.port()), PERSON);
    println!(
        "gateway:  {gateway}
tenant:   {tenant}
person:   {person}  password: {password}

In a browser, open {gateway}/ and sign in. Or try:

curl -X POST {gateway}/oauth/token --header 'secret: {APP_KEY}' --data-urlencode grant_type=password --data-urlencode username={person} --data-urlencode password={password}
curl {gateway}/userinfo --header \"authorization: Bearer YOUR_ACCESS_TOKEN\"
curl {gateway}/users/active

Ctrl-C ends it."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_keys() {
        let hash = *sessionkit::Credential::of(APP_KEY.as_bytes()).hash();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, APP_KEY_SHA256);
    }
}

//! The whole gateway inside an axum service, beside a route of the service's own.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io;
use std::path::Path;
use std::sync::Arc;

use auth0_api::{Auth0Client, ClientSettings};
use axum::Router;
use axum::routing::get;
use dev_tenant::{DevTenant, Seed, TenantSettings};
use gateway_core::config::{Environment, Loaded, load};
use gateway_core::http::GatewayService;
use gateway_core::{Gateway, Parts};
use sessionkit::{Lifetimes, MemoryStore, Sessions, SystemClock};

/// The configuration, from this program instead of the process' environment.
struct Configuration {
    tenant: String,
}

impl Environment for Configuration {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HTTP_HOST").then(|| "127.0.0.1".to_owned())
    }

    fn read_file(&self, _: &Path) -> io::Result<String> {
        Ok(format!(
            r#"{{"clients": {{"app": {{
                "auth0Url": "{}", "clientId": "dev-website", "clientSecret": "dev-website-secret",
                "redirectUrl": "http://localhost/callback", "scopes": ["profile", "offline_access"]
            }}}}, "defaultClient": "app"}}"#,
            self.tenant
        ))
    }
}

fn app(loaded: Loaded) -> Result<Router, Box<dyn std::error::Error>> {
    let store = Arc::new(MemoryStore::new());
    let sessions = Sessions::new(
        Arc::clone(&store) as _,
        Arc::new(SystemClock),
        Lifetimes::default(),
    );
    let gateway = Gateway::new(Parts {
        settings: loaded.settings,
        clients: loaded.clients,
        api: Arc::new(Auth0Client::new(ClientSettings::default())?),
        management: None,
        imports: None,
        metrics: None,
        sessions: Arc::new(sessions),
        one_time: Arc::clone(&store) as _,
        records: store,
    });
    let gateway = GatewayService::new(Arc::new(gateway))?;
    Ok(Router::new()
        .route("/hello", get(async || "hello"))
        .fallback_service(gateway))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = DevTenant::start(TenantSettings::default(), Seed::example()).await?;
    let app = app(load(&Configuration {
        tenant: tenant.url().to_owned(),
    })?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let http = reqwest::Client::builder().no_proxy().build()?;
    let hello = http
        .get(format!("http://{address}/hello"))
        .send()
        .await?
        .text()
        .await?;
    let form = "grant_type=password&username=mia%40example.org&password=Correct-Horse-1";
    let answer = http
        .post(format!("http://{address}/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    println!(
        "the service's own route says {hello}; the gateway's sign-in says {}",
        answer.status()
    );
    if answer.status() != 200 {
        return Err("the sign-in did not work".into());
    }
    tenant.shutdown().await;
    Ok(())
}

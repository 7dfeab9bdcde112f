//! A development tenant and a gateway that administers it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth0_api::{Auth0Client, ClientSettings, ManagementClient};
use bytes::Bytes;
use dev_tenant::{DevTenant, Seed, SeedUser, TenantSettings};
use gateway_core::config::{Environment, load};
use gateway_core::http::GatewayService;
use gateway_core::imports::{FilePayloads, Imports};
use gateway_core::{Gateway, Parts};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use sessionkit::{Lifetimes, MemoryStore, Sessions, SystemClock};

pub(crate) const DATABASE: &str = "Username-Password-Authentication";

pub(crate) struct Configuration {
    pub(crate) file: String,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
}

impl Environment for Configuration {
    fn variable(&self, name: &str) -> Option<String> {
        if name == "HTTP_HOST" {
            return Some("127.0.0.1".to_owned());
        }
        let given = self.variables.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| (*value).to_owned())
    }

    fn read_file(&self, _: &Path) -> io::Result<String> {
        Ok(self.file.clone())
    }
}

/// How a world is made.
pub(crate) struct Plan {
    pub(crate) tenant: TenantSettings,
    pub(crate) seed: Seed,
    /// Where the gateway finds the tenant, if not at its own address.
    pub(crate) url: Option<String>,
    pub(crate) secret: &'static str,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            tenant: TenantSettings::default(),
            seed: Seed::example(),
            url: None,
            secret: "dev-management-secret",
            variables: Vec::new(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) tenant: Arc<DevTenant>,
    pub(crate) service: GatewayService,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) client: Auth0Client,
    /// Where requests go first, if not to the gateway itself; and what is said of them there.
    pub(crate) through: Option<(reqwest::Client, String)>,
    pub(crate) violations: Arc<Mutex<Vec<String>>>,
    /// Where the rows of imports wait.
    pub(crate) folder: Arc<tempfile::TempDir>,
}

impl Plan {
    pub(crate) async fn start(self) -> World {
        let tenant = DevTenant::start(self.tenant, self.seed).await.unwrap();
        let url = self.url.unwrap_or_else(|| tenant.url().to_owned());
        World::over(Arc::new(tenant), &url, self.secret, self.variables)
    }
}

impl World {
    /// A gateway over a tenant that is there.
    pub(crate) fn over(
        tenant: Arc<DevTenant>,
        url: &str,
        secret: &str,
        variables: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let id = |name: &str| tenant.connection_id(name).unwrap();
        let config = json!({
            "clients": {"app": {
                "auth0Url": tenant.url(), "clientId": "dev-website", "clientSecret": "dev-website-secret",
                "redirectUrl": "http://localhost/callback", "audience": "https://api.example.org/",
                "scopes": ["offline_access", "profile"],
            }},
            "defaultClient": "app",
            "auth0TenantUrl": tenant.url(),
            "managementClient": {
                "auth0Url": url, "clientId": "dev-management", "clientSecret": secret,
                "supportedConnectionsMap": {DATABASE: {"connectionId": id(DATABASE)}},
                "defaultManagementConnectionName": DATABASE,
            },
        });
        let loaded = load(&Configuration {
            file: config.to_string(),
            variables,
        })
        .unwrap();
        let client = Auth0Client::new(ClientSettings {
            timeout: loaded.settings.upstream_timeout,
            ..ClientSettings::default()
        })
        .unwrap();
        let application = loaded.clients.management.as_ref().unwrap();
        let management = Arc::new(ManagementClient::new(
            client.clone(),
            application.application.clone(),
            // What the tenant calls itself may be another name than its address.
            format!("{}api/v2/", tenant.issuer()),
        ));
        let store = Arc::new(MemoryStore::new());
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let imports = Imports::new(
            Arc::clone(&management) as _,
            Arc::clone(&store) as _,
            Arc::new(FilePayloads::new(folder.path())),
            Arc::new(SystemClock),
            loaded.settings.import_results,
        );
        let sessions = Sessions::new(
            Arc::clone(&store) as _,
            Arc::new(SystemClock),
            Lifetimes::default(),
        );
        let gateway = Arc::new(Gateway::new(Parts {
            settings: loaded.settings,
            clients: loaded.clients,
            api: Arc::new(client.clone()),
            management: Some(management),
            imports: Some(Arc::new(imports)),
            metrics: None,
            sessions: Arc::new(sessions),
            one_time: Arc::clone(&store) as _,
            records: store,
        }));
        Self {
            tenant,
            service: GatewayService::new(Arc::clone(&gateway)).unwrap(),
            gateway,
            client,
            through: None,
            violations: Arc::default(),
            folder,
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, HeaderMap, Bytes) {
        if let Some((http, base)) = &self.through {
            return self
                .send_through(http, base, (method, path), headers, body)
                .await;
        }
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "www.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let answer = self.service.handle(request, None).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, body)
    }

    async fn send_through(
        &self,
        http: &reqwest::Client,
        base: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = http.request(method.parse().unwrap(), format!("{base}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_vec());
        }
        let answer = request.send().await.unwrap();
        if let Some(said) = answer.headers().get("sl-violations") {
            let said = String::from_utf8_lossy(said.as_bytes());
            let said = format!("{method} {path} {}: {said}", answer.status());
            self.violations.lock().unwrap().push(said);
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json("GET", path, &Value::Null).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("content-type", "application/json")];
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let (status, _, body) = self.send(method, path, &headers, body.as_bytes()).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Signs somebody of the built-in tenant in; gives the access token.
    pub(crate) async fn sign_in(&self) -> String {
        let body = json!({"grant_type": "password", "username": "mia@example.org", "password": "Correct-Horse-1"});
        let (status, tokens) = self.json("POST", "/oauth/token", &body).await;
        assert_eq!(status, 200, "{tokens}");
        tokens["accessToken"].as_str().unwrap().to_owned()
    }

    /// How often the tenant was called on a path, by its beginning.
    pub(crate) fn calls(&self, path: &str) -> usize {
        let calls = self.tenant.calls();
        calls
            .iter()
            .filter(|call| call.path.starts_with(path))
            .count()
    }
}

/// Somebody to put into a tenant.
pub(crate) fn person(number: usize) -> SeedUser {
    serde_json::from_value(json!({
        "email": format!("person{number:05}@example.org"), "password": "Correct-Horse-9",
        "connection": DATABASE, "app_metadata": {"number": number},
    }))
    .unwrap()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

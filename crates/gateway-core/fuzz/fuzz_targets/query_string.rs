//! The query string of `GET /users`, through the whole service: 200 or 400, and a `q` that an independent
//! parser can read.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use auth0_api::management::MockManagementApi;
use auth0_api::{Auth0Client, ClientSettings};
use gateway_core::config::{Environment, load};
use gateway_core::http::GatewayService;
use gateway_core::{Gateway, Parts};
use http_body_util::{BodyExt as _, Empty};
use libfuzzer_sys::fuzz_target;
use sessionkit::{Lifetimes, MemoryStore, Sessions, SystemClock};
use tokio::runtime::{Builder, Runtime};

struct Configuration;

impl Environment for Configuration {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HTTP_HOST").then(|| "127.0.0.1".to_owned())
    }

    fn read_file(&self, _: &Path) -> std::io::Result<String> {
        Ok(r#"{"clients":{"app":{"auth0Url":"acme.eu.auth0.com","clientId":"a","clientSecret":"b",
            "redirectUrl":"https://www.example.org/callback","scopes":["profile"]}},"managementClient":{"auth0Url":"acme.eu.auth0.com","clientId":"a",
            "clientSecret":"b","supportedConnectionsMap":{"staff":{"connectionId":"con_AbCdEfGh12345678"}}}}"#
            .to_owned())
    }
}

static WORLD: LazyLock<(Runtime, GatewayService)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let loaded = load(&Configuration).expect("a configuration");
    let store = Arc::new(MemoryStore::new());
    let sessions = Sessions::new(Arc::clone(&store) as _, Arc::new(SystemClock), Lifetimes::default());
    let gateway = Gateway::new(Parts {
        settings: loaded.settings,
        clients: loaded.clients,
        api: Arc::new(Auth0Client::new(ClientSettings::default()).expect("a client")),
        // Nothing may be called.
        management: Some(Arc::new(MockManagementApi::new())),
        imports: None,
        metrics: None,
        sessions: Arc::new(sessions),
        one_time: Arc::clone(&store) as _,
        records: store,
    });
    (runtime, GatewayService::new(Arc::new(gateway)).expect("a service"))
});

fuzz_target!(|query: &[u8]| {
    let uri = [b"/users?_explain=true&", query].concat();
    let Ok(uri) = http::Uri::try_from(uri) else {
        return;
    };
    let request = http::Request::get(uri).header("host", "www.example.org");
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let (runtime, service) = &*WORLD;
    let (status, body) = runtime.block_on(async {
        let answer = service.handle(request, None).await.expect("an answer");
        let status = answer.status();
        (status, answer.into_body().collect().await.expect("a body").to_bytes())
    });
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    match status.as_u16() {
        200 => {
            if let Some(q) = body["q"].as_str() {
                dev_tenant::search::parse(q).expect("a q that cannot be read");
                assert!(q.ends_with("(identities.connection:\"staff\")"), "{q}");
            }
        }
        400 => assert!(body["message"].is_string()),
        other => panic!("{other}: {body}"),
    }
});

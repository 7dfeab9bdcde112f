//! Auth0's own contract of the Management API, held between the gateway and the tenant: a validating
//! proxy (npm's prism) looks at every request and every answer of the whole suite.

use std::convert::Infallible;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dev_tenant::{DevTenant, Seed, TenantSettings};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::world::World;

/// The variable that names the file with the contract.
const CONTRACT: &str = "AUTH0_MANAGEMENT_OPENAPI";

pub(crate) struct Prism(Child);

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) async fn prism(contract: &str, tenant: &str) -> (Prism, String) {
    // The packages that prove the tenant itself.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/dev-tenant/tests/npm");
    let made = |path: &str| std::fs::metadata(folder.join(path)).ok()?.modified().ok();
    if made("node_modules/.package-lock.json") < made("package-lock.json") {
        let installed = Command::new("npm").arg("ci").current_dir(&folder).output();
        assert!(installed.unwrap().status.success(), "npm ci failed");
    }
    let port = free_port();
    let child = Command::new("node")
        .args(["node_modules/@stoplight/prism-cli/dist/index.js", "proxy"])
        .args([contract, tenant, "--host", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .current_dir(&folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let prism = Prism(child);
    let since = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(since.elapsed() < Duration::from_secs(30), "no proxy");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (prism, format!("http://127.0.0.1:{port}"))
}

/// One address for the gateway: the Management API through the proxy, tokens from the tenant itself.
/// Gives the address, and the violations as they are found.
async fn front(tenant: String, proxy: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let violations = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let found = Arc::clone(&violations);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tenant, proxy) = (tenant.clone(), proxy.clone());
            let (http, found) = (http.clone(), Arc::clone(&found));
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path_and_query().unwrap().to_string();
                    let base = if path.starts_with("/api/v2/") {
                        &proxy
                    } else {
                        &tenant
                    };
                    let (http, found, url) =
                        (http.clone(), Arc::clone(&found), format!("{base}{path}"));
                    async move { Ok::<_, Infallible>(pass_on(&http, &url, request, &found).await) }
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, violations)
}

async fn pass_on(
    http: &reqwest::Client,
    url: &str,
    request: Request<Incoming>,
    found: &Mutex<Vec<String>>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    headers.remove("host");
    let body = body.collect().await.unwrap().to_bytes();
    let call = http
        .request(parts.method.clone(), url)
        .headers(headers)
        .body(body);
    let answer = call.send().await.unwrap();
    // The contract's two shapes of a page of connections are the same where there is no next one; and
    // for a job without errors it describes a body, where Auth0 has been seen to send none.
    let known = url.contains("/connections?") || answer.status() == 204;
    if let Some(said) = answer.headers().get("sl-violations")
        && !known
    {
        let said = String::from_utf8_lossy(said.as_bytes()).into_owned();
        found
            .lock()
            .unwrap()
            .push(format!("{} {url}: {said}", parts.method));
    }
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut passed = Response::new(Full::new(answer.bytes().await.unwrap()));
    *passed.status_mut() = status;
    let kept: HeaderMap = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value)))
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "content-length" | "transfer-encoding" | "connection"
            )
        })
        .collect();
    *passed.headers_mut() = kept;
    passed
}

#[tokio::test]
async fn both_sides_keep_to_the_contract() {
    let Ok(contract) = std::env::var(CONTRACT) else {
        println!("{CONTRACT} is not set: the contract of the Management API is not checked");
        return;
    };
    let settings = TenantSettings {
        // The contract takes no loopback address for a URL.
        domain: Some("tenant.example.org".to_owned()),
        ..TenantSettings::default()
    };
    let tenant = Arc::new(DevTenant::start(settings, Seed::example()).await.unwrap());
    let (_prism, proxy) = prism(&contract, tenant.url()).await;
    let (address, violations) = front(tenant.url().to_owned(), proxy).await;
    let world = World::over(tenant, &address, "dev-management-secret", Vec::new());
    crate::suite::everything(&world).await;
    crate::suite::ticket(&world, world.tenant.issuer()).await;
    crate::suite::every_id(&world).await;
    crate::import::upsert(&world).await;
    let (status, _, lines) = world.send("GET", "/users/export", &[], b"").await;
    assert_eq!(status, 200);
    assert!(lines.len() > 500);
    // The suite sends one body that is wrong on purpose: it shows that the proxy looks.
    let violations = violations.lock().unwrap().clone();
    assert!(
        violations.len() == 1 && violations[0].contains("found 'color'"),
        "{violations:?}"
    );
    assert!(world.calls("/api/v2/") > 60);
}

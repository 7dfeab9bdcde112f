//! Proof that the tenant is Auth0-shaped: npm's `auth0`, `openid-client` and `jose` run
//! against it, and Auth0's own contract of the Management API is checked if it is there.
//! Needs `node` (20.19 or newer) and `npm`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and print for people"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dev_tenant::{DevTenant, Seed, TenantSettings};

/// The variable that names the file with Auth0's own contract of the Management API.
const CONTRACT: &str = "AUTH0_MANAGEMENT_OPENAPI";

#[test]
fn npm_clients_cannot_tell_it_from_auth0() {
    let folder = packages();
    let runtime = runtime();
    let receiver = free_port();
    let (http, https) =
        runtime.block_on(async { (start(false, receiver).await, start(true, receiver).await) });
    let certificate = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dev-tenant-certificate.pem");
    std::fs::write(&certificate, https.certificate_pem().unwrap()).unwrap();

    let output = run(Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .current_dir(&folder)
        .env("NODE_EXTRA_CA_CERTS", &certificate)
        .env("TENANT_HTTP_URL", http.url())
        .env("TENANT_HTTPS_URL", https.url())
        .env("RECEIVER_PORT", receiver.to_string()));
    runtime.block_on(async {
        http.shutdown().await;
        https.shutdown().await;
    });
    report(&output);
}

/// A proxy between the SDK and the tenant checks every request and every answer.
#[test]
fn both_sides_keep_to_the_contract_of_the_management_api() {
    let Some(contract) = std::env::var_os(CONTRACT).map(PathBuf::from) else {
        println!("{CONTRACT} is not set: the contract of the Management API is not checked");
        return;
    };
    let folder = packages();
    let runtime = runtime();
    let settings = TenantSettings {
        domain: Some("tenant.example.org".to_owned()),
        ..TenantSettings::default()
    };
    let tenant = runtime
        .block_on(DevTenant::start(settings, Seed::example()))
        .unwrap();
    let port = free_port();
    let mut proxy = Proxy(
        Command::new("node")
            .arg("node_modules/@stoplight/prism-cli/dist/index.js")
            .arg("proxy")
            .arg(&contract)
            .args([tenant.url(), "--host", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    proxy.wait_for(port);
    let output = run(Command::new("node")
        .args(["--test", "--test-reporter=spec", "management.test.js"])
        .current_dir(&folder)
        .env("CONTRACT_PROXY_URL", format!("http://127.0.0.1:{port}"))
        .env("TENANT_HTTP_URL", tenant.url())
        .env("TENANT_HTTPS_URL", tenant.url())
        .env("TENANT_ISSUER", tenant.issuer())
        .env("RECEIVER_PORT", "0"));
    drop(proxy);
    runtime.block_on(tenant.shutdown());
    report(&output);
}

/// A running proxy; it ends with the test.
struct Proxy(Child);

impl Proxy {
    fn wait_for(&mut self, port: u16) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy ended by itself: {ended:?}");
            assert!(start.elapsed() < Duration::from_secs(20), "no proxy");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the npm packages are, installed as the lock file says.
fn packages() -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm");
    let made = |path: &str| {
        let file = std::fs::metadata(folder.join(path)).ok()?;
        file.modified().ok()
    };
    if made("node_modules/.package-lock.json") < made("package-lock.json") {
        let output = run(Command::new("npm").arg("ci").current_dir(&folder));
        assert!(
            output.status.success(),
            "npm ci failed in tests/npm:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    folder
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn report(output: &Output) {
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "the npm tests failed:\n{report}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{report}");
}

async fn start(https: bool, receiver: u16) -> DevTenant {
    let mut seed = Seed::example();
    seed.applications[0].backchannel_logout_urls =
        vec![format!("http://127.0.0.1:{receiver}/backchannel-logout")];
    let settings = TenantSettings {
        https,
        ..TenantSettings::default()
    };
    DevTenant::start(settings, seed).await.unwrap()
}

/// A port that somebody else will listen on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| {
        panic!("{program} could not be run ({error}): this test needs node 20.19 or newer and npm")
    })
}

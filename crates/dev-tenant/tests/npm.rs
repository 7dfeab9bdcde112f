//! Proof that the tenant is Auth0-shaped: npm's `auth0`, `openid-client` and `jose` run
//! against it. Needs `node` (20 or newer) and `npm`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

use dev_tenant::{DevTenant, Seed, TenantSettings};

#[test]
fn npm_clients_cannot_tell_it_from_auth0() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm");
    if !folder.join("node_modules").is_dir() {
        let output = run(Command::new("npm").arg("ci").current_dir(&folder));
        assert!(
            output.status.success(),
            "npm ci failed in tests/npm:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
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

/// A port that the receiver in the npm tests will listen on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|error| {
        panic!("{program} could not be run ({error}): this test needs node 20 or newer and npm")
    })
}

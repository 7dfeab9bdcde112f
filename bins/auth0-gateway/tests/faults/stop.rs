//! Planned stops: what Auth0 has already done is stored before the process goes.

use std::time::{Duration, Instant};

use dev_tenant::{Fault, FaultKind, TenantSettings};
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{self, Gateway, Held, Setup, check, person, refresh, seed, sign_in, who};
use crate::relay::{Hold, Relay};

const AT_ONCE: Duration = Duration::from_secs(3);

/// A tenant whose first access tokens have run out as soon as they are there, so that a check refreshes.
async fn relay() -> Relay {
    let lives = |grant: &str| (grant == "password").then_some(1);
    Relay::start(TenantSettings::default(), seed(4), Box::new(lives)).await
}

fn setup(relay: &Relay, variables: &[(&str, &str)]) -> Setup {
    let mut all = vec![
        ("SESSION_STORE", "embedded"),
        ("DELAY_SHUTDOWN_SECONDS", "0"),
    ];
    all.extend_from_slice(variables);
    Setup::new(relay, &all)
}

/// Somebody comes back and does not wait for the answer, which the tenant takes so long for.
async fn leaves_a_refresh(relay: &Relay, gateway: &Gateway, takes: Duration) -> (Client, Held) {
    let http = gateway::client();
    let held = sign_in(&http, &gateway.url, &person(0)).await;
    let held = held.unwrap().unwrap();
    relay.hold(&held.family, Hold::After(takes));
    let asked = check(&http, &gateway.url, &held);
    let answer = tokio::time::timeout(Duration::from_millis(700), asked).await;
    assert!(answer.is_err(), "{answer:?}");
    (http, held)
}

/// The session is alive on a gateway started anew, by the exchange that was under way, and can be refreshed.
async fn lives_on(relay: &Relay, setup: &Setup, held: &Held) {
    let gateway = setup.start();
    let http = gateway::client();
    let said = check(&http, &gateway.url, held).await;
    assert_eq!(said.unwrap().status, 200);
    assert_eq!(relay.exchanges_of(&held.family).len(), 1);
    let again = refresh(&http, &gateway.url, held).await;
    again.unwrap().unwrap();
    assert_eq!(relay.tenant.refresh_reuses(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_under_way_is_stored_before_a_planned_stop() {
    let relay = relay().await;
    let setup = setup(&relay, &[]);
    let mut gateway = setup.start();
    let (_http, held) = leaves_a_refresh(&relay, &gateway, Duration::from_secs(4)).await;
    gateway.terminate();
    let status = gateway.ends_within(Duration::from_secs(20)).await;
    assert_eq!(status, Some(Some(0)));
    let log = gateway.whole_log();
    assert!(log.contains("\"refreshes\":1"), "{log}");
    lives_on(&relay, &setup, &held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_waiting_at_once() {
    for delay in ["0", "30"] {
        let relay = relay().await;
        let setup = setup(&relay, &[("DELAY_SHUTDOWN_SECONDS", delay)]);
        let mut gateway = setup.start();
        leaves_a_refresh(&relay, &gateway, Duration::from_secs(30)).await;
        gateway.terminate();
        assert_eq!(gateway.ends_within(Duration::from_secs(1)).await, None);
        gateway.terminate();
        let status = gateway.ends_within(AT_ONCE).await;
        assert_eq!(status, Some(Some(1)), "{}", gateway.log_so_far());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_under_way_is_done_before_a_planned_stop() {
    let relay = Relay::start(TenantSettings::default(), seed(4), Box::new(|_| None)).await;
    let setup = setup(&relay, &[]);
    let mut gateway = setup.start();
    let http = gateway::client();
    let held = sign_in(&http, &gateway.url, &person(0)).await;
    let held = held.unwrap().unwrap();
    let (_, profile) = who(&http, &gateway.url, &held).await.unwrap();
    let user = profile["sub"].as_str().unwrap().replace('|', "%7C");
    let busy = FaultKind::Status {
        status: 503,
        body: "{}".to_owned(),
    };
    relay
        .tenant
        .inject(Fault::on("/oauth/revoke", busy).times(1));
    let url = format!("{}/sessions/{user}", gateway.url);
    assert_eq!(http.delete(url).send().await.unwrap().status(), 200);
    gateway.terminate();
    let status = gateway.ends_within(Duration::from_secs(12)).await;
    assert_eq!(status, Some(Some(0)));
    assert!(!relay.tenant.is_refresh_token_live(&held.refresh_token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_not_asked_about_in_the_middle_of_a_planned_stop() {
    let relay = Relay::start(TenantSettings::default(), seed(4), Box::new(|_| None)).await;
    let setup = setup(&relay, &[("SESSION_REVALIDATE_SECONDS", "60")]);
    let mut gateway = setup.start();
    let held = sign_in(&gateway::client(), &gateway.url, &person(0)).await;
    let held = held.unwrap().unwrap();
    relay.hold(&held.family, Hold::After(Duration::from_secs(4)));
    // Somewhere between half and nine tenths of the time.
    let since = Instant::now();
    while relay.exchanges_of(&held.family).is_empty() {
        assert!(since.elapsed() < Duration::from_secs(70));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.terminate();
    let status = gateway.ends_within(Duration::from_secs(20)).await;
    assert_eq!(status, Some(Some(0)));
    lives_on(&relay, &setup, &held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_say_that_the_connection_ends_once_a_stop_has_begun() {
    let relay = Relay::start(TenantSettings::default(), seed(1), Box::new(|_| None)).await;
    let setup = setup(&relay, &[("DELAY_SHUTDOWN_SECONDS", "30")]);
    let gateway = setup.start();
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut answer = vec![0; 4096];
    for path in ["/-/ready", "/userinfo"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let length = connection.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..length]).to_ascii_lowercase();
        assert!(!text.contains("connection: close"), "{text}");
    }
    gateway.terminate();
    let since = Instant::now();
    while !gateway.log_so_far().contains("\"stopping\"") {
        assert!(since.elapsed() < AT_ONCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let request = format!("GET /userinfo HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = connection.read_to_string(&mut text);
    tokio::time::timeout(AT_ONCE, read).await.unwrap().unwrap();
    let text = text.to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 401"), "{text}");
    assert!(text.contains("connection: close"), "{text}");
    // It still listens.
    TcpStream::connect(address).await.unwrap();
}

//! A change of encryption keys, step by step, as docs/sessions.md describes it.

use std::time::{Duration, Instant};

use dev_tenant::TenantSettings;
use reqwest::Client;

use crate::gateway::{self, Gateway, Setup, check, person, seed, sign_in};
use crate::relay::Relay;

const OLD: &str = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
const NEW: &str = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=";
const SIGNAL: &str = "safe to drop";

/// Until it has happened; panics when it does not.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !happened().await {
        assert!(Instant::now() < give_up, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until everything has been looked at, and nothing is sealed with an older key.
async fn all_sealed_anew(http: &Client, gateway: &Gateway) {
    let url = format!("{}/-/metrics", gateway.url);
    until("nothing is left under an older key", async || {
        let metrics = http.get(&url).send().await.unwrap().text().await.unwrap();
        let zero = "auth0_gateway_store_sealed_with_older_keys 0";
        metrics.lines().any(|line| line == zero)
    })
    .await;
}

#[tokio::test]
async fn keys_change_without_a_sign_out_and_the_log_says_when_the_older_ones_can_go() {
    let relay = Relay::start(TenantSettings::default(), seed(1), Box::new(|_| None)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let path = file.to_str().unwrap();
    let setup = Setup::new(&relay, &[("SESSION_ENCRYPTION_KEYS_FILE", path)]);
    let http = gateway::client();
    let start = |keys: &[&str]| {
        std::fs::write(&file, keys.join(",")).unwrap();
        setup.start()
    };

    // One key: there is none to drop.
    let mut gateway = start(&[OLD]);
    let held = sign_in(&http, &gateway.url, &person(0)).await;
    let held = held.unwrap().unwrap();
    all_sealed_anew(&http, &gateway).await;
    gateway.kill();
    assert!(!gateway.whole_log().contains(SIGNAL));

    // The new one opens only: the old one is still in use, and so are its values.
    let mut gateway = start(&[OLD, NEW]);
    assert_eq!(check(&http, &gateway.url, &held).await.unwrap().status, 200);
    gateway.kill();

    // The new one seals.
    let mut gateway = start(&[NEW, OLD]);
    assert_eq!(check(&http, &gateway.url, &held).await.unwrap().status, 200);
    all_sealed_anew(&http, &gateway).await;
    until("the log says it", async || {
        gateway.log_so_far().contains(SIGNAL)
    })
    .await;
    assert_eq!(check(&http, &gateway.url, &held).await.unwrap().status, 200);
    gateway.kill();

    // And it alone is enough.
    let mut gateway = start(&[NEW]);
    assert_eq!(check(&http, &gateway.url, &held).await.unwrap().status, 200);
    all_sealed_anew(&http, &gateway).await;
    gateway.kill();
    assert!(!gateway.whole_log().contains(SIGNAL));
}

//! Three gateways on one Redis, and one session that all ask about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dev_tenant::{RefreshTokenSettings, TenantSettings};
use reqwest::Client;
use tokio::task::JoinSet;

use crate::gateway::{self, Gateway, Held, Said, Setup, check, person, refresh, seed, sign_in};
use crate::redis::Redis;
use crate::relay::{Hold, Relay};

/// The lease is 15 seconds; it is taken shortly before the token is sent.
const LEASE_AT_LEAST: Duration = Duration::from_millis(14_500);
/// `REQUEST_TIMEOUT_SECONDS`, and some room for a slow machine.
const DEADLINE: Duration = Duration::from_secs(32);

struct World {
    relay: Relay,
    _redis: Redis,
    gateways: Vec<Gateway>,
    http: Client,
}

impl World {
    async fn start(replicas: usize, leeway: Duration, variables: &[(&str, &str)]) -> Self {
        let settings = TenantSettings {
            refresh: RefreshTokenSettings {
                leeway,
                ..RefreshTokenSettings::default()
            },
            ..TenantSettings::default()
        };
        // What a sign-in brings has run out at once, what a refresh brings lasts.
        let lives = |grant: &str| (grant == "password").then_some(1);
        let relay = Relay::start(settings, seed(10), Box::new(lives)).await;
        let redis = Redis::start();
        let setup = Setup::on_redis(&relay, &redis.host(), variables);
        let gateways = (0..replicas).map(|_| setup.start()).collect();
        Self {
            relay,
            _redis: redis,
            gateways,
            http: gateway::client(),
        }
    }

    async fn sign_in(&self, number: usize) -> Held {
        let url = &self.gateways[number % self.gateways.len()].url;
        let held = sign_in(&self.http, url, &person(number)).await.unwrap();
        held.unwrap()
    }

    /// So many checks at once, spread over these replicas; each is given with the time it took. No answer
    /// is none.
    fn storm(
        &self,
        held: &Held,
        count: usize,
        over: &[usize],
    ) -> JoinSet<(Option<Said>, Duration)> {
        let mut storm = JoinSet::new();
        for number in 0..count {
            let url = self.gateways[over[number % over.len()]].url.clone();
            let (http, held) = (self.http.clone(), held.clone());
            storm.spawn(async move {
                let since = Instant::now();
                let said = check(&http, &url, &held).await.ok();
                (said, since.elapsed())
            });
        }
        storm
    }

    /// Waits until the tenant has been asked for this session so many times.
    async fn until_sent(&self, held: &Held, times: usize) {
        let since = Instant::now();
        while self.relay.exchanges_of(&held.family).len() < times {
            assert!(since.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How often each answer came, and the longest time; none took longer than the deadline.
async fn count(
    storm: JoinSet<(Option<Said>, Duration)>,
) -> (BTreeMap<Option<Said>, usize>, Duration) {
    let (mut counts, mut longest) = (BTreeMap::new(), Duration::ZERO);
    for (said, took) in storm.join_all().await {
        *counts.entry(said).or_default() += 1;
        longest = longest.max(took);
    }
    assert!(longest < DEADLINE, "an answer took {longest:?}");
    (counts, longest)
}

const GOOD: Option<Said> = Some(Said {
    status: 200,
    retry_after: false,
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_on_a_run_out_session_are_one_refresh() {
    let world = World::start(3, Duration::ZERO, &[]).await;
    let held = world.sign_in(0).await;
    world
        .relay
        .hold(&held.family, Hold::After(Duration::from_millis(300)));
    let (counts, longest) = count(world.storm(&held, 1000, &[0, 1, 2])).await;
    println!("1000 requests over three replicas: the slowest took {longest:?}");
    assert_eq!(counts, BTreeMap::from([(GOOD, 1000)]));
    assert_eq!(world.relay.exchanges_of(&held.family).len(), 1);
    assert_eq!(world.relay.tenant.refresh_exchanges(), 1);
}

/// Tabs that refresh at the same moment, at whichever replica, are given one cookie: with two of them the
/// browser would keep either, and one is no good for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explicit_refreshes_at_once_are_one_refresh_and_one_new_value() {
    let world = World::start(3, Duration::ZERO, &[]).await;
    for number in 0..10 {
        let held = world.sign_in(number).await;
        let mut storm = JoinSet::new();
        for at in 0..24 {
            let url = world.gateways[at % 3].url.clone();
            let (http, held) = (world.http.clone(), held.clone());
            storm.spawn(async move { refresh(&http, &url, &held).await.unwrap().unwrap().value });
        }
        let values: BTreeSet<String> = storm.join_all().await.into_iter().collect();
        assert_eq!(values.len(), 1, "storm {number}");
        assert_eq!(
            world.relay.exchanges_of(&held.family).len(),
            1,
            "storm {number}"
        );
        assert!(!values.contains(&held.value));
    }
    assert_eq!(world.relay.tenant.refresh_reuses(), 0);
}

/// One holder of the lease is killed in mid-call, once before its call has reached the tenant and once
/// after; another waits longer for the tenant than a lease lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_taken_over_when_its_holder_is_dead_and_not_when_the_tenant_is_slow() {
    let mut world = World::start(3, Duration::from_secs(60), &[]).await;
    let (unsent, spent, slow) = (
        world.sign_in(0).await,
        world.sign_in(3).await,
        world.sign_in(1).await,
    );
    world
        .relay
        .hold(&unsent.family, Hold::Before(Duration::from_secs(50)));
    world
        .relay
        .hold(&spent.family, Hold::After(Duration::from_secs(50)));
    world
        .relay
        .hold(&slow.family, Hold::After(Duration::from_secs(20)));
    // The first replica holds two leases, the second one.
    let first = [world.storm(&unsent, 1, &[0]), world.storm(&spent, 1, &[0])];
    let slow_first = world.storm(&slow, 1, &[1]);
    for held in [&unsent, &spent, &slow] {
        world.until_sent(held, 1).await;
    }
    let storms = [
        world.storm(&unsent, 300, &[0, 1, 2]),
        world.storm(&spent, 300, &[0, 1, 2]),
    ];
    let slow_storm = world.storm(&slow, 999, &[1, 2]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.gateways[0].kill();
    for storm in first {
        assert_eq!(count(storm).await.0, BTreeMap::from([(None, 1)]));
    }
    for (storm, held) in storms.into_iter().zip([&unsent, &spent]) {
        let (counts, longest) = count(storm).await;
        println!("holder killed: {counts:?}, the slowest took {longest:?}");
        // Those of the dead replica have no answer; nobody else was told that the session is over.
        assert_eq!(counts.get(&None), Some(&100));
        for (said, _) in counts
            .iter()
            .filter_map(|(said, n)| said.map(|said| (said, n)))
        {
            assert!(said.status == 200 || said.is_busy(), "{said:?}");
        }
        let again = count(world.storm(held, 10, &[1, 2])).await.0;
        assert_eq!(again, BTreeMap::from([(GOOD, 10)]));
        let sent = world.relay.exchanges_of(&held.family);
        assert_eq!(sent.len(), 2, "one more call");
        let apart = sent[1].at - sent[0].at;
        println!("the lease was taken over after {apart:?}");
        assert!(apart > LEASE_AT_LEAST && apart < Duration::from_secs(20));
    }
    assert!(world.relay.exchanges_of(&spent.family)[0].rotated);
    assert!(!world.relay.exchanges_of(&unsent.family)[0].rotated);
    let (mut counts, longest) = count(slow_storm).await;
    for (said, number) in count(slow_first).await.0 {
        *counts.entry(said).or_default() += number;
    }
    println!("tenant slower than a lease: {counts:?}, the slowest took {longest:?}");
    assert_eq!(counts, BTreeMap::from([(GOOD, 1000)]));
    assert_eq!(world.relay.exchanges_of(&slow.family).len(), 1);
    assert_eq!(world.relay.tenant.refresh_reuses(), 0);
}

/// Whoever gives up on a call that has reached the tenant has lost the token that it brings. So nobody
/// does, however impatient the callers are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_slower_than_every_time_out_costs_no_session() {
    let impatient = [
        ("UPSTREAM_TIMEOUT_SECONDS", "1"),
        ("REQUEST_TIMEOUT_SECONDS", "3"),
    ];
    let world = World::start(2, Duration::ZERO, &impatient).await;
    let held = world.sign_in(0).await;
    world
        .relay
        .hold(&held.family, Hold::After(Duration::from_secs(6)));
    let since = Instant::now();
    let mut busy = 0;
    loop {
        let (counts, longest) = count(world.storm(&held, 20, &[0, 1])).await;
        assert!(longest < Duration::from_secs(5), "{longest:?}");
        let refused = counts
            .keys()
            .find(|said| said.is_none_or(|said| said.status != 200 && !said.is_busy()));
        assert_eq!(refused, None, "{counts:?}");
        busy += counts.len() - usize::from(counts.contains_key(&GOOD));
        if counts == BTreeMap::from([(GOOD, 20)]) {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{counts:?}");
    }
    println!("good again after {:?}", since.elapsed());
    assert!(busy > 0, "somebody was told to come again");
    assert_eq!(world.relay.exchanges_of(&held.family).len(), 1);
    assert_eq!(world.relay.tenant.refresh_reuses(), 0);
}

//! Redis in trouble, and what is answered meanwhile: never that a live session is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dev_tenant::TenantSettings;
use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::gateway::{self, Gateway, Held, Said, Setup, check, person, seed, sign_in, sign_out};
use crate::redis::{Cluster, Redis, Sentinel};
use crate::relay::Relay;

/// Nobody waits longer for an answer, whatever is wrong. A time-out of Redis is 2 seconds, and a request
/// may meet a few in turn.
const BOUND: Duration = Duration::from_secs(10);
/// From the end of the trouble to good answers.
const RECOVERY: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Check,
    SignIn,
    SignOut,
}

/// One answer: to what, what, when (since the load began), and how long it took.
#[derive(Clone, Copy, Debug)]
struct Noted {
    kind: Kind,
    said: Said,
    begun: Duration,
    took: Duration,
}

/// People who sign in, come back and leave, until they are told to stop. It is remembered who was told
/// that they have left.
struct Load {
    since: Instant,
    stop: Arc<AtomicBool>,
    noted: Arc<Mutex<Vec<Noted>>>,
    ended: Arc<Mutex<Vec<Held>>>,
    people: JoinSet<()>,
}

impl Load {
    fn start(http: &Client, urls: &[String], live: &[Held]) -> Self {
        let mut load = Self {
            since: Instant::now(),
            stop: Arc::default(),
            noted: Arc::default(),
            ended: Arc::default(),
            people: JoinSet::new(),
        };
        for number in 0..12 {
            let url = urls[number % urls.len()].clone();
            let mine = live[number % live.len()].clone();
            if number < 8 {
                load.people
                    .spawn(load.clone_for(http, url).comes_back(mine));
            } else {
                load.people
                    .spawn(load.clone_for(http, url).comes_and_goes(number));
            }
        }
        load
    }

    fn clone_for(&self, http: &Client, url: String) -> Person {
        Person {
            http: http.clone(),
            url,
            since: self.since,
            stop: Arc::clone(&self.stop),
            noted: Arc::clone(&self.noted),
            ended: Arc::clone(&self.ended),
        }
    }

    async fn stop(mut self) -> (Vec<Noted>, Vec<Held>) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(person) = self.people.join_next().await {
            person.unwrap();
        }
        let noted = self.noted.lock().unwrap().clone();
        let ended = self.ended.lock().unwrap().clone();
        (noted, ended)
    }
}

struct Person {
    http: Client,
    url: String,
    since: Instant,
    stop: Arc<AtomicBool>,
    noted: Arc<Mutex<Vec<Noted>>>,
    ended: Arc<Mutex<Vec<Held>>>,
}

impl Person {
    fn note(&self, kind: Kind, said: Said, begun: Instant) {
        self.noted.lock().unwrap().push(Noted {
            kind,
            said,
            begun: begun - self.since,
            took: begun.elapsed(),
        });
    }

    async fn comes_back(self, mine: Held) {
        while !self.stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let said = check(&self.http, &self.url, &mine).await.unwrap();
            self.note(Kind::Check, said, begun);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn comes_and_goes(self, number: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let held = sign_in(&self.http, &self.url, &person(number)).await;
            let said = match &held {
                Ok(Ok(_)) => GOOD,
                Ok(Err(said)) => *said,
                Err(error) => panic!("{error}"),
            };
            self.note(Kind::SignIn, said, begun);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(Ok(held)) = held else { continue };
            let begun = Instant::now();
            let said = sign_out(&self.http, &self.url, &held).await.unwrap();
            self.note(Kind::SignOut, said, begun);
            // Told neither, it may be either.
            if said.status == 302 {
                self.ended.lock().unwrap().push(held);
            }
        }
    }
}

const GOOD: Said = Said {
    status: 200,
    retry_after: false,
};

struct World {
    _relay: Relay,
    /// One with a near cache, and one without.
    gateways: Vec<Gateway>,
    /// What they start from must outlive them.
    _setups: Vec<Setup>,
    http: Client,
    live: Vec<Held>,
}

impl World {
    async fn start(hosts: &str, variables: &[(&str, &str)]) -> Self {
        let relay = Relay::start(TenantSettings::default(), seed(20), Box::new(|_| None)).await;
        let mut bare = variables.to_vec();
        bare.push(("SESSION_CACHE_SIZE", "0"));
        let setups = vec![
            Setup::on_redis(&relay, hosts, variables),
            Setup::on_redis(&relay, hosts, &bare),
        ];
        let gateways: Vec<Gateway> = setups.iter().map(Setup::start).collect();
        let http = gateway::client();
        let mut live = Vec::new();
        for number in 0..8 {
            let held = sign_in(&http, &gateways[number % 2].url, &person(number)).await;
            live.push(held.unwrap().unwrap());
        }
        Self {
            _relay: relay,
            gateways,
            _setups: setups,
            http,
            live,
        }
    }

    fn load(&self) -> Load {
        let urls: Vec<String> = self.gateways.iter().map(|g| g.url.clone()).collect();
        Load::start(&self.http, &urls, &self.live)
    }

    /// Nobody is signed in now, and everybody is told so.
    async fn signs_nobody_in(&self) {
        let person = person(17);
        let (with_cache, bare) = tokio::join!(
            sign_in(&self.http, &self.gateways[0].url, &person),
            sign_in(&self.http, &self.gateways[1].url, &person),
        );
        for answer in [with_cache, bare] {
            assert!(answer.unwrap().unwrap_err().is_busy());
        }
    }

    /// Waits until both gateways check and sign in again; says how long that took.
    async fn recovered(&self) -> Duration {
        let since = Instant::now();
        for gateway in &self.gateways {
            loop {
                let checked = check(&self.http, &gateway.url, &self.live[0])
                    .await
                    .unwrap();
                let signed_in = sign_in(&self.http, &gateway.url, &person(19))
                    .await
                    .unwrap();
                if checked == GOOD && signed_in.is_ok() {
                    break;
                }
                assert!(since.elapsed() < RECOVERY, "{checked:?} {signed_in:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        since.elapsed()
    }

    /// Whoever has not left is in, and whoever was told that they have left is out.
    async fn holds(&self, ended: &[Held]) {
        for gateway in &self.gateways {
            for (held, status) in self
                .live
                .iter()
                .map(|held| (held, 200))
                .chain(ended.iter().map(|held| (held, 401)))
            {
                let said = check(&self.http, &gateway.url, held).await.unwrap();
                assert_eq!(said.status, status);
            }
        }
    }
}

/// How often each answer came, after each was found to be one of those that may come.
fn judge(name: &str, noted: &[Noted]) -> BTreeMap<(Kind, u16), usize> {
    let mut counts = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for one in noted {
        let good = match one.kind {
            Kind::SignOut => 302,
            _ => 200,
        };
        let said = one.said;
        assert!(said.status == good || said.is_busy(), "{name}: {one:?}");
        *counts.entry((one.kind, said.status)).or_default() += 1;
        longest = longest.max(one.took);
    }
    println!("{name}: {counts:?}, the slowest took {longest:?}");
    assert!(longest < BOUND, "{name}: an answer took {longest:?}");
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_in_trouble_ends_no_session_and_needs_no_restart() {
    let mut redis = Redis::start();
    let world = World::start(&redis.host(), &[]).await;
    let pause = |millis| tokio::time::sleep(Duration::from_millis(millis));

    let load = world.load();
    pause(300).await;
    redis.kill();
    pause(500).await;
    world.signs_nobody_in().await;
    redis.restart();
    let recovered = world.recovered().await;
    let (noted, ended) = load.stop().await;
    let counts = judge("stopped and started", &noted);
    println!("good again {recovered:?} after the start");
    assert!(counts[&(Kind::Check, 503)] > 0);
    world.holds(&ended).await;

    let load = world.load();
    pause(300).await;
    redis.cli(&["CONFIG", "SET", "requirepass", "another"]);
    // Whoever is connected stays known; so they are sent away.
    redis.cli(&["-a", "another", "CLIENT", "KILL", "TYPE", "normal"]);
    pause(500).await;
    world.signs_nobody_in().await;
    redis.cli(&["-a", "another", "CONFIG", "SET", "requirepass", ""]);
    let recovered = world.recovered().await;
    let (noted, ended) = load.stop().await;
    let counts = judge("password changed and changed back", &noted);
    println!("good again {recovered:?} after the change");
    assert!(counts[&(Kind::Check, 503)] > 0);
    world.holds(&ended).await;

    let load = world.load();
    pause(300).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    pause(500).await;
    world.signs_nobody_in().await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let recovered = world.recovered().await;
    let (noted, ended) = load.stop().await;
    let counts = judge("full", &noted);
    println!("good again {recovered:?} after there was room");
    assert_eq!(
        counts.get(&(Kind::Check, 503)),
        None,
        "what is there can be read"
    );
    world.holds(&ended).await;

    for millis in ["2000", "6000"] {
        let load = world.load();
        pause(300).await;
        redis.cli(&["CLIENT", "PAUSE", millis]);
        // Many at once, of whom none may wait for ever.
        let mut crowd = JoinSet::new();
        for number in 0..1500 {
            let (http, held) = (world.http.clone(), world.live[number % 8].clone());
            let url = world.gateways[number % 2].url.clone();
            crowd.spawn(async move {
                let begun = Instant::now();
                let said = check(&http, &url, &held).await.unwrap();
                (said, begun.elapsed())
            });
        }
        let mut good = 0;
        for (said, took) in crowd.join_all().await {
            assert!(said == GOOD || said.is_busy(), "{said:?}");
            assert!(took < BOUND, "{took:?}");
            good += usize::from(said == GOOD);
        }
        redis.cli(&["CLIENT", "UNPAUSE"]);
        let recovered = world.recovered().await;
        let (noted, ended) = load.stop().await;
        judge(&format!("no answer for {millis} ms"), &noted);
        println!("{good} of a crowd of 1500 let in; good again after {recovered:?}");
        world.holds(&ended).await;
    }
}

/// As with a full disk: what is there can be read, nothing can be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_save_ends_no_session() {
    let redis = Redis::start_with(&["--save", "1 1"]);
    let world = World::start(&redis.host(), &[]).await;
    let load = world.load();
    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.take_file();
    let since = Instant::now();
    while !redis.cli(&["SET", "probe", "1"]).contains("MISCONF") {
        assert!(since.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.signs_nobody_in().await;
    redis.give_file();
    let recovered = world.recovered().await;
    let (noted, ended) = load.stop().await;
    let counts = judge("cannot save", &noted);
    println!("good again {recovered:?} after it could save");
    assert!(counts[&(Kind::SignIn, 503)] > 0);
    assert_eq!(
        counts.get(&(Kind::Check, 503)),
        None,
        "what is there can be read"
    );
    world.holds(&ended).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_ends_no_session() {
    let mut sentinel = Sentinel::start();
    let mode = [("REDIS_MODE", "sentinel"), ("REDIS_MASTER_NAME", "main")];
    let world = World::start(&sentinel.host(), &mode).await;
    sentinel.settle();
    loses_a_primary("fail-over", &world, || sentinel.primary.kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_clusters_primary_ends_no_session() {
    let mut cluster = Cluster::start();
    let world = World::start(&cluster.hosts(), &[("REDIS_MODE", "cluster")]).await;
    cluster.settle();
    loses_a_primary("cluster", &world, || cluster.kill_one()).await;
}

/// Whoever was there before is never refused; 503s, if any, are told from the loss on only, and they end.
async fn loses_a_primary(name: &str, world: &World, kill: impl FnOnce()) {
    let load = world.load();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let killed = load.since.elapsed();
    kill();
    // It has to be noticed, another has to be chosen, and that has to be told.
    let since = Instant::now();
    let mut good = 0;
    while good < 20 {
        let gateway = &world.gateways[good % 2].url;
        let mut all = true;
        for held in &world.live {
            all &= check(&world.http, gateway, held).await.unwrap() == GOOD;
        }
        let signed_in = sign_in(&world.http, gateway, &person(18)).await.unwrap();
        good = if all && signed_in.is_ok() {
            good + 1
        } else {
            0
        };
        assert!(since.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.recovered().await;
    let (noted, _) = load.stop().await;
    let counts = judge(name, &noted);
    assert!(counts[&(Kind::Check, 200)] > 0);
    // Where another primary is told of before a time-out of Redis is over, everybody has waited for it.
    let busy = || noted.iter().filter(|one| one.said.status == 503);
    if let Some((first, last)) = busy()
        .map(|one| one.begun)
        .min()
        .zip(busy().map(|one| one.begun + one.took).max())
    {
        println!(
            "{name}: 503s from {:?} to {:?} after the primary was killed",
            first.saturating_sub(killed),
            last.saturating_sub(killed)
        );
        // An answer that was under way when the primary died is the earliest.
        assert!(first + BOUND > killed && last < killed + Duration::from_secs(15));
    }
    world.holds(&[]).await;
}

/// One that is away for an hour must not fill the log.
#[tokio::test]
async fn a_redis_that_is_away_is_named_with_the_reason_and_not_again_and_again() {
    const QUEUE: &str = "the import queue cannot be read";
    let relay = Relay::start(TenantSettings::default(), seed(0), Box::new(|_| None)).await;
    let setup = Setup::on_redis(&relay, "127.0.0.1:1", &[("LOG_LEVEL", "debug")]);
    let gateway = setup.start();
    let mut lines: Vec<Value>;
    loop {
        let log = gateway.log_so_far();
        lines = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // Both workers have looked at least twice.
        if lines.iter().filter(|line| line["message"] == QUEUE).count() >= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let loud = |line: &&Value| line["message"] == QUEUE && line["level"] == "WARN";
    assert_eq!(lines.iter().filter(loud).count(), 1);
    let told = lines
        .iter()
        .find(|line| line["message"] == "no connection to Redis; trying on");
    let why = told.unwrap()["why"].as_str().unwrap();
    assert_eq!(why, "Redis refuses connections");
}

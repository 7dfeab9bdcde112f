//! The embedded store's gateway is killed at random moments, and started again on the same file.
//!
//! `KILL_ROUNDS` says how often, `KILL_SEED` repeats a run.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dev_tenant::{RefreshTokenSettings, TenantSettings};
use reqwest::Client;
use tokio::task::JoinSet;

use crate::gateway::{self, Held, Setup, check, person, refresh, seed, sign_in, sign_out};
use crate::random::Random;
use crate::relay::{Exchange, Relay, some_run_out};

const PEOPLE: usize = 60;
const WORKERS: usize = 6;
/// Sessions of one worker, at most.
const ENOUGH: usize = 12;
/// The gateway's lease is 15 seconds; it is taken shortly before the token is sent.
const LEASE_AT_LEAST: Duration = Duration::from_millis(14_000);
/// What the dead gateway had sent is read this long after its death at the latest.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What was under way when the gateway died.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doubt {
    Use,
    End,
}

#[derive(Default)]
struct Known {
    /// Nothing of these is under way: they must be there.
    live: Vec<Held>,
    /// Their end was acknowledged.
    ended: Vec<Held>,
    doubtful: Vec<(Held, Doubt)>,
    sign_ins: usize,
    uses: usize,
    refreshes: usize,
}

impl Known {
    fn add(&mut self, other: Self) {
        self.live.extend(other.live);
        self.ended.extend(other.ended);
        self.doubtful.extend(other.doubtful);
        self.sign_ins += other.sign_ins;
        self.uses += other.uses;
        self.refreshes += other.refreshes;
    }
}

/// Signs people in, uses their sessions and ends some, until the gateway is gone.
async fn live(
    http: Client,
    url: String,
    mut random: Random,
    mine: Vec<Held>,
    killed: Arc<AtomicBool>,
) -> Known {
    let mut known = Known {
        live: mine,
        ..Known::default()
    };
    let gone = |error: reqwest::Error| {
        assert!(killed.load(Ordering::SeqCst), "{error}: it was not killed");
    };
    loop {
        let (count, dice) = (known.live.len(), random.below(100));
        if count == 0 || (dice < 25 && count < ENOUGH) {
            match sign_in(&http, &url, &person(random.below(PEOPLE))).await {
                Ok(held) => known.live.push(held.unwrap()),
                Err(error) => return (gone(error), known).1,
            }
            known.sign_ins += 1;
            continue;
        }
        let at = random.below(count);
        let held = known.live[at].clone();
        if dice < 70 {
            let both = tokio::join!(check(&http, &url, &held), check(&http, &url, &held));
            for said in [both.0, both.1] {
                match said {
                    Ok(said) => assert_eq!(said.status, 200, "{held:?}"),
                    Err(error) => {
                        known.live.swap_remove(at);
                        known.doubtful.push((held, Doubt::Use));
                        return (gone(error), known).1;
                    }
                }
            }
            known.uses += 1;
        } else if dice < 82 {
            match refresh(&http, &url, &held).await {
                Ok(held) => known.live[at] = held.unwrap(),
                Err(error) => {
                    known.live.swap_remove(at);
                    known.doubtful.push((held, Doubt::Use));
                    return (gone(error), known).1;
                }
            }
            known.refreshes += 1;
        } else {
            known.live.swap_remove(at);
            match sign_out(&http, &url, &held).await {
                Ok(said) => {
                    assert_eq!(said.status, 302);
                    known.ended.push(held);
                }
                Err(error) => {
                    known.doubtful.push((held, Doubt::End));
                    return (gone(error), known).1;
                }
            }
        }
    }
}

/// The statuses of all, asked for side by side. `None`: no final answer within the time.
async fn ask_all(
    http: &Client,
    url: &str,
    held: impl IntoIterator<Item = Held>,
    time: Duration,
) -> HashMap<String, Option<u16>> {
    let room = Arc::new(tokio::sync::Semaphore::new(64));
    let mut asking = JoinSet::new();
    for held in held {
        let (http, url, room) = (http.clone(), url.to_owned(), Arc::clone(&room));
        asking.spawn(async move {
            let _permit = room.acquire().await.unwrap();
            let status = async {
                loop {
                    let said = check(&http, &url, &held).await.unwrap();
                    if !said.is_busy() {
                        return said.status;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            (
                held.value.clone(),
                tokio::time::timeout(time, status).await.ok(),
            )
        });
    }
    asking.join_all().await.into_iter().collect()
}

struct Verdict {
    came_back: usize,
    lost: usize,
    reuses: u64,
}

async fn kill_again_and_again(rounds: usize, leeway: Duration) -> Verdict {
    let mut random = Random::from_environment("KILL_SEED");
    let settings = TenantSettings {
        refresh: RefreshTokenSettings {
            leeway,
            ..RefreshTokenSettings::default()
        },
        ..TenantSettings::default()
    };
    let relay = Relay::start(settings, seed(PEOPLE), some_run_out()).await;
    let setup = Setup::new(
        &relay,
        &[
            ("SESSION_STORE", "embedded"),
            // An answer with a new cookie may die with the gateway, and the old cookie is all there is.
            ("REFRESH_GRACE_SECONDS", "3600"),
        ],
    );
    let mut known = Known::default();
    let mut limbo: Vec<(Held, Doubt)> = Vec::new();
    let mut kills = Vec::new();
    for round in 0..rounds {
        let mut gateway = setup.start();
        // Connections of the last one are of no use.
        let http = gateway::client();
        let recent = known.ended.iter().rev().take(50);
        let recent: HashSet<String> = recent.map(|held| held.value.clone()).collect();
        let ended = known.ended.iter().filter(|h| recent.contains(&h.value));
        let doubtful = std::mem::take(&mut known.doubtful);
        let all = known.live.iter().chain(ended);
        let all = all.chain(doubtful.iter().map(|(held, _)| held)).cloned();
        let found = ask_all(&http, &gateway.url, all, Duration::from_millis(1500)).await;
        for value in &recent {
            assert_eq!(found[value], Some(401), "round {round}: an ended session");
        }
        // A lease that the dead gateway left behind keeps some waiting.
        for held in std::mem::take(&mut known.live) {
            match found[&held.value] {
                Some(200) => known.live.push(held),
                None => limbo.push((held, Doubt::Use)),
                other => panic!("round {round}: {other:?} for {held:?}"),
            }
        }
        for (held, doubt) in doubtful {
            match (found[&held.value], doubt) {
                (Some(200), Doubt::End) => known.live.push(held),
                (Some(401), Doubt::End) => known.ended.push(held),
                // Its access token may serve on, and its refresh token be spent all the same.
                (Some(200), Doubt::Use) | (None, _) => limbo.push((held, doubt)),
                (other, _) => panic!("round {round}: {other:?} for {held:?}"),
            }
        }
        let killed = Arc::new(AtomicBool::new(false));
        let mut shares: Vec<Vec<Held>> = vec![Vec::new(); WORKERS];
        for (at, held) in std::mem::take(&mut known.live).into_iter().enumerate() {
            shares[at % WORKERS].push(held);
        }
        let mut workers = JoinSet::new();
        for mine in shares {
            let random = Random::new(random.next());
            let (http, url) = (http.clone(), gateway.url.clone());
            workers.spawn(live(http, url, random, mine, Arc::clone(&killed)));
        }
        let moment = 100 + u64::try_from(random.below(400)).unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        killed.store(true, Ordering::SeqCst);
        gateway.kill();
        kills.push(Instant::now());
        for share in workers.join_all().await {
            known.add(share);
        }
    }
    let gateway = setup.start();
    let http = gateway::client();
    limbo.append(&mut known.doubtful);
    let all = known.live.iter().chain(&known.ended);
    let all = all.chain(limbo.iter().map(|(held, _)| held)).cloned();
    let found = ask_all(&http, &gateway.url, all, Duration::from_secs(50)).await;
    let exchanges = relay.exchanges();
    let doomed = judge_sendings(&exchanges, &kills, LEASE_AT_LEAST).unwrap();
    for held in &known.live {
        assert_eq!(found[&held.value], Some(200), "{held:?}");
    }
    for held in &known.ended {
        assert_eq!(found[&held.value], Some(401), "{held:?}");
    }
    let (mut came_back, mut lost) = (0, 0);
    for (held, doubt) in &limbo {
        match found[&held.value] {
            Some(200) => came_back += 1,
            Some(401) if *doubt == Doubt::End => {}
            // Its refresh token was spent by a call whose answer died with the gateway.
            Some(401) if doomed.contains(&held.family) => lost += 1,
            other => panic!("{other:?} for {held:?} after {doubt:?}"),
        }
    }
    let reuses = relay.tenant.refresh_reuses();
    assert!(reuses <= doomed.len() as u64, "{reuses} {doomed:?}");
    println!(
        "{rounds} kills: {} sign-ins, {} checks, {} explicit refreshes, {} ends acknowledged; {} exchanges \
         at the tenant; {} sessions live, {} had something under way at a kill: {came_back} came back, \
         {lost} were lost with the answer to their refresh, {reuses} re-uses",
        known.sign_ins,
        known.uses * 2,
        known.refreshes,
        known.ended.len(),
        exchanges.len(),
        known.live.len(),
        limbo.len(),
    );
    Verdict {
        came_back,
        lost,
        reuses,
    }
}

/// No token is sent twice, but for one whose call was under way at a kill, and that only after its lease
/// has run out. Returns the sessions that were bound to be lost: their token was spent, and sent again.
pub(crate) fn judge_sendings(
    exchanges: &[Exchange],
    kills: &[Instant],
    lease_at_least: Duration,
) -> Result<HashSet<String>, String> {
    let mut doomed = HashSet::new();
    let mut last: HashMap<&str, &Exchange> = HashMap::new();
    for exchange in exchanges {
        let Some(before) = last.insert(&exchange.token, exchange) else {
            continue;
        };
        let apart = exchange.at - before.at;
        let killed = kills
            .iter()
            .any(|kill| before.at <= *kill + ON_ITS_WAY && *kill <= exchange.at);
        if !killed {
            return Err(format!("sent twice without a kill, {apart:?} apart"));
        }
        if apart < lease_at_least {
            return Err(format!("sent again after {apart:?}"));
        }
        if before.rotated {
            doomed.insert(exchange.family.clone());
        }
    }
    Ok(doomed)
}

fn rounds() -> usize {
    let given = std::env::var("KILL_ROUNDS");
    given.ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_31_killed_at_any_moment_what_was_acknowledged_holds() {
    kill_again_and_again(rounds(), Duration::ZERO).await;
}

/// With a rotation overlap at the tenant that is longer than a lease, not even a refresh whose answer died
/// with the gateway loses a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_overlap_at_the_tenant_a_kill_loses_no_session() {
    let verdict = kill_again_and_again(rounds(), Duration::from_secs(3600)).await;
    assert_eq!((verdict.lost, verdict.reuses), (0, 0));
    println!("{} came back", verdict.came_back);
}

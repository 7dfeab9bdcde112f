//! Three gateways on one Redis, and random histories of people who use their sessions from several places at
//! once while something goes wrong. `histories/judge.rs` says what they must never see.
//!
//! `REPLICA_HISTORIES` says how many, `REPLICA_HISTORIES_SEED` draws the same ones again; what runs side by
//! side falls out anew each time.

mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dev_tenant::{TenantSettings, TokenDialect};
use reqwest::Client;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};
use url::form_urlencoded;

use self::judge::{HEARD, Record, State, What};
use crate::gateway::{
    self, Gateway, Held, Said, Setup, person, refresh, seed, sign_in_by, sign_out, who,
};
use crate::random::Random;
use crate::redis::Redis;
use crate::relay::{Hold, Relay, some_run_out};

const REPLICAS: usize = 3;
/// In each history.
const PEOPLE: usize = 2;
const CLIENTS: usize = 5;
/// Of one history, at most.
const ENOUGH: usize = 10;
/// A history is done with when the leases of the dead have run out; the next ones need not wait for that.
const NEXT: Duration = Duration::from_millis(1500);
/// Histories that may wait for leases at a time.
const WAITING: usize = 8;
/// Until a session is heard of again, whatever has happened to the replicas that held its lease.
const PATIENCE: Duration = Duration::from_secs(120);

/// What goes wrong in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    /// A replica is killed, and another takes its place.
    Kill,
    /// Redis closes all connections, those that it tells of changes on among them.
    Disconnect,
    /// Redis stands still, connections and all.
    Stop,
    /// Redis lets commands wait.
    Pause,
    SlowTenant,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::None,
        Self::Kill,
        Self::Disconnect,
        Self::Stop,
        Self::Pause,
        Self::SlowTenant,
    ];
}

/// A fault, from its beginning to the moment at which all replicas said that they are well.
#[derive(Clone)]
struct Trouble {
    fault: Fault,
    from: Instant,
    to: Option<Instant>,
}

/// What all histories share.
struct World {
    relay: Relay,
    http: Client,
    urls: Mutex<Vec<String>>,
    /// Where, and when.
    kills: Mutex<Vec<(String, Instant)>>,
    troubles: Mutex<Vec<Trouble>>,
}

impl World {
    fn url(&self, replica: usize) -> String {
        self.urls.lock().unwrap()[replica].clone()
    }

    fn kills(&self) -> Vec<(String, Instant)> {
        self.kills.lock().unwrap().clone()
    }

    fn was_killed(&self, url: &str) -> bool {
        self.kills.lock().unwrap().iter().any(|(one, _)| one == url)
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().unwrap().clone()
    }

    fn begins(&self, fault: Fault) {
        self.troubles.lock().unwrap().push(Trouble {
            fault,
            from: Instant::now(),
            to: None,
        });
    }

    /// Waits until every replica says that it is well.
    async fn ends(&self) {
        let since = Instant::now();
        for replica in 0..REPLICAS {
            let url = format!("{}/-/ready", self.url(replica));
            while self.http.get(&url).send().await.unwrap().status() != 200 {
                assert!(since.elapsed() < PATIENCE, "not ready");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if let Some(trouble) = self.troubles.lock().unwrap().last_mut() {
            trouble.to = Some(Instant::now());
        }
    }
}

struct Person {
    address: String,
    id: String,
}

/// What opens a session, or did until a moment ago.
struct Opener {
    held: Held,
    /// Its access token has run out, whatever the token itself says.
    short: bool,
    /// When the request began that brought it.
    begun: Instant,
}

struct Session {
    person: usize,
    family: String,
    bearer: bool,
    /// What a list knows it by.
    agent: String,
    /// Its sign-in, from request to answer.
    begun: Instant,
    born: Instant,
    /// In the order in which they came.
    values: Vec<Opener>,
    /// For those who look for one that goes on.
    seems_over: bool,
}

#[derive(Default)]
struct Book {
    sessions: Vec<Session>,
    records: Vec<Record>,
    /// What was wrong in the quiet, and with which sessions.
    wrong: Vec<(Vec<usize>, String)>,
}

impl Book {
    /// May this person have a session that nobody was told of?
    fn haunted(&self, person: usize) -> bool {
        let sign_in = What::SignIn { person };
        let mut records = self.records.iter();
        records.any(|record| record.what == sign_in && record.status() != 200)
    }
}

struct History {
    number: usize,
    fault: Fault,
    since: Instant,
    world: Arc<World>,
    people: Vec<Person>,
    book: Mutex<Book>,
    agents: AtomicUsize,
    done: AtomicBool,
}

/// What is learnt from one of them.
#[derive(Default)]
struct Told {
    answers: BTreeMap<(&'static str, u16), usize>,
    sessions: usize,
    stale: [Duration; 2],
    /// Ids of people with a session that nobody may have been told of.
    haunted: Vec<String>,
}

impl History {
    fn new(number: usize, fault: Fault, world: &Arc<World>) -> Self {
        let people = (0..PEOPLE).map(|at| {
            let address = person(number * PEOPLE + at);
            let id = world.relay.tenant.user_id(&address).unwrap();
            Person { address, id }
        });
        Self {
            number,
            fault,
            since: Instant::now(),
            world: Arc::clone(world),
            people: people.collect(),
            book: Mutex::default(),
            agents: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// Writes down what was asked for and what came of it. No answer is none.
    async fn note<T>(
        &self,
        url: &str,
        what: What,
        work: impl Future<Output = Result<(Said, T), reqwest::Error>>,
    ) -> Option<(Instant, Said, T)> {
        self.note_about(url, what, work, |_| None).await
    }

    /// ... and whom it is about.
    async fn note_about<T>(
        &self,
        url: &str,
        what: What,
        work: impl Future<Output = Result<(Said, T), reqwest::Error>>,
        subject: impl FnOnce(&T) -> Option<String>,
    ) -> Option<(Instant, Said, T)> {
        let begun = Instant::now();
        let outcome = work.await;
        let answered = Instant::now();
        if let Err(error) = &outcome
            && !self.world.was_killed(url)
        {
            // The rest is for the judge.
            println!("{what:?} at {url}: {error:?}");
        }
        let outcome = outcome.ok();
        self.book.lock().unwrap().records.push(Record {
            begun,
            answered,
            url: url.to_owned(),
            what,
            said: outcome.as_ref().map(|(said, _)| *said),
            subject: outcome.as_ref().and_then(|(_, result)| subject(result)),
        });
        outcome.map(|(said, result)| (begun, said, result))
    }

    async fn sign_in(&self, person: usize, bearer: bool, replica: usize) {
        let url = self.world.url(replica);
        let number = self.agents.fetch_add(1, Ordering::Relaxed);
        let agent = format!("browser-{}-{number}", self.number);
        let address = &self.people[person].address;
        let work = async {
            let held = sign_in_by(&self.world.http, &url, address, Some(&agent)).await?;
            Ok(match held {
                Ok(held) => (GOOD, Some(held)),
                Err(said) => (said, None),
            })
        };
        let outcome = self.note(&url, What::SignIn { person }, work).await;
        let Some((begun, _, Some(held))) = outcome else {
            return;
        };
        let short = self.world.relay.is_short(&held.value);
        let mut book = self.book.lock().unwrap();
        book.sessions.push(Session {
            person,
            family: held.family.clone(),
            bearer,
            agent,
            begun,
            born: Instant::now(),
            values: vec![Opener {
                held: Held { bearer, ..held },
                short,
                begun,
            }],
            seems_over: false,
        });
    }

    fn held(&self, session: usize, value: usize) -> Held {
        self.book.lock().unwrap().sessions[session].values[value]
            .held
            .clone()
    }

    async fn check(&self, session: usize, value: usize, replica: usize) -> u16 {
        let url = self.world.url(replica);
        let held = self.held(session, value);
        let work = who(&self.world.http, &url, &held);
        let what = What::Check { session, value };
        let subject = |body: &Value| body["sub"].as_str().map(str::to_owned);
        let outcome = self.note_about(&url, what, work, subject).await;
        outcome.map_or(0, |(_, said, _)| said.status)
    }

    async fn refresh(&self, session: usize, value: usize, replica: usize) -> u16 {
        let url = self.world.url(replica);
        let held = self.held(session, value);
        let work = async {
            Ok(match refresh(&self.world.http, &url, &held).await? {
                Ok(held) => (GOOD, Some(held)),
                Err(said) => (said, None),
            })
        };
        let what = What::Refresh { session, value };
        let Some((begun, said, held)) = self.note(&url, what, work).await else {
            return 0;
        };
        if let Some(held) = held {
            let short = self.world.relay.is_short(&held.value);
            let mut book = self.book.lock().unwrap();
            let values = &mut book.sessions[session].values;
            if values.iter().all(|known| known.held.value != held.value) {
                values.push(Opener { held, short, begun });
            }
        }
        said.status
    }

    async fn sign_out(&self, session: usize, value: usize, replica: usize) -> bool {
        let url = self.world.url(replica);
        let held = self.held(session, value);
        let work = async { Ok((sign_out(&self.world.http, &url, &held).await?, ())) };
        let what = What::SignOut { session, value };
        let outcome = self.note(&url, what, work).await;
        outcome.is_some_and(|(_, said, ())| said.status == 302)
    }

    fn path_of(&self, person: usize) -> String {
        let id = &self.people[person].id;
        form_urlencoded::byte_serialize(id.as_bytes()).collect()
    }

    /// Ends one as an administrator does: it is looked for, and may have ended when it is found.
    async fn end_one(&self, session: usize, replica: usize) -> bool {
        let url = self.world.url(replica);
        let (person, agent) = {
            let book = self.book.lock().unwrap();
            let session = &book.sessions[session];
            (session.person, session.agent.clone())
        };
        let path = self.path_of(person);
        let http = &self.world.http;
        let list = format!("{url}/sessions?userId={path}&_l=1000");
        let listed = async { gateway::read(http.get(list).send().await?).await };
        let listed = self.note(&url, What::List { person }, listed).await;
        let Some((_, _, listed)) = listed else {
            return false;
        };
        let listed = listed.as_array().into_iter().flatten();
        let mut found = listed.filter(|one| one["userAgent"] == agent.as_str());
        let Some(id) = found.next().and_then(|one| one["sessionId"].as_str()) else {
            return false;
        };
        let one = format!("{url}/sessions/{path}/{id}");
        let ended = async { gateway::read(http.delete(one).send().await?).await };
        let ended = self.note(&url, What::EndOne { session }, ended).await;
        ended.is_some_and(|(_, said, _)| said.status == 204)
    }

    async fn end_all(&self, person: usize, replica: usize) -> bool {
        let url = self.world.url(replica);
        let all = format!("{url}/sessions/{}", self.path_of(person));
        let http = &self.world.http;
        let ended = async { gateway::read(http.delete(all).send().await?).await };
        let ended = self.note(&url, What::EndAll { person }, ended).await;
        ended.is_some_and(|(_, said, _)| said.status == 200)
    }

    /// Who is active, as a replica that answers says.
    async fn active(&self, replica: usize) -> BTreeSet<String> {
        let since = Instant::now();
        loop {
            let url = self.world.url(replica);
            let http = &self.world.http;
            let list = http.get(format!("{url}/users/active"));
            let listed = async { gateway::read(list.send().await?).await };
            if let Some((_, GOOD, listed)) = self.note(&url, What::Active, listed).await {
                let listed = listed.as_array().into_iter().flatten();
                let ids = listed.map(|user| user["userId"].as_str().unwrap().to_owned());
                return ids.collect();
            }
            assert!(since.elapsed() < PATIENCE, "nobody lists who is active");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A session is asked about everywhere at once: no replica may let it in any more.
    async fn check_everywhere(&self, session: usize, value: usize) {
        tokio::join!(
            self.check(session, value, 0),
            self.check(session, value, 1),
            self.check(session, value, 2),
        );
    }

    /// A session, rather one that goes on, and a value of it: the latest, or sometimes the one before.
    fn choose(&self, random: &mut Random) -> (usize, usize) {
        let book = self.book.lock().unwrap();
        let mut session = random.below(book.sessions.len());
        for _ in 0..3 {
            if book.sessions[session].seems_over {
                session = random.below(book.sessions.len());
            }
        }
        let values = book.sessions[session].values.len();
        let before = usize::from(values > 1 && random.below(5) == 0);
        (session, values - 1 - before)
    }

    /// One of the clients: each takes any session at any replica.
    async fn live(self: Arc<Self>, mut random: Random) {
        while !self.done.load(Ordering::SeqCst) {
            let (dice, replica) = (random.below(1000), random.below(REPLICAS));
            let count = self.book.lock().unwrap().sessions.len();
            if count == 0 || (dice < 25 && count < ENOUGH) {
                let bearer = random.below(3) == 0;
                self.sign_in(random.below(PEOPLE), bearer, replica).await;
                continue;
            }
            let (session, value) = self.choose(&mut random);
            let over = match dice {
                0..840 => {
                    let status = self.check(session, value, replica).await;
                    // A bearer may have run out.
                    status == 401 && !self.held(session, value).bearer
                }
                840..985 => self.refresh(session, value, replica).await == 401,
                985..992 => self.sign_out(session, value, replica).await,
                992..997 => self.end_one(session, replica).await,
                _ => {
                    let person = self.book.lock().unwrap().sessions[session].person;
                    self.end_all(person, replica).await
                }
            };
            if over && dice >= 985 {
                self.check_everywhere(session, value).await;
            }
            self.book.lock().unwrap().sessions[session].seems_over |= over;
            let pause = u64::try_from(random.below(8)).unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The next exchange of each session's takes its time.
    fn slow_down(&self, random: &mut Random) {
        for session in &self.book.lock().unwrap().sessions {
            let time = Duration::from_millis(u64::try_from(random.below(1500)).unwrap());
            let hold = match random.below(2) {
                0 => Hold::Before(time),
                _ => Hold::After(time),
            };
            self.world.relay.hold(&session.family, hold);
        }
    }

    fn state(&self, session: usize) -> State {
        judge::state(self, &self.book.lock().unwrap(), session)
    }

    /// Until when a replica may not have heard that this session is over.
    fn heard(&self, session: usize) -> Option<Instant> {
        let book = self.book.lock().unwrap();
        let told = judge::evidence(&book, session);
        told.iter().map(|told| told.at + HEARD).min()
    }

    fn wrong(&self, sessions: Vec<usize>, what: &str) {
        let mut book = self.book.lock().unwrap();
        book.wrong.push((sessions, what.to_owned()));
    }

    /// Asks until a replica says whether a session is there. Whether that is right is for the judge.
    async fn settle(&self, session: usize, replica: usize) {
        let since = Instant::now();
        loop {
            if since.elapsed() > PATIENCE {
                self.wrong(vec![session], "nobody says whether it is there");
                return;
            }
            let (bearer, last, good) = {
                let book = self.book.lock().unwrap();
                let session = &book.sessions[session];
                let good = session.values.iter().rposition(|value| !value.short);
                (session.bearer, session.values.len() - 1, good)
            };
            // A bearer that has run out tells nothing: it has to be refreshed.
            let status = match good {
                _ if !bearer => self.check(session, last, replica).await,
                Some(good) if good == last || self.state(session) == State::Ended => {
                    self.check(session, good, replica).await
                }
                _ => match self.refresh(session, last, replica).await {
                    200 => continue,
                    401 if good.is_some() && self.state(session) == State::Ended => continue,
                    other => other,
                },
            };
            match status {
                200 if self
                    .heard(session)
                    .is_none_or(|at| Instant::now() > at + HEARD) =>
                {
                    return;
                }
                401 => return,
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every session, at every replica.
    async fn settle_all(self: &Arc<Self>) {
        let mut all = JoinSet::new();
        for session in 0..self.book.lock().unwrap().sessions.len() {
            let history = Arc::clone(self);
            all.spawn(async move {
                for replica in 0..REPLICAS {
                    history.settle(session, replica).await;
                }
            });
        }
        all.join_all().await;
    }

    /// Whoever has a live session is active, and nobody whose sessions have all ended.
    async fn settle_active(&self) {
        for replica in 0..REPLICAS {
            let listed = self.active(replica).await;
            for (number, person) in self.people.iter().enumerate() {
                let (mut sessions, mut states) = (Vec::new(), Vec::new());
                {
                    let book = self.book.lock().unwrap();
                    for (at, session) in book.sessions.iter().enumerate() {
                        if session.person == number {
                            sessions.push(at);
                            states.push(judge::state(self, &book, at));
                        }
                    }
                    if book.haunted(number) {
                        states.push(State::Doubtful);
                    }
                }
                let is_listed = listed.contains(&person.id);
                let right = if is_listed {
                    states.iter().any(|state| *state != State::Ended)
                } else {
                    !states.contains(&State::Live)
                };
                if !right {
                    let id = &person.id;
                    self.wrong(sessions, &format!("{id} active: {is_listed}, {states:?}"));
                }
            }
        }
    }

    /// The quiet after it, the end of what is left, and the judgement.
    async fn finish(self: Arc<Self>, clients: JoinSet<()>, mut random: Random) -> Told {
        clients.join_all().await;
        self.settle_all().await;
        self.settle_active().await;
        for person in 0..PEOPLE {
            let since = Instant::now();
            while !self.end_all(person, random.below(REPLICAS)).await {
                assert!(since.elapsed() < PATIENCE, "nobody ends sessions");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.settle_all().await;
        self.settle_active().await;
        let book = self.book.lock().unwrap();
        let verdict = judge::judge(&self, &book);
        assert!(
            verdict.wrong.is_empty(),
            "history {}, {:?}:\n{}",
            self.number,
            self.fault,
            verdict.wrong.join("\n")
        );
        let mut told = Told {
            sessions: book.sessions.len(),
            stale: verdict.stale,
            ..Told::default()
        };
        for record in &book.records {
            let answer = (record.what.name(), record.status());
            *told.answers.entry(answer).or_default() += 1;
        }
        let haunted = |at: &usize| book.haunted(*at);
        let haunted = (0..PEOPLE).filter(haunted);
        told.haunted = haunted.map(|at| self.people[at].id.clone()).collect();
        told
    }
}

const GOOD: Said = Said {
    status: 200,
    retry_after: false,
};

/// What faults happen to.
struct Machines {
    redis: Redis,
    setup: Setup,
    gateways: Vec<Gateway>,
    kills: usize,
}

impl Machines {
    async fn strike(&mut self, history: &History, random: &mut Random) {
        let world = &history.world;
        let pause = |limit: usize, random: &mut Random| {
            let millis = u64::try_from(random.below(limit)).unwrap();
            tokio::time::sleep(Duration::from_millis(millis))
        };
        pause(400, random).await;
        world.begins(history.fault);
        match history.fault {
            Fault::None => {}
            Fault::Kill => {
                // Now and then there shall be calls under way.
                if random.below(2) == 0 {
                    history.slow_down(random);
                    pause(200, random).await;
                }
                let replica = random.below(REPLICAS);
                let url = world.url(replica);
                world.kills.lock().unwrap().push((url, Instant::now()));
                self.kills += 1;
                tokio::task::block_in_place(|| {
                    self.gateways[replica].kill();
                    self.gateways[replica] = self.setup.start();
                });
                world.urls.lock().unwrap()[replica] = self.gateways[replica].url.clone();
            }
            Fault::Disconnect => {
                for _ in 0..=random.below(3) {
                    tokio::task::block_in_place(|| {
                        self.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                        self.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                    });
                    pause(150, random).await;
                }
            }
            Fault::Stop => {
                self.redis.stop();
                tokio::time::sleep(Duration::from_millis(standstill(random))).await;
                self.redis.go_on();
            }
            Fault::Pause => {
                let millis = standstill(random).to_string();
                let pause = ["CLIENT", "PAUSE", &millis];
                tokio::task::block_in_place(|| self.redis.cli(&pause));
            }
            Fault::SlowTenant => history.slow_down(random),
        }
        world.ends().await;
        pause(500, random).await;
    }
}

/// Milliseconds; sometimes more than the two seconds for which a gateway waits for an answer.
fn standstill(random: &mut Random) -> u64 {
    let millis = match random.below(4) {
        0 => 2100 + random.below(700),
        _ => random.below(900),
    };
    u64::try_from(millis).unwrap()
}

fn histories() -> usize {
    let given = std::env::var("REPLICA_HISTORIES");
    given.ok().and_then(|text| text.parse().ok()).unwrap_or(30)
}

async fn start(histories: usize) -> (Arc<World>, Machines) {
    let mut seed = seed(histories * PEOPLE);
    // Its tokens have an id: a value is one session's for ever.
    seed.apis[0].token_dialect = TokenDialect::Rfc9068Profile;
    let relay = Relay::start(TenantSettings::default(), seed, some_run_out()).await;
    let redis = Redis::start_with(&[]);
    let setup = Setup::on_redis(
        &relay,
        &redis.host(),
        &[
            // An age that hides no missing invalidation.
            ("SESSION_CACHE_SECONDS", "60"),
            // An answer with a new value may die with its replica, and the old value is all there is.
            ("REFRESH_GRACE_SECONDS", "3600"),
        ],
    );
    let gateways: Vec<Gateway> = (0..REPLICAS).map(|_| setup.start()).collect();
    let world = World {
        relay,
        http: gateway::client(),
        urls: Mutex::new(gateways.iter().map(|one| one.url.clone()).collect()),
        kills: Mutex::default(),
        troubles: Mutex::default(),
    };
    let machines = Machines {
        redis,
        setup,
        gateways,
        kills: 0,
    };
    (Arc::new(world), machines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_twice_no_ghost_nobody_lost_on_real_replicas() {
    let began = Instant::now();
    let mut random = Random::from_environment("REPLICA_HISTORIES_SEED");
    let histories = histories();
    let (world, mut machines) = start(histories).await;
    let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut waiting: Vec<JoinHandle<Told>> = Vec::new();
    let mut all = Vec::new();
    for number in 0..histories {
        let mut random = Random::new(random.next());
        let fault = Fault::ALL[random.below(Fault::ALL.len())];
        *faults.entry(fault).or_default() += 1;
        let history = Arc::new(History::new(number, fault, &world));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(Arc::clone(&history).live(Random::new(random.next())));
        }
        machines.strike(&history, &mut random).await;
        history.done.store(true, Ordering::SeqCst);
        let mut finish = tokio::spawn(history.finish(clients, random));
        match tokio::time::timeout(NEXT, &mut finish).await {
            Ok(told) => all.push(told.unwrap()),
            Err(_) => waiting.push(finish),
        }
        let (done, still): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(JoinHandle::is_finished);
        waiting = still;
        for told in done {
            all.push(told.await.unwrap());
        }
        if waiting.len() >= WAITING {
            all.push(waiting.remove(0).await.unwrap());
        }
    }
    for told in waiting {
        all.push(told.await.unwrap());
    }
    // Everybody was signed out after their history.
    let haunted: Vec<&String> = all.iter().flat_map(|told| &told.haunted).collect();
    let nobody = History::new(0, Fault::None, &world);
    for replica in 0..REPLICAS {
        let mut active = nobody.active(replica).await;
        active.retain(|id| !haunted.contains(&id));
        assert_eq!(active, BTreeSet::new());
    }
    let mut answers: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for told in &all {
        for (answer, count) in &told.answers {
            *answers.entry(*answer).or_default() += count;
        }
    }
    let longest = |at: usize| {
        all.iter()
            .map(|told| told.stale[at])
            .max()
            .unwrap_or_default()
    };
    let exchanges = world.relay.exchanges();
    let tokens: BTreeSet<&String> = exchanges.iter().map(|exchange| &exchange.token).collect();
    println!(
        "{histories} histories in {:?}: {} sessions, {} operations, {answers:?}; {} exchanges at the \
         tenant, {} of them once more after one of {} kills, {} re-uses; faults {faults:?}; let in up to {:?} after \
         another replica had acknowledged an end, and {:?} after one had told of it",
        began.elapsed(),
        all.iter().map(|told| told.sessions).sum::<usize>(),
        answers.values().sum::<usize>(),
        exchanges.len(),
        exchanges.len() - tokens.len(),
        machines.kills,
        world.relay.tenant.refresh_reuses(),
        longest(0),
        longest(1),
    );
}

//! The clients, the operator and the accidents of one history.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_core::config::{Environment, load};
use gateway_core::http::GatewayService;
use gateway_core::{Gateway, Parts};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use sessionkit::{Credential, Lifetimes, MemoryStore, Presented, Sessions};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::history::{Answer, History, Op, SessionRecord, Shown, What};
use crate::sim::{EPOCH, ORIGIN, Replica, Rng, SKEW, Sim, Weather};
use crate::store::SimStore;
use crate::tenant::{CLIENT_SECRET, SimTenant, TenantClient};

/// What one history is like. All of it hangs on the seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub replicas: usize,
    pub users: Vec<&'static str>,
    pub lifetimes: Lifetimes,

    peeks: bool,
    coarse: bool,
    weather: Weather,
    /// One step in so many is a crash, an outage, a block.
    crashes: u64,
    outages: u64,
    blocks: u64,
    /// Longest pause between two steps, in milliseconds.
    pause: u64,
    steps: u64,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::of(seed, "plan");
        let calm = rng.one_in(6);
        let level = |rng: &mut Rng, levels: &[u64]| {
            let level = levels[rng.index(levels.len())];
            if calm { 0 } else { level }
        };
        Self {
            replicas: 2 + rng.index(3),
            users: ["ada", "bob", "mia"][..1 + rng.index(3)].to_vec(),
            lifetimes: Lifetimes {
                absolute: Duration::from_secs([300, 900, 3600][rng.index(3)]),
                idle: rng.one_in(3).then(|| Duration::from_secs(200)),
                ..Lifetimes::default()
            },

            peeks: rng.one_in(4),
            coarse: rng.one_in(4),
            weather: Weather {
                store_latency: [4, 20, 200, 2000][rng.index(4)],
                store_fails: level(rng, &[0, 10, 50, 200]),
                store_loses: level(rng, &[0, 10, 50, 200]),
                store_down: false,
                tenant_latency: [10, 100, 3000, 9000][rng.index(4)],
                tenant_slow: level(rng, &[0, 0, 50, 300]),
                tenant_fails: level(rng, &[0, 50, 200]),
                tenant_loses: level(rng, &[0, 0, 50, 150]),
                tenant_late: level(rng, &[0, 0, 50]),
                tenant_down: false,
            },
            crashes: [0, 10, 25][rng.index(3)] * u64::from(!calm),
            outages: [0, 15, 40][rng.index(3)] * u64::from(!calm),
            blocks: [0, 40][rng.index(2)],
            pause: [200, 3_000, 20_000][rng.index(3)],
            steps: 20 + rng.below(40),
        }
    }
}

/// Variables and one file, from memory.
struct Memory(String);

impl Environment for Memory {
    fn variable(&self, name: &str) -> Option<String> {
        let known = BTreeMap::from([("SECRET", CLIENT_SECRET), ("HTTP_HOST", "127.0.0.1")]);
        known.get(name).map(|value| (*value).to_owned())
    }

    fn read_file(&self, _: &Path) -> std::io::Result<String> {
        Ok(self.0.clone())
    }
}

/// `api` keeps its tokens itself, `website` has a token in its cookie, `opaque` random bits.
fn config() -> String {
    let client = |scopes: Value, cookie: &str| {
        json!({
            "auth0Url": "acme.eu.auth0.com", "clientId": "app", "clientSecret": "{{SECRET}}",
            "redirectUrl": "https://www.example.org/web-login/callback",
            "scopes": scopes, "supportedSigningAlgs": ["HS256"], "sessionCookie": cookie,
        })
    };
    json!({
        "clients": {
            "api": client(json!(["offline_access"]), "token"),
            "website": client(json!(["offline_access", "website"]), "token"),
            "opaque": client(json!(["offline_access", "website"]), "opaque"),
        },
        "defaultClient": "website",
    })
    .to_string()
}

/// What a client holds of a session.
#[derive(Clone)]
struct Jar {
    session: usize,
    bearer: bool,
    value: String,
    refresh_token: Option<String>,
    expires: i64,
    /// Values that it held before.
    old: Vec<(String, i64)>,
    /// The server said that it is over.
    over: bool,
    /// Bumped with each new value, so that a late answer is known for what it is.
    turn: u32,
}

impl Jar {
    fn shown(&self, value: &str, expires: i64) -> Shown {
        Shown {
            session: self.session,
            credential: Credential::of(value.as_bytes()),
            presented: if self.bearer {
                Presented::Bearer
            } else {
                Presented::Cookie
            },
            expires,
        }
    }

    fn header(&self, value: &str) -> (&'static str, String) {
        if self.bearer {
            ("authorization", format!("Bearer {value}"))
        } else {
            ("cookie", format!("sid={value}"))
        }
    }
}

/// A process and its service.
#[derive(Clone)]
struct Process {
    replica: Arc<Replica>,
    service: GatewayService,
}

struct World {
    sim: Arc<Sim>,
    plan: Plan,
    memory: Arc<MemoryStore>,
    tenant: Arc<SimTenant>,
    jars: Mutex<Vec<Jar>>,
    processes: Mutex<Vec<Process>>,
    signing_in: AtomicUsize,
}

struct Reply {
    status: u16,
    cookie: Option<String>,
    body: String,
}

/// Runs the history of a seed.
pub async fn run(seed: u64) -> (Plan, History) {
    let sim = Sim::new(seed);
    let plan = Plan::of(seed);
    sim.note(format!("{plan:?}"));
    let world = World::new(&sim, &plan);
    let mut rng = Rng::of(seed, "clients");
    for slot in 0..plan.replicas {
        let process = world.start(format!("r{slot}"), &mut rng);
        world.processes.lock().unwrap().push(process);
    }
    let mut number = 0;
    for round in 1..=2_u32 {
        sim.note(format!("round {round}"));
        world.round(&mut rng, &mut number).await;
        world.quiet(&mut rng, &mut number).await;
    }
    let history = std::mem::take(&mut *sim.history());
    (plan, history)
}

/// One person signs in several times in one second, and gets equal access tokens for it, through a process
/// whose clock is off by so many milliseconds; then refreshes all of that at once. What the answers are.
pub async fn equal_tokens(skew: i64) -> Vec<u16> {
    let sim = Sim::new(1);
    let mut plan = Plan::of(1);
    plan.coarse = true;
    let world = World::new(&sim, &plan);
    let process = world.start_with("r0".to_owned(), skew);
    let mut work = JoinSet::new();
    for number in 0..3 {
        let (world, process) = (Arc::clone(&world), process.clone());
        work.spawn(async move {
            let client = ["api", "website", "website"][number as usize];
            world.sign_in(number, &process, "ada", client, None).await;
        });
    }
    while work.join_next().await.is_some() {}
    sleep(Duration::from_secs(5)).await;
    for at in 0..world.jars.lock().unwrap().len() {
        let world = Arc::clone(&world);
        let processes = [process.clone(), process.clone(), process.clone()];
        let number = 10 + u32::try_from(at).unwrap();
        work.spawn(async move {
            world.refresh(number, &processes, &[1; 3], at, true).await;
        });
    }
    while work.join_next().await.is_some() {}
    let history = sim.history();
    history.ops.values().map(|op| op.answer.status()).collect()
}

impl World {
    fn new(sim: &Arc<Sim>, plan: &Plan) -> Arc<Self> {
        Arc::new(Self {
            memory: Arc::new(MemoryStore::new()),
            tenant: Arc::new(SimTenant::new(plan.coarse)),
            jars: Mutex::default(),
            processes: Mutex::default(),
            signing_in: AtomicUsize::new(0),
            sim: Arc::clone(sim),
            plan: plan.clone(),
        })
    }

    fn start(&self, name: String, rng: &mut Rng) -> Process {
        let skew = i64::try_from(rng.below(2 * SKEW + 1)).unwrap() - i64::try_from(SKEW).unwrap();
        self.start_with(name, skew)
    }

    /// A process whose clock is off by so many milliseconds.
    fn start_with(&self, name: String, skew: i64) -> Process {
        let replica = Replica::new(&self.sim, name, skew);
        let store = SimStore {
            sim: Arc::clone(&self.sim),
            replica: Arc::clone(&replica),
            memory: Arc::clone(&self.memory),
            peeks: self.plan.peeks,
        };
        let tenant = TenantClient {
            sim: Arc::clone(&self.sim),
            replica: Arc::clone(&replica),
            tenant: Arc::clone(&self.tenant),
        };
        let clock = Arc::clone(&replica);
        let sessions = Sessions::new(Arc::new(store), clock as _, self.plan.lifetimes);
        let loaded = load(&Memory(config())).unwrap();
        let gateway = Gateway::new(Parts {
            settings: loaded.settings,
            clients: loaded.clients,
            api: Arc::new(tenant),
            management: None,
            imports: None,
            metrics: None,
            sessions: Arc::new(sessions),
            one_time: Arc::clone(&self.memory) as _,
            records: Arc::clone(&self.memory) as _,
        });
        Process {
            replica,
            service: GatewayService::new(Arc::new(gateway)).unwrap(),
        }
    }

    fn process(&self, rng: &mut Rng) -> Process {
        let processes = self.processes.lock().unwrap();
        processes[rng.index(processes.len())].clone()
    }

    /// A number of operations, with accidents.
    async fn round(self: &Arc<Self>, rng: &mut Rng, number: &mut u32) {
        let sim = &self.sim;
        sim.change_weather(|weather| *weather = self.plan.weather);
        let mut work = JoinSet::new();
        let mut crashes = 0;
        for _ in 0..self.plan.steps {
            let pause = match rng.below(10) {
                0..=4 => rng.below(30),
                5..=7 => rng.below(self.plan.pause / 10 + 1),
                8 => rng.below(self.plan.pause + 1),
                _ => rng.below(70_000),
            };
            sim.turn(pause, rng.next()).await;
            if rng.below(1000) < per_mille(self.plan.crashes) {
                crashes += 1;
                self.crash(rng, *number, crashes);
                continue;
            }
            if rng.below(1000) < per_mille(self.plan.outages) {
                self.outage(rng, &mut work);
                continue;
            }
            let users = &self.plan.users;
            let user = users[rng.index(users.len())];
            if rng.below(1000) < per_mille(self.plan.blocks) {
                let at = sim.now();
                let mut history = sim.history();
                history.lines.push((at, format!("{user} is blocked")));
                self.tenant.block(&mut history, at, user);
                continue;
            }
            self.step(rng, number, user, &mut work);
        }
        self.tenant.unblock();
        sim.change_weather(|weather| {
            *weather = Weather {
                store_latency: 4,
                tenant_latency: 20,
                ..Weather::default()
            }
        });
        sim.note("all is well from here on".to_owned());
        while let Some(done) = work.join_next().await {
            done.unwrap();
        }
    }

    fn crash(&self, rng: &mut Rng, number: u32, count: u32) {
        let slot = rng.index(self.plan.replicas);
        let next = self.start(format!("r{slot}.{number}.{count}"), rng);
        let mut processes = self.processes.lock().unwrap();
        let dead = std::mem::replace(&mut processes[slot], next);
        dead.replica.crash();
        let at = self.sim.now();
        let mut history = self.sim.history();
        let name = dead.replica.name.clone();
        history.lines.push((at, format!("{name} crashes")));
        history.crashes.push((at, name));
        history.faults.push(at);
    }

    /// The store or the tenant is away for a while.
    fn outage(self: &Arc<Self>, rng: &mut Rng, work: &mut JoinSet<()>) {
        let store = rng.one_in(2);
        let (length, key) = (rng.below(25_000), rng.next());
        let sim = Arc::clone(&self.sim);
        let set = move |weather: &mut Weather, down| {
            if store {
                weather.store_down = down;
            } else {
                weather.tenant_down = down;
            }
        };
        let what = if store { "store" } else { "tenant" };
        sim.change_weather(|weather| set(weather, true));
        sim.note(format!("the {what} goes down"));
        work.spawn(async move {
            sim.turn(length, key).await;
            sim.change_weather(|weather| set(weather, false));
            sim.note(format!("the {what} is back"));
        });
    }

    /// One client does something; or many do the same.
    fn step(
        self: &Arc<Self>,
        rng: &mut Rng,
        number: &mut u32,
        user: &'static str,
        work: &mut JoinSet<()>,
    ) {
        let count = self.jars.lock().unwrap().len();
        let alive: Vec<usize> = {
            let jars = self.jars.lock().unwrap();
            (0..count).filter(|at| !jars[*at].over).collect()
        };
        let what = rng.below(100);
        if alive.is_empty() || (what < 10 && alive.len() < 6) {
            // Auth0 makes one access token a second for a person, whoever asks.
            if self.signing_in.load(Ordering::SeqCst) > 2 {
                return;
            }
            let instead_of =
                (!alive.is_empty() && rng.one_in(3)).then(|| alive[rng.index(alive.len())]);
            let client = ["api", "website", "opaque"][rng.index(3)];
            let times = 1 + u64::from(rng.one_in(3));
            for _ in 0..times {
                let (world, process) = (Arc::clone(self), self.process(rng));
                *number += 1;
                let number = *number;
                self.signing_in.fetch_add(1, Ordering::SeqCst);
                work.spawn(async move {
                    world
                        .sign_in(number, &process, user, client, instead_of)
                        .await;
                    world.signing_in.fetch_sub(1, Ordering::SeqCst);
                });
            }
            return;
        }
        // Now and then somebody whose session is over.
        let jar = if rng.one_in(6) {
            rng.index(count)
        } else {
            alive[rng.index(alive.len())]
        };
        if what < 70 {
            let times = if rng.one_in(4) { 2 + rng.below(6) } else { 1 };
            let old = rng.one_in(8);
            for _ in 0..times {
                let (world, process) = (Arc::clone(self), self.process(rng));
                *number += 1;
                let number = *number;
                work.spawn(async move { world.check(number, &process, jar, old).await });
            }
        } else if what < 88 {
            let times = 1 + u64::from(rng.one_in(3)) + u64::from(rng.one_in(6));
            for _ in 0..times {
                let world = Arc::clone(self);
                let by_name = rng.one_in(2);
                let processes = [self.process(rng), self.process(rng), self.process(rng)];
                let mut waits = [0; 3].map(|_: u64| rng.below(3000));
                waits[0] = rng.below(5) + 1;
                *number += 1;
                let number = *number;
                work.spawn(async move {
                    world
                        .refresh(number, &processes, &waits, jar, by_name)
                        .await;
                });
            }
        } else {
            let (world, process) = (Arc::clone(self), self.process(rng));
            *number += 1;
            let number = *number;
            work.spawn(async move {
                match what {
                    88..=93 => world.sign_out(number, &process, jar).await,
                    94..=96 => world.end_all(number, &process, user).await,
                    _ => world.end_one(number, &process, jar).await,
                }
            });
        }
    }

    /// All is well and nobody does anything: what must be there now?
    async fn quiet(&self, rng: &mut Rng, number: &mut u32) {
        // Longer than anybody waits for anything.
        sleep(Duration::from_secs(150)).await;
        let jars = self.jars.lock().unwrap().len();
        for jar in 0..jars {
            let process = self.process(rng);
            *number += 1;
            let run_out = {
                let jars = self.jars.lock().unwrap();
                let now = i64::try_from(self.sim.now()).unwrap();
                jars[jar].bearer && !jars[jar].over && jars[jar].expires < now + 15_000
            };
            if run_out {
                let processes = [process.clone(), process.clone(), process];
                self.refresh(*number, &processes, &[1, 1, 1], jar, true)
                    .await;
            } else {
                self.check(*number, &process, jar, false).await;
            }
        }
        *number += 1;
        let process = self.process(rng);
        let request = ask("GET", "/users/active", &[], "");
        self.perform(*number * 8, &process, What::Active, request, |_, reply| {
            Some((reply.body.clone(), String::new()))
        })
        .await;
    }

    /// Sends a request and writes down what came of it.
    async fn perform(
        &self,
        number: u32,
        process: &Process,
        what: What,
        request: Request<Full<bytes::Bytes>>,
        about: impl FnOnce(&Self, &Reply) -> Option<(String, String)>,
    ) -> Option<Reply> {
        let invoked = self.sim.now();
        {
            let op = Op {
                what,
                replica: process.replica.name.clone(),
                invoked,
                answered: u64::MAX,
                answer: Answer::None,
            };
            let mut history = self.sim.history();
            let line = format!("#{number} {} {}", op.replica, tell(&history, &op.what));
            history.lines.push((invoked, line));
            history.ops.insert(number, op);
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 4711));
        let work = ORIGIN.scope(number, async {
            let answer = process.service.handle(request, Some(peer)).await.unwrap();
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let cookie = parts.headers.get("set-cookie").and_then(|line| {
                let line = line.to_str().unwrap().strip_prefix("sid=")?;
                Some(line.split(';').next().unwrap().to_owned())
            });
            Reply {
                status: parts.status.as_u16(),
                cookie,
                body: String::from_utf8(body.to_vec()).unwrap(),
            }
        });
        let reply = tokio::select! {
            biased;
            () = process.replica.crashed() => None,
            reply = work => Some(reply),
        };
        let answer = match &reply {
            None => Answer::Broken,
            Some(reply) => Answer::Status(reply.status, about(self, reply)),
        };
        let answered = self.sim.now();
        let mut history = self.sim.history();
        let line = format!("#{number} is answered {answer:?}");
        history.lines.push((answered, line));
        let op = history.ops.get_mut(&number).unwrap();
        (op.answered, op.answer) = (answered, answer);
        reply
    }

    async fn sign_in(
        &self,
        number: u32,
        process: &Process,
        user: &str,
        client: &str,
        instead_of: Option<usize>,
    ) {
        let number = number * 8;
        let mut headers = vec![
            ("client-type", client.to_owned()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        let old = instead_of.map(|jar| self.jars.lock().unwrap()[jar].clone());
        let old = old.filter(|old| !old.bearer);
        if let Some(old) = &old {
            headers.push(old.header(&old.value));
        }
        let body = format!("grant_type=password&username={user}&password=x");
        let what = What::SignIn {
            user: user.to_owned(),
            instead_of: old.map(|old| old.shown(&old.value, old.expires)),
        };
        let request = ask("POST", "/oauth/token", &headers, &body);
        let reply = self
            .perform(number, process, what, request, |_, _| None)
            .await;
        let Some(reply) = reply.filter(|reply| reply.status == 200) else {
            return;
        };
        let bearer = client == "api";
        let (value, refresh_token, expires) = issued(bearer, &reply);
        let mut history = self.sim.history();
        let session = history
            .sessions
            .iter()
            .position(|session| session.origin == Some(number));
        let Some(session) = session else {
            let now = self.sim.now();
            history.wrong(
                now,
                format!("#{number} signed in, but no session was stored"),
            );
            return;
        };
        self.jars.lock().unwrap().push(Jar {
            session,
            bearer,
            value,
            refresh_token,
            expires,
            old: Vec::new(),
            over: false,
            turn: 0,
        });
    }

    async fn check(&self, number: u32, process: &Process, at: usize, old: bool) {
        let jar = self.jars.lock().unwrap()[at].clone();
        let (value, expires) = match jar.old.last() {
            Some(previous) if old => previous.clone(),
            _ => (jar.value.clone(), jar.expires),
        };
        let request = ask("GET", "/userinfo", &[jar.header(&value)], "");
        let what = What::Check(jar.shown(&value, expires));
        let reply = self
            .perform(number * 8, process, what, request, |_, reply| {
                let body: Value = serde_json::from_str(&reply.body).ok()?;
                let text = |name: &str| body[name].as_str().map(str::to_owned);
                Some((text("sub")?, text("name")?))
            })
            .await;
        if let Some(reply) = reply
            && reply.status == 401
            && !jar.bearer
        {
            self.over(at, jar.turn);
        }
    }

    /// An explicit refresh; again, if it came to nothing, as a client does.
    async fn refresh(
        &self,
        number: u32,
        processes: &[Process; 3],
        waits: &[u64; 3],
        at: usize,
        by_name: bool,
    ) {
        for (number, (process, wait)) in (number * 8..).zip(processes.iter().zip(waits)) {
            let jar = self.jars.lock().unwrap()[at].clone();
            self.sim.turn(*wait, u64::from(number)).await;
            let refresh_token = jar.refresh_token.clone().filter(|_| jar.bearer || by_name);
            let body = refresh_token
                .as_ref()
                .map_or_else(String::new, |token| format!("refresh_token={token}"));
            let headers = [
                jar.header(&jar.value),
                (
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                ),
            ];
            let request = ask("POST", "/refreshtoken", &headers, &body);
            let what = What::Refresh {
                shown: jar.shown(&jar.value, jar.expires),
                refresh_token,
            };
            let reply = self
                .perform(number, process, what, request, |world, reply| {
                    let new = (reply.status == 200).then(|| issued(jar.bearer, reply))?;
                    world.whose(&jar, &new.0)
                })
                .await;
            let Some(reply) = reply else {
                continue;
            };
            match reply.status {
                200 => {
                    self.replaced(at, &jar, issued(jar.bearer, &reply));
                    return;
                }
                401 => {
                    self.over(at, jar.turn);
                    return;
                }
                _ => {}
            }
        }
    }

    /// Whose session the value that a refresh brought opens, and the one before it opened: the one that is
    /// still there, if there are two.
    fn whose(&self, sent: &Jar, value: &str) -> Option<(String, String)> {
        let values = [sent.value.as_str(), value].map(|value| Credential::of(value.as_bytes()));
        let history = self.sim.history();
        let opened = |record: &&SessionRecord| {
            values.iter().all(|value| {
                let known = &record.credentials;
                known.iter().any(|known| known.credential == *value)
            })
        };
        let record = history
            .sessions
            .iter()
            .filter(opened)
            .max_by_key(|record| record.ended.is_none())?;
        Some((record.user.clone(), record.family.clone()))
    }

    /// A new value. An answer that was overtaken by a newer one counts for nothing.
    fn replaced(&self, at: usize, sent: &Jar, issued: (String, Option<String>, i64)) {
        let (value, refresh_token, expires) = issued;
        let place = |value: &str| {
            let credential = Credential::of(value.as_bytes());
            let history = self.sim.history();
            history.sessions[sent.session]
                .credentials
                .iter()
                .rposition(|known| known.credential == credential)
        };
        let new = place(&value);
        let mut jars = self.jars.lock().unwrap();
        let jar = &mut jars[at];
        if place(&jar.value) >= new {
            // Also where it opens another session that had the same bytes.
            return;
        }
        let old = (std::mem::replace(&mut jar.value, value), jar.expires);
        jar.old.push(old);
        jar.refresh_token = refresh_token;
        jar.expires = expires;
        jar.over = false;
        jar.turn += 1;
    }

    fn over(&self, at: usize, turn: u32) {
        let mut jars = self.jars.lock().unwrap();
        if jars[at].turn == turn {
            jars[at].over = true;
        }
    }

    async fn sign_out(&self, number: u32, process: &Process, at: usize) {
        let jar = self.jars.lock().unwrap()[at].clone();
        let request = ask("GET", "/logout", &[jar.header(&jar.value)], "");
        let what = What::SignOut(jar.shown(&jar.value, jar.expires));
        self.perform(number * 8, process, what, request, |_, _| None)
            .await;
    }

    async fn end_all(&self, number: u32, process: &Process, user: &str) {
        let request = ask("DELETE", &format!("/sessions/{user}"), &[], "");
        let user = user.to_owned();
        self.perform(
            number * 8,
            process,
            What::EndAll { user },
            request,
            |_, _| None,
        )
        .await;
    }

    async fn end_one(&self, number: u32, process: &Process, at: usize) {
        let session = self.jars.lock().unwrap()[at].session;
        let path = {
            let history = self.sim.history();
            let record = &history.sessions[session];
            format!("/sessions/{}/{}", record.user, record.id)
        };
        let request = ask("DELETE", &path, &[], "");
        let what = What::EndOne { session };
        self.perform(number * 8, process, what, request, |_, _| None)
            .await;
    }
}

fn per_mille(one_in: u64) -> u64 {
    1000_u64.checked_div(one_in).unwrap_or(0)
}

fn ask(
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &str,
) -> Request<Full<bytes::Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "www.example.org");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

/// Value, refresh token and expiry that an answer brings.
fn issued(bearer: bool, reply: &Reply) -> (String, Option<String>, i64) {
    if !bearer {
        return (reply.cookie.clone().unwrap(), None, i64::MAX);
    }
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let expires = OffsetDateTime::parse(&text("expireAt"), &Rfc3339).unwrap();
    let expires = i64::try_from(expires.unix_timestamp_nanos() / 1_000_000).unwrap() - EPOCH;
    (text("accessToken"), Some(text("refreshToken")), expires)
}

fn tell(history: &History, what: &What) -> String {
    let label = |shown: &Shown| {
        let record = &history.sessions[shown.session];
        let place = record
            .credentials
            .iter()
            .position(|known| known.credential == shown.credential);
        format!("{} by {:?} {place:?}", record.label(), shown.presented)
    };
    match what {
        What::SignIn { user, instead_of } => {
            let old = instead_of.as_ref().map(label);
            format!("signs {user} in, instead of {old:?}")
        }
        What::Check(shown) => format!("checks {}", label(shown)),
        What::Refresh {
            shown,
            refresh_token,
        } => format!("refreshes {}, {refresh_token:?}", label(shown)),
        What::SignOut(shown) => format!("signs {} out", label(shown)),
        What::EndAll { user } => format!("ends all of {user}"),
        What::EndOne { session } => format!("ends {}", history.sessions[*session].label()),
        What::Active => "lists the active users".to_owned(),
    }
}

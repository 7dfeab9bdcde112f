//! The connection: one, shared by all, found again when it is lost or leads to the wrong server.
//!
//! Commands of all callers travel over one pipe and are answered in order; a caller that leaves takes
//! nothing with it, since the answer to a command nobody waits for is read and dropped by the task that
//! owns the pipe. Still, each command carries a number that comes back first in its answer. A number
//! that is not the one sent means that the pipe is out of step: the connection is thrown away before
//! anybody reads another's answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Cmd, PushInfo, PushKind, RedisResult, Value};
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, watch};

use super::near_cache::NearCache;
use super::scripts::Script;
use super::settings::{RedisMode, RedisSettings};
use super::trouble::Trouble;

/// First pause before connecting anew; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How often a connection is tried. Half-open ones are found by this.
const PULSE: Duration = Duration::from_millis(500);

/// The connection, or why there is none.
#[derive(Clone)]
pub(super) enum State {
    Down(Arc<str>),
    Up(u64, Wire),
}

#[derive(Clone)]
pub(super) enum Wire {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Wire {
    pub(super) async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// The connection, as all see it.
struct Health {
    state: watch::Sender<State>,
    /// The generation that is known to be of no use.
    broken: watch::Sender<u64>,
}

impl Health {
    /// Says that a connection is of no use: from now on everybody waits for the next.
    fn give_up(&self, generation: u64) {
        self.state.send_if_modified(|state| {
            let same = matches!(state, State::Up(current, _) if *current == generation);
            if same {
                *state = State::Down("the connection to Redis broke".into());
            }
            same
        });
        self.broken.send_if_modified(|broken| {
            std::mem::replace(broken, generation.max(*broken)) < generation
        });
    }
}

pub(super) struct Link {
    pub(super) settings: RedisSettings,
    pub(super) cache: Arc<NearCache>,
    health: Arc<Health>,
    permits: Semaphore,
    numbers: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) mismatches: AtomicU64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(settings: RedisSettings, cache: Arc<NearCache>) -> Self {
        Self {
            permits: Semaphore::new(settings.in_flight),
            settings,
            cache,
            health: Arc::new(Health {
                state: watch::Sender::new(State::Down("not connected to Redis yet".into())),
                broken: watch::Sender::new(0),
            }),
            numbers: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            mismatches: AtomicU64::new(0),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.settings.mode == RedisMode::Cluster
    }

    /// Waits for a connection, not for long.
    pub(super) async fn wire(&self) -> Result<(u64, Wire), Trouble> {
        if let State::Up(generation, wire) = &*self.health.state.borrow() {
            return Ok((*generation, wire.clone()));
        }
        let mut states = self.health.state.subscribe();
        let up = states.wait_for(|state| matches!(state, State::Up(..)));
        match tokio::time::timeout(self.settings.response_timeout, up).await {
            Ok(Ok(state)) => match &*state {
                State::Up(generation, wire) => Ok((*generation, wire.clone())),
                State::Down(why) => Err(Trouble::new(why, false)),
            },
            _ => match &*self.health.state.borrow() {
                State::Down(why) => Err(Trouble::new(why, false)),
                State::Up(..) => Err(Trouble::new("Redis does not answer in time", false)),
            },
        }
    }

    /// Throws away the connection in use.
    pub(super) fn give_up_now(&self) {
        let generation = match &*self.health.state.borrow() {
            State::Up(generation, _) => *generation,
            State::Down(_) => return,
        };
        self.health.give_up(generation);
    }

    /// Runs a script and returns what it answers.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Vec<Value>, Trouble> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(Trouble::new("too many commands wait for Redis", false));
        };
        let mut retried = false;
        loop {
            let (generation, wire) = self.wire().await?;
            match self.run_on(generation, wire, script, keys, arguments).await {
                // What only reads is asked again on the next connection.
                Err(trouble) if trouble.reconnect && script.reads_only() && !retried => {
                    retried = true;
                }
                outcome => return outcome,
            }
        }
    }

    async fn run_on(
        &self,
        generation: u64,
        mut wire: Wire,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Vec<Value>, Trouble> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed).to_string();
        let command = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(keys.len());
            for part in keys.iter().copied().chain([number.as_bytes()]) {
                command.arg(part);
            }
            for part in arguments {
                command.arg(*part);
            }
            command
        };
        let mut answer = wire.query(&command("EVALSHA", script.hash())).await;
        if answer.as_ref().is_err_and(|e| e.code() == Some("NOSCRIPT")) {
            answer = wire.query(&command("EVAL", script.code())).await;
        }
        let trouble = match answer {
            Ok(Value::Array(answer)) => {
                let mut parts = answer.into_iter();
                let same =
                    matches!(parts.next(), Some(Value::BulkString(n)) if n == number.as_bytes());
                if same {
                    return Ok(parts.collect());
                }
                self.mismatch()
            }
            Ok(_) => self.mismatch(),
            Err(error) => Trouble::of(&error),
        };
        if trouble.reconnect {
            self.health.give_up(generation);
        }
        Err(trouble)
    }

    /// An answer that is not the one asked for.
    pub(super) fn mismatch(&self) -> Trouble {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            "an answer of Redis belonged to another question; the connection is closed"
        );
        Trouble::new("an answer of Redis belonged to another question", true)
    }

    /// Keeps a connection until it is told to stop by being dropped.
    pub(super) async fn keep_connected(self: Arc<Self>) {
        let (mut pause, mut generation) = (FIRST_PAUSE, 0);
        loop {
            generation += 1;
            match self.connect(generation).await {
                Ok(wire) => {
                    tracing::info!(generation, "connected to Redis");
                    pause = FIRST_PAUSE;
                    self.connections.fetch_add(1, Ordering::Relaxed);
                    self.health
                        .state
                        .send_replace(State::Up(generation, wire.clone()));
                    let why = self.watch(generation, wire).await;
                    self.cache.switch_off(generation);
                    tracing::warn!(generation, why, "the connection to Redis is given up");
                    self.health.state.send_replace(State::Down(why.into()));
                }
                Err(trouble) => {
                    self.cache.switch_off(generation);
                    if pause == FIRST_PAUSE {
                        tracing::warn!(why = trouble.text, "no connection to Redis; trying on");
                    }
                    self.health
                        .state
                        .send_replace(State::Down(trouble.text.into()));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Waits until the connection is of no more use, and says why.
    async fn watch(&self, generation: u64, mut wire: Wire) -> &'static str {
        let mut broken = self.health.broken.subscribe();
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = broken.wait_for(|broken| *broken >= generation) => {
                    return "it broke, or led to the wrong server";
                }
                _ = pulse.tick() => {}
            }
            // A cluster's connections are looked after by the library, each by itself.
            if self.is_cluster() {
                continue;
            }
            let asked = Instant::now();
            let ping = redis::cmd("PING");
            let answer = tokio::select! {
                _ = broken.wait_for(|broken| *broken >= generation) => {
                    return "it broke, or led to the wrong server";
                }
                answer = wire.query(&ping) => answer,
            };
            match answer {
                Ok(_) => self.cache.heartbeat(generation, asked),
                Err(error) if cannot_save(&error) => self.cache.heartbeat(generation, asked),
                Err(error) if error.code() == Some("LOADING") => return "Redis is loading its data",
                Err(error) if error.is_timeout() => return "Redis does not answer in time",
                Err(_) => return "the connection to Redis broke",
            }
        }
    }

    async fn connect(&self, generation: u64) -> Result<Wire, Trouble> {
        match &self.settings.mode {
            RedisMode::Standalone => {
                let mut trouble = Trouble::new("no Redis host given", false);
                for (host, port) in &self.settings.hosts {
                    match self.connect_to(host, *port, generation).await {
                        Ok(wire) => return Ok(wire),
                        Err(other) => trouble = other,
                    }
                }
                Err(trouble)
            }
            RedisMode::Sentinel { master_name } => {
                let mut trouble = Trouble::new("no sentinel knows the primary", false);
                for (host, port) in &self.settings.hosts {
                    let found = self.ask_sentinel(host, *port, master_name).await;
                    match found {
                        Ok((host, port)) => match self.connect_to(&host, port, generation).await {
                            Ok(wire) => return Ok(wire),
                            Err(other) => trouble = other,
                        },
                        Err(other) => trouble = other,
                    }
                }
                Err(trouble)
            }
            RedisMode::Cluster => self.connect_cluster().await,
        }
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.response_timeout))
    }

    async fn connect_to(&self, host: &str, port: u16, generation: u64) -> Result<Wire, Trouble> {
        let (cache, health) = (Arc::clone(&self.cache), Arc::clone(&self.health));
        let config = self.config().set_push_sender(move |push: PushInfo| {
            match push.kind {
                PushKind::Invalidate => cache.invalidate(generation, &push.data),
                PushKind::Disconnection => {
                    cache.switch_off(generation);
                    health.give_up(generation);
                }
                _ => {}
            }
            Ok::<(), std::convert::Infallible>(())
        });
        let judge = |error: redis::RedisError| Trouble::of(&error);
        let client = self.settings.client(host, port, false).map_err(judge)?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(judge)?;
        // Any user may ask this, even one that may not ask ROLE.
        let hello: Value = redis::cmd("HELLO")
            .query_async(&mut connection)
            .await
            .map_err(judge)?;
        if !is_primary(&hello) {
            return Err(Trouble::new("Redis is a replica", true));
        }
        // A server that loads its data has a role, and no answers yet.
        let answer = redis::cmd("PING").exec_async(&mut connection).await;
        match answer {
            Err(error) if !cannot_save(&error) => return Err(judge(error)),
            _ => {}
        }
        if self.cache.is_wanted() {
            let tracking = redis::cmd("CLIENT")
                .arg("TRACKING")
                .arg("ON")
                .exec_async(&mut connection)
                .await;
            match tracking {
                Ok(()) => self.cache.switch_on(generation),
                // Not every user may, and not every proxy can.
                Err(error) if error.code().is_some() => {
                    let why = Trouble::of(&error).text;
                    tracing::warn!(why, "Redis does not track keys for us: no near cache");
                }
                Err(error) => return Err(judge(error)),
            }
        }
        Ok(Wire::Single(connection))
    }

    async fn ask_sentinel(
        &self,
        host: &str,
        port: u16,
        master_name: &str,
    ) -> Result<(String, u16), Trouble> {
        // Its users and passwords are others than the servers'.
        let judge = |error: redis::RedisError| {
            let mut trouble = Trouble::of(&error);
            trouble.text = format!("at a sentinel: {}", trouble.text);
            trouble
        };
        let client = self.settings.client(host, port, true).map_err(judge)?;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&self.config())
            .await
            .map_err(judge)?;
        let found: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(master_name)
            .query_async(&mut connection)
            .await
            .map_err(judge)?;
        found.ok_or_else(|| Trouble::new("the sentinel does not know the primary", true))
    }

    async fn connect_cluster(&self) -> Result<Wire, Trouble> {
        use redis::IntoConnectionInfo as _;
        let settings = &self.settings;
        let judge = |error: redis::RedisError| Trouble::of(&error);
        let mut nodes = Vec::new();
        for (host, port) in &settings.hosts {
            let address = settings.address(host, *port);
            nodes.push(address.into_connection_info().map_err(judge)?);
        }
        let mut builder = redis::cluster::ClusterClientBuilder::new(nodes)
            .use_protocol(redis::ProtocolVersion::RESP3)
            .connection_timeout(settings.connect_timeout)
            .response_timeout(settings.response_timeout)
            .overall_response_timeout(Some(settings.response_timeout));
        if let Some(username) = &settings.username {
            builder = builder.username(username);
        }
        if let Some(password) = &settings.password {
            builder = builder.password(password.expose_secret());
        }
        if let Some(certificates) = settings.certificates() {
            builder = builder.tls(redis::TlsMode::Secure).certs(certificates);
        }
        let client = builder.build().map_err(judge)?;
        let connection = client.get_async_connection().await;
        let connection = connection.map_err(|error| match error.code() {
            Some("ERR") => Trouble::new("this Redis is no cluster: set the mode", false),
            _ => judge(error),
        })?;
        Ok(Wire::Cluster(connection))
    }
}

/// Does the server's greeting say so?
fn is_primary(hello: &Value) -> bool {
    let text = |value: &Value, wanted: &str| match value {
        Value::BulkString(found) => found == wanted.as_bytes(),
        Value::SimpleString(found) => found == wanted,
        _ => false,
    };
    match hello {
        Value::Map(pairs) => pairs
            .iter()
            .any(|(name, value)| text(name, "role") && text(value, "master")),
        _ => false,
    }
}

/// A server that cannot save says so to PING too, and can still be read.
fn cannot_save(error: &redis::RedisError) -> bool {
    error.code() == Some("MISCONF")
}

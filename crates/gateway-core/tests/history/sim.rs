//! Virtual time, chance and weather: what the simulated store and tenant and the clients are made of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sessionkit::{Clock, Timestamp};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::history::History;

/// Unix time, in milliseconds, at which every history begins.
pub const EPOCH: i64 = 1_790_000_000_000;
/// How far a replica's clock may be off, in milliseconds, to either side.
pub const SKEW: u64 = 500;

tokio::task_local! {
    /// The operation that a call belongs to. A refresh belongs to nobody: it is a task of its own.
    pub static ORIGIN: u32;
}

/// A small generator (SplitMix64): the same numbers on every machine and in every release.
pub struct Rng(u64);

impl Rng {
    pub fn of(seed: u64, text: &str) -> Self {
        // FNV-1a, so that each text has a stream of its own.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = Self(hash ^ seed.wrapping_mul(0xd6e8_feb8_6659_fd93));
        rng.next();
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// How bad it is just now. Chances are per mille.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Longest way to the store and back, in milliseconds; at most 2000.
    pub store_latency: u64,
    /// The store fails before it acts.
    pub store_fails: u64,
    /// The store acts, and the answer is lost.
    pub store_loses: u64,
    /// The store fails always.
    pub store_down: bool,
    /// Longest way to the tenant and back, in milliseconds, as a rule.
    pub tenant_latency: u64,
    /// The tenant takes up to 25 s: longer than a lease.
    pub tenant_slow: u64,
    /// The tenant answers 5xx or 429, or cannot be reached.
    pub tenant_fails: u64,
    /// The tenant acts, and the answer is lost.
    pub tenant_loses: u64,
    /// The caller gives up, and the tenant acts after that.
    pub tenant_late: u64,
    /// The tenant answers 503 always.
    pub tenant_down: bool,
}

/// The world's frame.
pub struct Sim {
    pub seed: u64,
    start: Instant,
    agenda: Mutex<BTreeMap<(u64, u64), oneshot::Sender<()>>>,
    posted: Notify,
    draws: Mutex<BTreeMap<String, u64>>,
    weather: Mutex<Weather>,
    history: Mutex<History>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sim")
    }
}

impl Sim {
    pub fn new(seed: u64) -> Arc<Self> {
        let sim = Arc::new(Self {
            seed,
            start: Instant::now(),
            agenda: Mutex::default(),
            posted: Notify::new(),
            draws: Mutex::default(),
            weather: Mutex::default(),
            history: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&sim).keep_agenda());
        sim
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from((Instant::now() - self.start).as_millis()).unwrap()
    }

    pub fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().unwrap());
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// A line of the history.
    pub fn note(&self, line: String) {
        let now = self.now();
        self.history().lines.push((now, line));
    }

    /// The chances of one event. They hang on its name and on how many of that name came before, not
    /// on what else happens at the same time.
    pub fn draw(&self, name: &str) -> Rng {
        let mut draws = self.draws.lock().unwrap();
        let count = draws.entry(name.to_owned()).or_default();
        *count += 1;
        Rng::of(self.seed, &format!("{name} {count}"))
    }

    /// Waits for at least `delay` milliseconds, and for a millisecond in which nobody else has a turn:
    /// so what happens in one instant cannot come in another order on another day.
    pub async fn turn(&self, delay: u64, mut key: u64) {
        let (go, gone) = oneshot::channel();
        {
            let mut agenda = self.agenda.lock().unwrap();
            let due = self.now() + delay.max(1);
            while agenda.contains_key(&(due, key)) {
                key = key.wrapping_add(1);
            }
            agenda.insert((due, key), go);
        }
        self.posted.notify_one();
        gone.await.unwrap();
    }

    async fn keep_agenda(self: Arc<Self>) {
        loop {
            let first = self.agenda.lock().unwrap().keys().next().copied();
            let Some((due, _)) = first else {
                self.posted.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = sleep_until(self.start + Duration::from_millis(due)) => {}
                () = self.posted.notified() => continue,
            }
            let event = self.agenda.lock().unwrap().pop_first();
            // Whoever waited for it may have been dropped with its client.
            if let Some((_, go)) = event
                && go.send(()).is_ok()
            {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// A process of the gateway: its name, its clock, and whether it is still there.
#[derive(Debug)]
pub struct Replica {
    pub name: String,
    skew: i64,
    start: Instant,
    crashed: AtomicBool,
    word: watch::Sender<bool>,
}

impl Replica {
    pub fn new(sim: &Sim, name: String, skew: i64) -> Arc<Self> {
        Arc::new(Self {
            name,
            skew,
            start: sim.start,
            crashed: AtomicBool::new(false),
            word: watch::channel(false).0,
        })
    }

    /// From now on whatever this replica has under way stands still for ever, and its callers' connections
    /// are broken.
    pub fn crash(&self) {
        self.crashed.store(true, Ordering::SeqCst);
        self.word.send_replace(true);
    }

    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    /// Ends when the replica crashes.
    pub async fn crashed(&self) {
        self.word
            .subscribe()
            .wait_for(|crashed| *crashed)
            .await
            .unwrap();
    }

    /// Stands still if the replica has crashed.
    pub async fn alive(&self) {
        if self.has_crashed() {
            std::future::pending::<()>().await;
        }
    }
}

impl Clock for Replica {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from((Instant::now() - self.start).as_millis()).unwrap();
        Timestamp::from_unix_millis(EPOCH + elapsed + self.skew)
    }
}

//! Sessions in Redis (or Valkey), shared by replicas: one server, Sentinel, or Cluster.
//!
//! **Guarantees.** Each change of a session is one script in one slot, so compare-and-swap, end and
//! lease are atomic on every replica. Which session a credential opens, who is active, and which
//! sessions belong to one of the identity provider's stand in other slots; they are written before the
//! session and confirmed after it, they are held against the session when read, and what a crash left
//! behind is put right then. Expiry is judged on reading, by the caller's clock. Redis replicates behind
//! its answers: a fail-over can lose what was acknowledged in the last moments, an end among it.
//!
//! **In trouble** every call returns an error within its time limit; nothing falls back to memory.
//! A replica, a server that loads its data, a cluster that is down, a refused password or a full server
//! are named in the error, and the connection is sought anew where that helps, for as long as it takes.
//!
//! **Client library.** `redis` and not `fred`: both have Sentinel, Cluster, TLS and RESP3, both own the
//! pipe in a task of its own, so that a caller that leaves cannot put it out of step. `redis` is
//! released every few weeks (`fred` rests since 2025), costs less per command on a shared connection,
//! and hands over invalidations in the order of the pipe. Its own reconnecting is not used for a single
//! server: it would go on with a server that has become a replica. So this module asks sentinels and
//! servers for their role itself, which are two commands.
//!
//! The layout of the keys stands at the top of `redis/keys.rs`; its version is part of every key. Leases
//! are judged by the callers' clocks: those of replicas may differ by some seconds, not by more. RESP3 is
//! needed, which Redis speaks since 6.0; a restricted user needs the data commands and scripts, and
//! `CLIENT TRACKING` for the near cache, which is not used with a cluster.
//!
//! Values are sealed (see [`crate::seal`]); in the clear are expiry, idle limit, last use and version of
//! a session, names of named records, and the subjects that may be active.

mod keys;
mod link;
mod near_cache;
mod pointers;
mod reseal;
mod scripts;
mod settings;
mod small;
mod store;
mod trouble;
mod values;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use keys::Keys;
use link::Link;
use near_cache::NearCache;
pub use near_cache::NearCacheStatus;
pub use settings::{RedisMode, RedisSettings, RedisSettingsError, RedisTls};

use crate::EncryptionKeys;

/// Keeps sessions, one-time records and named records in Redis; see [the module](self).
#[derive(Debug)]
pub struct RedisStore {
    link: Arc<Link>,
    keys: Keys,
    seal: EncryptionKeys,
    cursor: tokio::sync::Mutex<reseal::Cursor>,
    connector: JoinHandle<()>,
}

/// How a [`RedisStore`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStatus {
    /// Connections made since the start.
    pub connections: u64,
    /// Answers that belonged to another question. Zero, unless something is very wrong.
    pub mismatches: u64,
    /// The near cache.
    pub near_cache: NearCacheStatus,
}

impl RedisStore {
    /// Begins to connect, and waits for the first connection, but not for long: without one the store is
    /// not ready, and goes on trying.
    ///
    /// # Errors
    /// [`RedisSettingsError`]. Servers that cannot be reached are no error here: ask
    /// [`crate::SessionStore::check`].
    pub async fn connect(settings: RedisSettings) -> Result<Self, RedisSettingsError> {
        settings.validate()?;
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|_| RedisSettingsError::NoRuntime)?;
        let near = match settings.mode {
            RedisMode::Cluster => 0,
            RedisMode::Standalone | RedisMode::Sentinel { .. } => settings.near_cache,
        };
        let cache = NearCache::new(near, settings.near_cache_age, &settings.scope);
        let (keys, seal) = (Keys::new(&settings.scope), settings.keys.clone());
        let link = Arc::new(Link::new(settings, Arc::new(cache)));
        let connector = runtime.spawn(Arc::clone(&link).keep_connected());
        let store = Self {
            link,
            keys,
            seal,
            cursor: tokio::sync::Mutex::default(),
            connector,
        };
        if let Err(trouble) = store.link.wire().await {
            tracing::warn!(why = trouble.text, "no connection to Redis yet");
        }
        Ok(store)
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> RedisStatus {
        RedisStatus {
            connections: self.link.connections.load(Ordering::Relaxed),
            mismatches: self.link.mismatches.load(Ordering::Relaxed),
            near_cache: self.link.cache.status(),
        }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.connector.abort();
    }
}

//! Sessions in one file, for one process: nothing to install, and nothing lost by a crash.
//!
//! Everything is answered from memory and written to the file before a caller hears of it. Writes that
//! come at the same time share one commit, and so one wait for the disk.
//!
//! * A write that has returned is in the file, come what may. One that was under way at a crash has
//!   happened wholly or not at all.
//! * Nobody sees a change before it is in the file.
//! * Notes that a session was used are written every few seconds; a crash forgets the latest.
//! * A lease that was held at a crash is held until it runs out: the call it stands for may have reached
//!   the identity provider. Numbers of leases never come again.
//! * When the disk is full or refuses writes, they fail and reads go on; writing goes on by itself when
//!   the disk has room again.
//! * Values are sealed (see [`crate::seal`]). Whoever can write to the file can put an older copy of it
//!   back, as with any file.

mod error;
mod file;
mod guard;
mod load;
mod queue;
mod rows;
mod store;
mod tables;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use error::EmbeddedError;
use file::Opener;
use queue::Queue;
use tables::Tables;
use writer::{Counters, Writer};

use crate::{Clock, EncryptionKeys, SystemClock};

/// How an [`EmbeddedStore`] is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Keys that seal what is written. [`EncryptionKeys::load_or_create`] serves where none is set.
    pub keys: EncryptionKeys,
    /// Tells what has expired, for the sweep. The system's clock by default.
    pub clock: Arc<dyn Clock>,
    /// Most writes that wait at a time; more are refused. 16 384 by default.
    pub queue: usize,
    /// Longest wait for the disk; then the caller gets an error, and the write may still happen. 10 s by
    /// default.
    pub write_timeout: Duration,
    /// Check every page of the file when it is opened, not only after a crash. On by default; it takes
    /// about a third of the time that reading the sessions takes. Without it, a session that was damaged
    /// or is missing is found all the same, since each is opened and all are counted; what may go
    /// unnoticed is damage to the file's own book-keeping.
    pub check_pages: bool,
    /// How often notes of use are written and expired rows removed. 5 s by default.
    pub housekeeping: Duration,
}

impl EmbeddedOptions {
    /// The defaults.
    #[must_use]
    pub fn new(keys: EncryptionKeys) -> Self {
        Self {
            keys,
            clock: Arc::new(SystemClock),
            queue: 16_384,
            write_timeout: Duration::from_secs(10),
            check_pages: true,
            housekeeping: Duration::from_secs(5),
        }
    }
}

/// Keeps sessions, one-time records and named records in one file; see [the module](self).
#[derive(Debug)]
pub struct EmbeddedStore {
    tables: Arc<Tables>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    hasher: std::collections::hash_map::RandomState,
    write_timeout: Duration,
    thread: Option<JoinHandle<()>>,
}

/// How an [`EmbeddedStore`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbeddedStatus {
    /// Sessions in memory, expired ones that were not swept yet among them.
    pub sessions: usize,
    /// Writes since the start.
    pub writes: u64,
    /// Commits since the start, each with one wait for the disk.
    pub commits: u64,
    /// Commits that the disk refused.
    pub failures: u64,
    /// True while the disk refuses.
    pub failing: bool,
    /// Values sealed with a key that is not the newest. At zero the older keys are safe to drop.
    pub sealed_with_older_keys: u64,
}

impl EmbeddedStore {
    /// Opens the file, or makes it when there is none, and reads it all. Takes seconds for a million
    /// sessions: keep it off a runtime's worker threads.
    ///
    /// # Errors
    /// [`EmbeddedError`]. The file is left as it was.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        Self::open_with(Opener::new(path, options.check_pages), options)
    }

    fn open_with(opener: Opener, options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let tables = Arc::new(Tables::new(options.keys));
        // redb may panic at what it does not expect in a file.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let (mut database, guarded) = opener.open_or_create()?;
            let loaded = load::load(&opener, &database, &tables, options.clock.now())?;
            // All is there and good: now it may be changed.
            guarded.release().map_err(|source| opener.io(source))?;
            opener.compact(&mut database)?;
            Ok((database, loaded))
        }));
        let (database, loaded) =
            opened.unwrap_or_else(|_| Err(opener.damaged("reading it failed")))?;
        let queue = Arc::new(Queue::new(options.queue));
        let counters = Arc::new(Counters::default());
        let writer = Writer::new(
            (opener, database),
            options.housekeeping,
            Arc::clone(&tables),
            Arc::clone(&queue),
            Arc::clone(&counters),
            options.clock,
            loaded.counts,
        );
        let thread = thread::Builder::new()
            .name("session-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(EmbeddedError::Thread)?;
        Ok(Self {
            tables,
            queue,
            counters,
            hasher: Default::default(),
            write_timeout: options.write_timeout,
            thread: Some(thread),
        })
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> EmbeddedStatus {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        EmbeddedStatus {
            sessions: self.tables.index.writer().len(),
            writes: count(&self.counters.writes),
            commits: count(&self.counters.commits),
            failures: count(&self.counters.failures),
            failing: self.counters.failing.load(Ordering::Relaxed),
            sealed_with_older_keys: count(&self.counters.older),
        }
    }
}

/// Waits until all that was asked for is written, notes of use included.
impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;

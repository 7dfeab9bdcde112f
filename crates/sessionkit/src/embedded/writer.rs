//! The one thread that changes the file: many writes, one commit.
//!
//! Each write is decided against memory, then all decisions of a batch are committed together, then
//! memory follows and the callers hear of it. So memory never shows what a crash could take back. Writes
//! that depend on one another (same subject, credential, record …) go into batches one after the other.
//!
//! When the disk refuses, the batch has not happened, its callers get an error, and memory stays as it
//! was. Whether the file took it nevertheless is not known. So the file is opened anew, once a second,
//! and what the batch named is written as memory has it, before anything else is.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, Table,
    WriteTransaction,
};

use super::error::EmbeddedError;
use super::file::Opener;
use super::queue::{Job, Queue};
use super::rows::{self, RowKey};
use super::tables::{Name, Step, Tables, lease_row};
use crate::error::BoxError;
use crate::index::{Change, LEASE_MEMORY};
use crate::seal::{KeyCounts, ResealProgress};
use crate::{Clock, StoreError, Timestamp};

/// Most writes in one commit.
const MAX_BATCH: usize = 4096;
/// How often a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Most notes of use in one commit: others wait meanwhile.
const MAX_TOUCHES: usize = 4096;
/// How many sessions a look for expired ones takes at a time, and in all per tick.
const SWEEP: usize = 1024;
const SWEEPS: usize = 64;

/// What others may know of the writer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) older: AtomicU64,
    pub(super) failing: AtomicBool,
}

pub(super) struct Writer {
    pub(super) opener: Opener,
    /// None while the disk refuses.
    pub(super) database: Option<Database>,
    pub(super) tables: Arc<Tables>,
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counts: KeyCounts,
    /// How often notes of use are written and expired rows looked for.
    pub(super) every: Duration,
    doubtful: HashSet<Name>,
    tried: Option<Instant>,
    ticked: Instant,
    cursor: (usize, Vec<u8>),
}

type SealedTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

impl Writer {
    pub(super) fn new(
        (opener, database): (Opener, Database),
        every: Duration,
        tables: Arc<Tables>,
        queue: Arc<Queue>,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        counts: KeyCounts,
    ) -> Self {
        let writer = Self {
            opener,
            database: Some(database),
            tables,
            queue,
            counters,
            clock,
            counts,
            every,
            doubtful: HashSet::new(),
            tried: None,
            ticked: Instant::now(),
            cursor: (0, Vec::new()),
        };
        writer.publish();
        writer
    }

    /// Works until the queue is closed.
    pub(super) fn run(mut self) {
        while let Some(jobs) = self.queue.take(self.patience()) {
            // A bug must not take the only writer away.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.work(jobs);
                self.tick();
            }));
            if outcome.is_err() {
                tracing::error!("a write to the session file was broken off");
                self.database = None;
            }
        }
        drop(catch_unwind(AssertUnwindSafe(|| {
            self.write_touches(usize::MAX)
        })));
    }

    fn patience(&self) -> Duration {
        if self.database.is_none() {
            RETRY
        } else {
            self.every
        }
    }

    fn work(&mut self, mut jobs: VecDeque<Job>) {
        while !jobs.is_empty() {
            let mut later = VecDeque::new();
            let (mut steps, mut replies) = (Vec::new(), Vec::new());
            let mut claimed = HashSet::new();
            while let Some(job) = jobs.pop_front() {
                match job {
                    Job::Reseal { limit, reply } => {
                        let progress = self.reseal(limit);
                        reply(progress.map_err(|error| StoreError(error.into())));
                    }
                    Job::Write { claims, decide } => {
                        let free = claims.iter().all(|claim| !claimed.contains(claim));
                        // Those that wait claim too: the order of two that meet is kept.
                        claimed.extend(claims.iter().copied());
                        if free && replies.len() < MAX_BATCH {
                            replies.push(decide(&self.tables, &mut steps));
                        } else {
                            later.push_back(Job::Write { claims, decide });
                        }
                    }
                }
            }
            let committed = self.commit(steps);
            self.counters
                .writes
                .fetch_add(replies.len() as u64, Ordering::Relaxed);
            for reply in replies {
                let outcome = match &committed {
                    Ok(()) => Ok(()),
                    Err(error) => Err(StoreError(error.to_string().into())),
                };
                reply(outcome);
            }
            jobs = later;
            jobs.extend(self.queue.take_more());
        }
    }

    /// Makes steps durable, then visible.
    fn commit(&mut self, steps: Vec<Step>) -> Result<(), Arc<EmbeddedError>> {
        if steps.is_empty() {
            return Ok(());
        }
        let (outcome, failed) = match self.database() {
            Err(error) => (Err(error), false),
            Ok(()) => (self.write(&steps), true),
        };
        if let Err(error) = outcome {
            if failed {
                for step in &steps {
                    step.names(&mut self.doubtful);
                }
            }
            return Err(self.gave_up(error));
        }
        for step in steps {
            self.tables.apply(step);
        }
        Ok(())
    }

    fn gave_up(&mut self, error: EmbeddedError) -> Arc<EmbeddedError> {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        if !self.counters.failing.swap(true, Ordering::Relaxed) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the session file takes no writes; checks go on");
        }
        // redb refuses everything after an error of the disk, until it is opened anew.
        if let Some(database) = self.database.take() {
            drop(catch_unwind(AssertUnwindSafe(|| drop(database))));
        }
        Arc::new(error)
    }

    /// Sees to it that there is a database to write to.
    fn database(&mut self) -> Result<(), EmbeddedError> {
        if self.database.is_some() {
            return Ok(());
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return Err(self.opener.io(std::io::Error::other(
                "the disk refused a moment ago; it is tried again every second",
            )));
        }
        self.tried = Some(Instant::now());
        let (database, guarded) = self.opener.open()?;
        guarded.release().map_err(|source| self.opener.io(source))?;
        self.database = Some(database);
        match self.settle_doubts() {
            Ok(()) => {
                self.doubtful.clear();
                self.tried = None;
                self.counters.failing.store(false, Ordering::Relaxed);
                tracing::info!("the session file takes writes again");
                Ok(())
            }
            Err(error) => {
                self.database = None;
                Err(error)
            }
        }
    }

    /// Writes what may or may not have been written, as memory has it.
    fn settle_doubts(&mut self) -> Result<(), EmbeddedError> {
        let names: Vec<Name> = self.doubtful.iter().cloned().collect();
        let tables = Arc::clone(&self.tables);
        self.transact(|transaction, counts| {
            for name in &names {
                let row = tables.row(name)?;
                let (table, key) = match name {
                    Name::Session(subject, id) => {
                        (rows::SESSIONS, rows::row_key(subject, *id).to_vec())
                    }
                    Name::OneTime(key) => (rows::ONE_TIME, key.hash().to_vec()),
                    Name::Record(key) => (rows::RECORDS, key.clone().into_bytes()),
                    Name::Lease(place) => {
                        set_plain(transaction, &place.key, row)?;
                        continue;
                    }
                };
                let mut table = transaction.open_table(table)?;
                rows::set(&mut table, counts, &key, row.as_deref())?;
            }
            Ok(())
        })?;
        self.counts = self.count_all()?;
        Ok(())
    }

    /// Counts the keys in use by looking at every row.
    fn count_all(&self) -> Result<KeyCounts, EmbeddedError> {
        let mut counts = KeyCounts::default();
        let mut count = || -> Result<(), redb::Error> {
            let Some(database) = &self.database else {
                return Ok(());
            };
            let transaction = database.begin_read()?;
            for (table, _) in rows::SEALED {
                for row in transaction.open_table(table)?.iter()? {
                    counts.count(rows::sealed_part(row?.1.value()), 1);
                }
            }
            Ok(())
        };
        count().map_err(|e| self.opener.storage(e))?;
        Ok(counts)
    }

    /// One commit with one sync of the disk.
    fn transact(
        &mut self,
        write: impl FnOnce(&WriteTransaction, &mut KeyCounts) -> Result<(), BoxError>,
    ) -> Result<(), EmbeddedError> {
        let Some(database) = &self.database else {
            return Err(self.opener.damaged("it is not open"));
        };
        let mut delta = KeyCounts::default();
        let transaction = database.begin_write().map_err(|e| self.opener.storage(e))?;
        write(&transaction, &mut delta).map_err(|source| self.opener.other(source))?;
        transaction.commit().map_err(|e| self.opener.storage(e))?;
        self.counts.add(&delta);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let older = self.counts.older_than(self.tables.keys.newest());
        self.counters.older.store(older, Ordering::Relaxed);
    }

    fn write(&mut self, steps: &[Step]) -> Result<(), EmbeddedError> {
        self.transact(|transaction, counts| {
            let mut open = Open::new(transaction)?;
            for step in steps {
                open.write(step, counts)?;
            }
            Ok(())
        })
    }

    /// What is due from time to time.
    fn tick(&mut self) {
        if self.database.is_none() {
            // Opens it anew even when nobody writes.
            if let Err(error) = self.database() {
                drop(self.gave_up(error));
            }
            return;
        }
        if self.ticked.elapsed() < self.every {
            return;
        }
        self.ticked = Instant::now();
        let now = self.clock.now();
        let swept = self
            .write_touches(MAX_TOUCHES)
            .and_then(|()| self.sweep(now))
            .and_then(|()| self.sweep_leases(now));
        if let Err(error) = swept {
            drop(self.gave_up(error));
        }
    }

    fn write_touches(&mut self, limit: usize) -> Result<(), EmbeddedError> {
        if self.database.is_none() {
            return Ok(());
        }
        let touched = self.tables.take_touched(limit);
        if touched.is_empty() {
            return Ok(());
        }
        let tables = Arc::clone(&self.tables);
        self.transact(|transaction, counts| {
            let mut table = transaction.open_table(rows::SEEN)?;
            for (key, session) in &touched {
                // It may have ended since. The lock is taken for each: readers of lists wait for it.
                let (subject, id) = (session.subject(), session.id());
                let stored = tables.index.writer().stored(subject, id);
                if let Some(stored) = stored {
                    let row = rows::seen_row(&tables.keys, key, stored.last_seen_seconds())?;
                    rows::set(&mut table, counts, key, Some(&row))?;
                }
            }
            Ok(())
        })
    }

    /// Takes expired rows out, a part of all in each tick.
    fn sweep(&mut self, now: Timestamp) -> Result<(), EmbeddedError> {
        let mut expired = Vec::new();
        for _ in 0..SWEEPS {
            // The lock is given back in between: readers of lists wait for it.
            let some = self.tables.index.writer().round(SWEEP);
            let done = some.len() < SWEEP;
            expired.extend(some.into_iter().filter(|session| !session.is_live(now)));
            if done {
                break;
            }
        }
        let mut steps = Vec::new();
        if !expired.is_empty() {
            let change = Change {
                removed: expired,
                put: None,
            };
            steps.push(Step::Sessions(change, None));
        }
        let gone = self.tables.one_time().expire(now);
        self.tables.discard(gone);
        let garbage = self.tables.take_garbage();
        steps.extend(
            garbage
                .into_iter()
                // Stored again meanwhile?
                .filter(|key| self.tables.one_time().get(key, now).is_none())
                .map(|key| Step::OneTime(key, None)),
        );
        let records = self.tables.records().expired(now);
        steps.extend(records.into_iter().map(|key| Step::Record(key, None)));
        if steps.is_empty() {
            return Ok(());
        }
        self.write(&steps)?;
        for step in steps {
            self.tables.apply(step);
        }
        Ok(())
    }

    fn sweep_leases(&mut self, now: Timestamp) -> Result<(), EmbeddedError> {
        let old = self.tables.index.writer().old_leases(now);
        if old.is_empty() {
            return Ok(());
        }
        self.transact(|transaction, _| {
            let mut table = transaction.open_table(rows::LEASES)?;
            table.retain(|_, row| {
                let until = row.last_chunk().map(|until| i64::from_be_bytes(*until));
                until.is_some_and(|until| {
                    Timestamp::from_unix_millis(until).after(LEASE_MEMORY) > now
                })
            })?;
            Ok(())
        })?;
        let mut writer = self.tables.index.writer();
        for id in old {
            writer.set_lease(id, None);
        }
        Ok(())
    }

    /// Seals up to `limit` rows anew, from where the last call stopped.
    fn reseal(&mut self, limit: usize) -> Result<ResealProgress, EmbeddedError> {
        self.database()?;
        let newest = self.tables.keys.newest();
        let mut progress = ResealProgress::default();
        let (mut at, mut after) = std::mem::take(&mut self.cursor);
        let mut looked_at = 0;
        while let Some((definition, kind)) = rows::SEALED.get(at)
            && looked_at < limit
        {
            let older = self.older_rows(*definition, &after, limit - looked_at);
            let (looked, rows, last) = older.map_err(|e| self.opener.storage(e))?;
            looked_at += looked;
            let keys = self.tables.keys.clone();
            if !rows.is_empty() {
                progress.resealed += rows.len();
                self.transact(|transaction, counts| {
                    let mut table = transaction.open_table(*definition)?;
                    for (key, row) in &rows {
                        let row = rows::sealed_anew(&keys, *kind, key, row)?;
                        rows::set(&mut table, counts, key, Some(&row))?;
                    }
                    Ok(())
                })?;
            }
            match last {
                Some(last) => after = last,
                None => (at, after) = (at + 1, Vec::new()),
            }
        }
        progress.round_done = at >= rows::SEALED.len();
        if !progress.round_done {
            self.cursor = (at, after);
        }
        progress.sealed_with_older_keys = Some(self.counts.older_than(newest));
        Ok(progress)
    }

    /// Looks at up to `limit` rows after a key: how many there were, those under an older key, and where
    /// to go on, unless that was the end.
    fn older_rows(
        &self,
        definition: rows::Rows,
        after: &[u8],
        limit: usize,
    ) -> Result<OlderRows, redb::Error> {
        let newest = self.tables.keys.newest();
        let Some(database) = &self.database else {
            return Ok((0, Vec::new(), None));
        };
        let table = database.begin_read()?.open_table(definition)?;
        if table.is_empty()? {
            return Ok((0, Vec::new(), None));
        }
        let (mut looked, mut older, mut last) = (0, Vec::new(), None);
        let start = if after.is_empty() {
            std::ops::Bound::Unbounded
        } else {
            std::ops::Bound::Excluded(after)
        };
        for row in table.range::<&[u8]>((start, std::ops::Bound::Unbounded))? {
            if looked == limit {
                return Ok((looked, older, last));
            }
            let (key, row) = row?;
            looked += 1;
            last = Some(key.value().to_vec());
            let sealed_with = crate::EncryptionKeys::sealed_with(rows::sealed_part(row.value()));
            if sealed_with.is_ok_and(|id| id != newest) {
                older.push((key.value().to_vec(), row.value().to_vec()));
            }
        }
        Ok((looked, older, None))
    }
}

type OlderRows = (usize, Vec<(Vec<u8>, Vec<u8>)>, Option<Vec<u8>>);

/// The tables of one transaction.
struct Open<'t> {
    sessions: SealedTable<'t>,
    seen: SealedTable<'t>,
    one_time: SealedTable<'t>,
    records: SealedTable<'t>,
    leases: SealedTable<'t>,
    meta: Table<'t, &'static str, u64>,
}

impl<'t> Open<'t> {
    fn new(transaction: &'t WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            sessions: transaction.open_table(rows::SESSIONS)?,
            seen: transaction.open_table(rows::SEEN)?,
            one_time: transaction.open_table(rows::ONE_TIME)?,
            records: transaction.open_table(rows::RECORDS)?,
            leases: transaction.open_table(rows::LEASES)?,
            meta: transaction.open_table(rows::META)?,
        })
    }

    fn write(&mut self, step: &Step, counts: &mut KeyCounts) -> Result<(), redb::StorageError> {
        match step {
            Step::Sessions(change, row) => {
                for session in &change.removed {
                    let key: RowKey = rows::row_key(session.subject(), session.id());
                    rows::set(&mut self.sessions, counts, &key, None)?;
                    rows::set(&mut self.seen, counts, &key, None)?;
                    self.leases.remove(key.as_slice())?;
                }
                if let (Some((next, _)), Some(row)) = (&change.put, row) {
                    let key = rows::row_key(next.subject(), next.id());
                    rows::set(&mut self.sessions, counts, &key, Some(row))?;
                }
            }
            Step::Lease(place, lease) => match lease {
                Some(lease) => {
                    self.leases
                        .insert(place.key.as_slice(), lease_row(*lease).as_slice())?;
                    let last = self.meta.get(rows::META_FENCE)?.map_or(0, |n| n.value());
                    if lease.fence.0 > last {
                        self.meta.insert(rows::META_FENCE, lease.fence.0)?;
                    }
                }
                None => drop(self.leases.remove(place.key.as_slice())?),
            },
            Step::OneTime(key, new) => {
                let row = new.as_ref().map(|new| new.row.as_slice());
                rows::set(&mut self.one_time, counts, key.hash(), row)?;
            }
            Step::Record(key, new) => {
                let row = new.as_ref().map(|(_, row)| row.as_slice());
                rows::set(&mut self.records, counts, key.as_bytes(), row)?;
                if let Some((record, _)) = new {
                    let last = self.meta.get(rows::META_VERSION)?.map_or(0, |n| n.value());
                    if record.version > last {
                        self.meta.insert(rows::META_VERSION, record.version)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn set_plain(
    transaction: &WriteTransaction,
    key: &RowKey,
    row: Option<Vec<u8>>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(rows::LEASES)?;
    match row {
        Some(row) => drop(table.insert(key.as_slice(), row.as_slice())?),
        None => drop(table.remove(key.as_slice())?),
    }
    Ok(())
}

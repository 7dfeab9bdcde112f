//! Start-up: everything from the file into memory, on all cores.

use std::ops::Bound;
use std::sync::Arc;
use std::thread;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _,
};

use super::error::{EmbeddedError, RowError};
use super::file::Opener;
use super::rows;
use super::tables::Tables;
use crate::index::{Index, LeaseRecord};
use crate::seal::{KeyCounts, Kind};
use crate::{Credential, Fence, Session, SessionId, StoredRecord, Timestamp};

/// Most threads that read at once.
const MAX_THREADS: usize = 8;

/// What was found besides sessions.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) counts: KeyCounts,
    unreadable: Unreadable,
}

#[derive(Debug, Default)]
struct Unreadable {
    count: usize,
    first: Option<RowError>,
}

impl Unreadable {
    fn note(&mut self, error: RowError) {
        self.count += 1;
        self.first.get_or_insert(error);
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.take().or(other.first);
    }
}

/// Fills the tables. Expired sessions come along: the sweep takes them out of memory and file alike.
pub(super) fn load(
    opener: &Opener,
    database: &Database,
    tables: &Tables,
    now: Timestamp,
) -> Result<Loaded, EmbeddedError> {
    let transaction = database.begin_read().map_err(|e| opener.storage(e))?;
    let mut loaded = Loaded::default();
    load_sessions(opener, database, tables, &mut loaded)?;
    load_values(&transaction, tables, &mut loaded, now).map_err(|e| opener.storage(e))?;
    load_leases(&transaction, tables).map_err(|e| opener.storage(e))?;
    let Unreadable { count, first } = std::mem::take(&mut loaded.unreadable);
    match first {
        None => Ok(loaded),
        Some(reason) => Err(EmbeddedError::Sealed {
            path: opener.path.clone(),
            count,
            reason: reason.to_string(),
        }),
    }
}

/// What one thread read.
type Part = (Vec<Arc<Session>>, Loaded);

fn load_sessions(
    opener: &Opener,
    database: &Database,
    tables: &Tables,
    loaded: &mut Loaded,
) -> Result<(), EmbeddedError> {
    let threads = thread::available_parallelism()
        .map_or(1, Into::into)
        .clamp(1, MAX_THREADS);
    // Keys begin with a hash: equal ranges hold about equally many.
    let borders: Vec<u8> = (1..threads)
        .map(|n| u8::try_from(n * 256 / threads).unwrap_or(u8::MAX))
        .collect();
    let parts: Vec<Result<Part, redb::Error>> = thread::scope(|scope| {
        let starts = std::iter::once(None).chain(borders.iter().map(Some));
        let ends = borders.iter().map(Some).chain(std::iter::once(None));
        let workers: Vec<_> = starts
            .zip(ends)
            .map(|(start, end)| scope.spawn(move || load_range(database, tables, start, end)))
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                let failed = |_| Err(redb::Error::Corrupted("reading it failed".to_owned()));
                worker.join().unwrap_or_else(failed)
            })
            .collect()
    });
    let mut sessions = Vec::new();
    for part in parts {
        let (some, found) = part.map_err(|e| opener.storage(e))?;
        sessions.extend(some);
        loaded.counts.add(&found.counts);
        loaded.unreadable.add(found.unreadable);
    }
    // A row that does not open was counted; one that is missing shows here.
    let transaction = database.begin_read().map_err(|e| opener.storage(e))?;
    let table = transaction.open_table(rows::SESSIONS);
    let rows = table.map_err(|e| opener.storage(e))?.len();
    let rows = rows.map_err(|e| opener.storage(e))?;
    if rows != (sessions.len() + loaded.unreadable.count) as u64 {
        return Err(opener.damaged("rows are missing"));
    }
    tables.index.fill(sessions);
    Ok(())
}

fn load_range(
    database: &Database,
    tables: &Tables,
    start: Option<&u8>,
    end: Option<&u8>,
) -> Result<Part, redb::Error> {
    let (start, end) = (
        start.map(std::slice::from_ref),
        end.map(std::slice::from_ref),
    );
    let range = (
        start.map_or(Bound::Unbounded, Bound::Included),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    );
    let transaction = database.begin_read()?;
    let table = transaction.open_table(rows::SESSIONS)?;
    let seen_table = transaction.open_table(rows::SEEN)?;
    let mut seen = seen_table.range::<&[u8]>(range)?.peekable();
    let (mut sessions, mut found) = (Vec::new(), Loaded::default());
    for row in table.range::<&[u8]>(range)? {
        let (key, row) = row?;
        found.counts.count(rows::sealed_part(row.value()), 1);
        let session = match rows::read_session(&tables.keys, key.value(), row.value()) {
            Ok(session) => session,
            Err(error) => {
                found.unreadable.note(error);
                continue;
            }
        };
        // Both tables have the same order: one pass through them side by side.
        while let Some(Ok((seen_key, seen_row))) = seen.next_if(|next| {
            next.as_ref()
                .is_ok_and(|(seen_key, _)| seen_key.value() <= key.value())
        }) {
            found.counts.count(rows::sealed_part(seen_row.value()), 1);
            match rows::read_seen(&tables.keys, seen_key.value(), seen_row.value()) {
                Ok(seconds) if seen_key.value() == key.value() => session.seen_at_seconds(seconds),
                Ok(_) => {}
                Err(error) => found.unreadable.note(error),
            }
        }
        let session = Arc::new(session);
        tables.index.fill_credentials(&session);
        sessions.push(session);
    }
    // Here, since all cores are at it.
    Index::sort(&mut sessions);
    Ok((sessions, found))
}

fn load_values(
    transaction: &ReadTransaction,
    tables: &Tables,
    loaded: &mut Loaded,
    now: Timestamp,
) -> Result<(), redb::Error> {
    for row in transaction.open_table(rows::ONE_TIME)?.iter()? {
        let (key, row) = row?;
        loaded.counts.count(rows::sealed_part(row.value()), 1);
        let value = rows::read_value(&tables.keys, Kind::OneTime, key.value(), row.value());
        match (value, <[u8; 32]>::try_from(key.value())) {
            (Ok(value), Ok(hash)) => {
                let key = Credential::from_hash(hash);
                let gone = tables
                    .one_time()
                    .put(key, value.value(), value.expires_at, now);
                tables.discard(gone);
            }
            (Ok(_), Err(_)) => loaded.unreadable.note(RowError::Misplaced),
            (Err(error), _) => loaded.unreadable.note(error),
        }
    }
    for row in transaction.open_table(rows::RECORDS)?.iter()? {
        let (key, row) = row?;
        loaded.counts.count(rows::sealed_part(row.value()), 1);
        let value = rows::read_value(&tables.keys, Kind::Record, key.value(), row.value());
        match (value, str::from_utf8(key.value())) {
            (Ok(value), Ok(key)) => {
                let record = StoredRecord {
                    version: value.version,
                    value: bytes::Bytes::copy_from_slice(value.value()),
                    expires_at: value.expires_at,
                };
                tables.records().set(key.to_owned(), Some(record));
            }
            (Ok(_), Err(_)) => loaded.unreadable.note(RowError::Misplaced),
            (Err(error), _) => loaded.unreadable.note(error),
        }
    }
    Ok(())
}

fn load_leases(transaction: &ReadTransaction, tables: &Tables) -> Result<(), redb::Error> {
    let mut writer = tables.index.writer();
    for row in transaction.open_table(rows::LEASES)?.iter()? {
        let (key, row) = row?;
        let id = key.value().last_chunk::<16>();
        let fence = row.value().first_chunk::<8>();
        let until = row.value().last_chunk::<8>();
        if let (Some(id), Some(fence), Some(until)) = (id, fence, until) {
            let lease = LeaseRecord {
                fence: Fence(u64::from_be_bytes(*fence)),
                until: Timestamp::from_unix_millis(i64::from_be_bytes(*until)),
            };
            writer.set_lease(SessionId::from_bytes(*id), Some(lease));
        }
    }
    let meta = transaction.open_table(rows::META)?;
    if let Some(last) = meta.get(rows::META_FENCE)? {
        writer.skip_fences(last.value());
    }
    if let Some(last) = meta.get(rows::META_VERSION)? {
        tables.records().skip_versions(last.value());
    }
    Ok(())
}

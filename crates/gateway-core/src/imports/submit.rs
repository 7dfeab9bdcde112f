//! Taking a file in.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;

use auth0_api::management::ImportUsers;
use bytes::Bytes;
use serde_json::Value;
use sessionkit::{RecordSwap, StoreError};
use tokio::runtime::Handle;

use super::file::{self, Fields, FileFault, Rows};
use super::job::{JobRecord, Part, PartState};
use super::schema::RowFault;
use super::{ErrorList, Imports, job_key, open_key, part_name, refused_name, write_line};
use crate::Error;
use crate::error::NoImportRoom;

/// Room for everything in Auth0's request that is not the file: boundaries, the other fields.
const OVERHEAD: usize = 2048;
/// Longest file that is sent in one job, in bytes.
const CAPACITY: usize = ImportUsers::MAX_BYTES - OVERHEAD;
/// Longest chunk of errors, in bytes.
const CHUNK: usize = 256 * 1024;
/// How much the errors of rows that are not sent may take whatever the file is like, in bytes; beyond that
/// twice the file.
const ERRORS: u64 = 4 * 1024 * 1024;
/// Addresses that are remembered while a file is read, to find one that comes twice.
const ADDRESSES: usize = 1 << 20;
/// Longest `external_id`, in bytes: it stands within the overhead.
pub(crate) const MAX_EXTERNAL_ID: usize = 512;

/// What goes with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name and id of the connection.
    pub connection: (String, String),
    /// Whether users that are there are changed.
    pub upsert: bool,
    /// Free text, given back with the job.
    pub external_id: Option<String>,
    /// Whether Auth0 mails all administrators when it is done.
    pub send_completion_email: bool,
}

/// A file, read and checked; its good rows are packed.
#[derive(Debug)]
pub struct Checked {
    imports: Arc<Imports>,
    id: String,
    rows: u64,
    refused: u64,
    refused_chunks: u32,
    parts: Vec<u64>,
    in_order: bool,
    fields: Fields,
    kept: bool,
}

/// The outcome of [`Imports::submit`]: Auth0's job object.
pub type Submitted = Value;

impl Imports {
    /// Reads a file and packs its good rows. `keep` false only checks.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the file is no JSON array of users, [`Error::Store`] when there is no
    /// room for it.
    pub async fn read(self: &Arc<Self>, file: File, keep: bool) -> Result<Checked, Error> {
        let id = job_id().map_err(|error| Error::Internal(Box::new(error)))?;
        let length = file.metadata().map_err(NoImportRoom::spooled)?;
        let room = length.len().saturating_mul(2).saturating_add(ERRORS);
        let mut packer = Packer {
            imports: Arc::clone(self),
            runtime: Handle::current(),
            id: id.clone(),
            keep,
            refused: 0,
            room: usize::try_from(room).unwrap_or(usize::MAX),
            unlisted: None,
            errors: Vec::new(),
            refused_chunks: 0,
            rows: Vec::new(),
            numbers: Vec::new(),
            parts: Vec::new(),
            hasher: RandomState::new(),
            addresses: HashSet::new(),
            repeats: false,
            fault: None,
        };
        // Parsing is work for a processor, and serde reads from where it blocks.
        let work = tokio::task::spawn_blocking(move || {
            let result = file::read(file, CAPACITY - 2, &mut packer);
            let result = result.and_then(|read| {
                packer.flush_part().map_err(FileFault::Disk)?;
                packer.tell_unlisted();
                packer.flush_errors().map_err(FileFault::Disk)?;
                Ok(read)
            });
            (packer, result)
        });
        let (mut packer, result) = work
            .await
            .map_err(|error| Error::Internal(Box::new(error)))?;
        let result = result.map_err(|fault| match (fault, packer.fault.take()) {
            (_, Some(error)) => Error::Store(error),
            (FileFault::Bad(why), _) => Error::BadRequest(why),
            (FileFault::Disk(error), _) => NoImportRoom::spooled(error).into(),
        });
        let mut checked = Checked {
            imports: Arc::clone(self),
            id,
            rows: 0,
            refused: packer.refused,
            refused_chunks: packer.refused_chunks,
            parts: std::mem::take(&mut packer.parts),
            in_order: packer.repeats,
            fields: Fields::new(),
            kept: false,
        };
        // On a fault `checked` goes, and what was written with it.
        (checked.rows, checked.fields) = result?;
        Ok(checked)
    }

    /// Queues a file.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn submit(&self, mut file: Checked, options: Options) -> Result<Submitted, Error> {
        let now = self.clock.now();
        let (connection, connection_id) = options.connection;
        let job = JobRecord {
            id: file.id.clone(),
            created_at: now.unix_millis(),
            connection,
            connection_id,
            upsert: options.upsert,
            external_id: options.external_id,
            send_completion_email: options.send_completion_email,
            in_order: file.in_order,
            rows: file.rows,
            refused: file.refused,
            refused_chunks: file.refused_chunks,
            parts: file
                .parts
                .iter()
                .map(|rows| Part {
                    rows: *rows,
                    state: PartState::Queued,
                })
                .collect(),
        };
        let value = serde_json::to_vec(&job).map_err(|error| Error::Internal(Box::new(error)))?;
        let expires_at = self.expires_at(&job);
        let key = job_key(&job.id);
        // The job first: an entry in the queue that leads nowhere is skipped, a job that is in no queue
        // would be lost.
        let created = self
            .records
            .create_record(&key, value.into(), expires_at, now)
            .await?;
        if created.is_none() {
            return Err(Error::Internal("a job of that id is there already".into()));
        }
        file.kept = true;
        if !job.is_settled() {
            let open = open_key(&job);
            let queued = self
                .records
                .create_record(&open, Bytes::from(job.id.clone()), expires_at, now)
                .await;
            if let Err(error) = queued {
                // The caller is told that nothing was taken: so it has to be.
                let _ = self.records.remove_record(&key, now).await;
                file.kept = false;
                return Err(error.into());
            }
            self.wake.notify_waiters();
        }
        Ok(job.to_json())
    }

    /// Changes a job, whoever else does so at the same time. `change` says whether there is anything to
    /// change. `None` when the job is gone, or there was nothing.
    pub(super) async fn change(
        &self,
        id: &str,
        mut change: impl FnMut(&mut JobRecord) -> bool + Send,
    ) -> Result<Option<JobRecord>, StoreError> {
        let Some((mut version, mut job)) = self.load(id).await? else {
            return Ok(None);
        };
        loop {
            if !change(&mut job) {
                return Ok(None);
            }
            let value = serde_json::to_vec(&job).map_err(|error| StoreError(Box::new(error)))?;
            let swapped = self
                .records
                .swap_record(
                    &job_key(id),
                    version,
                    value.into(),
                    self.expires_at(&job),
                    self.clock.now(),
                )
                .await?;
            match swapped {
                RecordSwap::Stored(_) => return Ok(Some(job)),
                RecordSwap::Absent => return Ok(None),
                RecordSwap::Conflict(stored) => {
                    version = stored.version;
                    job = serde_json::from_slice(&stored.value)
                        .map_err(|error| StoreError(Box::new(error)))?;
                }
            }
        }
    }
}

impl Checked {
    /// Rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What stood beside `users` in the file.
    #[must_use]
    pub fn fields(&self) -> &[(String, Value)] {
        &self.fields
    }

    /// The faults of its rows. They go with this value.
    #[must_use]
    pub fn errors(&self) -> ErrorList {
        let job = JobRecord {
            id: self.id.clone(),
            created_at: 0,
            connection: String::new(),
            connection_id: String::new(),
            upsert: false,
            external_id: None,
            send_completion_email: false,
            in_order: false,
            rows: self.rows,
            refused: self.refused,
            refused_chunks: self.refused_chunks,
            parts: Vec::new(),
        };
        ErrorList::of(Arc::clone(&self.imports), &job)
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // What is left behind when there is no runtime any more is swept at the next start.
        if let Ok(runtime) = Handle::try_current() {
            let (payloads, id) = (Arc::clone(&self.imports.payloads), self.id.clone());
            runtime.spawn(async move { payloads.remove_all(&id).await });
        }
    }
}

/// Packs rows into parts, and faults into chunks.
struct Packer {
    imports: Arc<Imports>,
    runtime: Handle,
    id: String,
    keep: bool,
    refused: u64,
    /// What is left for errors, in bytes.
    room: usize,
    /// The first bad row there was no room for, and how many.
    unlisted: Option<(u64, u64)>,
    errors: Vec<u8>,
    refused_chunks: u32,
    rows: Vec<u8>,
    numbers: Vec<u64>,
    parts: Vec<u64>,
    hasher: RandomState,
    /// Hashes of the addresses so far.
    addresses: HashSet<u64>,
    /// An address comes twice, or there were too many to tell: what became of it depends on the order.
    repeats: bool,
    fault: Option<StoreError>,
}

impl Packer {
    fn put(&mut self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let put = self.imports.payloads.put(&self.id, name, bytes.into());
        self.runtime.block_on(put).map_err(|error| {
            self.fault = Some(error);
            io::Error::other("the store")
        })
    }

    fn flush_part(&mut self) -> io::Result<()> {
        if self.numbers.is_empty() {
            return Ok(());
        }
        self.rows.push(b']');
        let payload = encode_part(&self.numbers, &self.rows)?;
        let name = part_name(self.parts.len());
        self.parts.push(self.numbers.len() as u64);
        self.numbers.clear();
        self.rows.clear();
        self.put(&name, payload)
    }

    /// Notes an address. Two that only share a hash cost some time, and nothing else.
    fn address(&mut self, row: &Value) {
        if self.repeats {
            return;
        }
        let email = row.get("email").and_then(Value::as_str).unwrap_or_default();
        let hash = self.hasher.hash_one(email.to_lowercase());
        if !self.addresses.insert(hash) || self.addresses.len() > ADDRESSES {
            self.repeats = true;
            self.addresses = HashSet::new();
        }
    }

    /// Says how many bad rows there was no room to name.
    fn tell_unlisted(&mut self) {
        if let Some((first, count)) = self.unlisted {
            let message =
                format!("{count} bad rows from this one on are not listed: mend the others first");
            let errors = serde_json::json!([{ "code": "TOO_MANY_ERRORS", "message": message }]);
            write_line(&mut self.errors, Some(first), &Value::Null, &errors);
        }
    }

    fn flush_errors(&mut self) -> io::Result<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let name = refused_name(self.refused_chunks);
        self.refused_chunks += 1;
        let errors = std::mem::take(&mut self.errors);
        self.put(&name, errors)
    }
}

impl Rows for Packer {
    fn good(&mut self, number: u64, row: &Value, json: &str) -> io::Result<()> {
        if !self.keep {
            return Ok(());
        }
        self.address(row);
        // A comma or bracket before, the bracket at the end.
        if self.rows.len() + json.len() + 2 > CAPACITY {
            self.flush_part()?;
        }
        self.rows
            .push(if self.rows.is_empty() { b'[' } else { b',' });
        self.rows.extend_from_slice(json.as_bytes());
        self.numbers.push(number);
        Ok(())
    }

    fn bad(&mut self, number: u64, row: &Value, faults: &[RowFault]) -> io::Result<()> {
        self.refused += 1;
        if let Some((_, count)) = &mut self.unlisted {
            *count += 1;
            return Ok(());
        }
        let faults = serde_json::to_value(faults)?;
        let before = self.errors.len();
        write_line(&mut self.errors, Some(number), row, &faults);
        let Some(room) = self.room.checked_sub(self.errors.len() - before) else {
            self.errors.truncate(before);
            self.unlisted = Some((number, 1));
            return Ok(());
        };
        self.room = room;
        if self.errors.len() > CHUNK {
            self.flush_errors()?;
        }
        Ok(())
    }
}

/// A part: a line with the numbers of its rows as runs of `[first, count]`, then Auth0's file.
fn encode_part(numbers: &[u64], rows: &[u8]) -> io::Result<Vec<u8>> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *number => *count += 1,
            _ => runs.push((*number, 1)),
        }
    }
    let mut payload = serde_json::to_vec(&runs)?;
    payload.push(b'\n');
    payload.extend_from_slice(rows);
    Ok(payload)
}

/// The numbers of a part's rows, and Auth0's file.
pub(super) fn decode_part(payload: &Bytes) -> Result<(Vec<u64>, Bytes), StoreError> {
    let bad = || StoreError("a part of an import cannot be read".into());
    let at = payload
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(bad)?;
    let runs: Vec<(u64, u64)> =
        serde_json::from_slice(payload.get(..at).unwrap_or_default()).map_err(|_| bad())?;
    let numbers = runs
        .into_iter()
        .flat_map(|(first, count)| first..first.saturating_add(count))
        .collect();
    Ok((numbers, payload.slice(at + 1..)))
}

/// An id like Auth0's own.
fn job_id() -> Result<String, getrandom::Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AZ";
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    let letters = bits
        .iter()
        .map(|bits| char::from(ALPHABET[usize::from(bits % 64)]));
    Ok(format!("job_{}", letters.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_part_gives_its_numbers_back(mut numbers in proptest::collection::vec(1_u64..10_000, 0..100), rows: Vec<u8>) {
            numbers.sort_unstable();
            numbers.dedup();
            let payload = Bytes::from(encode_part(&numbers, &rows).unwrap());
            let (read, file) = decode_part(&payload).unwrap();
            proptest::prop_assert_eq!(read, numbers);
            proptest::prop_assert_eq!(file.as_ref(), rows.as_slice());
        }
    }
}

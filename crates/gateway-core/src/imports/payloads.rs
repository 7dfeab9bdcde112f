//! What is too large for a record: the rows still to be sent, and the errors of those that failed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sessionkit::{Clock, RecordStore, RecordSwap, StoreError};
use tokio::fs;
use tokio::io::AsyncWriteExt as _;

use crate::error::NoImportRoom;

/// Keeps the payloads of imports, each up to some hundred kilobytes. Names are letters, digits, `_` and
/// `-`.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Payloads: Send + Sync + std::fmt::Debug {
    /// Stores one, in place of one of that name. Durable when it returns, where the engine is.
    async fn put(&self, job: &str, name: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Reads one.
    async fn get(&self, job: &str, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// Removes one; nothing happens when there is none.
    async fn remove(&self, job: &str, name: &str) -> Result<(), StoreError>;

    /// Removes all of a job.
    async fn remove_all(&self, job: &str) -> Result<(), StoreError>;

    /// The jobs that have any.
    async fn jobs(&self) -> Result<Vec<String>, StoreError>;
}

/// Payloads as files: a folder for each job. For one machine.
///
/// They hold personal data, so that folders are for their owner alone.
#[derive(Debug)]
pub struct FilePayloads {
    folder: PathBuf,
}

impl FilePayloads {
    /// Payloads below a folder, which is made when it is first needed or [checked](Self::check).
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Makes the folder, and a file in it that leaves nothing behind: one that cannot be used is better known
    /// of at the start than at the first import.
    ///
    /// # Errors
    /// As the file system says.
    pub async fn check(&self) -> std::io::Result<()> {
        make(&self.folder).await?;
        tempfile::tempfile_in(&self.folder).map(drop)
    }

    fn fault(&self, error: std::io::Error) -> StoreError {
        let room = NoImportRoom {
            place: self.folder.clone(),
            source: error,
        };
        StoreError(Box::new(room))
    }

    fn absent<T>(&self, result: std::io::Result<T>) -> Result<Option<T>, StoreError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault(error)),
        }
    }
}

/// Makes a folder for its owner alone.
async fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder).await
}

#[async_trait]
impl Payloads for FilePayloads {
    async fn put(&self, job: &str, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let work = async {
            let folder = self.folder.join(job);
            make(&folder).await?;
            // Whole or not at all, also when the process dies in between.
            let temporary = folder.join(format!("{name}.tmp"));
            let mut file = fs::File::create(&temporary).await?;
            file.write_all(&bytes).await?;
            file.sync_all().await?;
            fs::rename(&temporary, folder.join(name)).await?;
            sync(&folder).await
        };
        work.await.map_err(|error| self.fault(error))
    }

    async fn get(&self, job: &str, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.folder.join(job).join(name);
        self.absent(fs::read(path).await.map(Bytes::from))
    }

    async fn remove(&self, job: &str, name: &str) -> Result<(), StoreError> {
        let path = self.folder.join(job).join(name);
        self.absent(fs::remove_file(path).await).map(|_| ())
    }

    async fn remove_all(&self, job: &str) -> Result<(), StoreError> {
        self.absent(fs::remove_dir_all(self.folder.join(job)).await)
            .map(|_| ())
    }

    async fn jobs(&self) -> Result<Vec<String>, StoreError> {
        let Some(mut entries) = self.absent(fs::read_dir(&self.folder).await)? else {
            return Ok(Vec::new());
        };
        let mut jobs = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(|e| self.fault(e))? {
            if let Ok(name) = entry.file_name().into_string() {
                jobs.push(name);
            }
        }
        Ok(jobs)
    }
}

/// Payloads as records of the session store, for replicas that share one. They expire by themselves.
#[derive(Debug)]
pub struct RecordPayloads {
    records: Arc<dyn RecordStore>,
    clock: Arc<dyn Clock>,
    retention: Duration,
}

impl RecordPayloads {
    /// Payloads that are kept for `retention` after they were written.
    #[must_use]
    pub fn new(records: Arc<dyn RecordStore>, clock: Arc<dyn Clock>, retention: Duration) -> Self {
        Self {
            records,
            clock,
            retention,
        }
    }
}

fn record_key(job: &str, name: &str) -> String {
    format!("import/payload/{job}/{name}")
}

#[async_trait]
impl Payloads for RecordPayloads {
    async fn put(&self, job: &str, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let (key, now) = (record_key(job, name), self.clock.now());
        let until = now.after(self.retention);
        loop {
            let created = self
                .records
                .create_record(&key, bytes.clone(), until, now)
                .await?;
            if created.is_some() {
                return Ok(());
            }
            // A second try of the same work: the newer one counts.
            let Some(stored) = self.records.record(&key, now).await? else {
                continue;
            };
            let swapped = self
                .records
                .swap_record(&key, stored.version, bytes.clone(), until, now)
                .await?;
            if matches!(swapped, RecordSwap::Stored(_)) {
                return Ok(());
            }
        }
    }

    async fn get(&self, job: &str, name: &str) -> Result<Option<Bytes>, StoreError> {
        let stored = self
            .records
            .record(&record_key(job, name), self.clock.now())
            .await?;
        Ok(stored.map(|stored| stored.value))
    }

    async fn remove(&self, job: &str, name: &str) -> Result<(), StoreError> {
        self.records
            .remove_record(&record_key(job, name), self.clock.now())
            .await
            .map(drop)
    }

    async fn remove_all(&self, job: &str) -> Result<(), StoreError> {
        // A few at a time: each comes with its content.
        const PAGE: usize = 4;
        let (prefix, now) = (record_key(job, ""), self.clock.now());
        loop {
            let found = self.records.records(&prefix, None, PAGE, now).await?;
            for (key, _) in &found {
                self.records.remove_record(key, now).await?;
            }
            if found.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn jobs(&self) -> Result<Vec<String>, StoreError> {
        // Nothing is left behind that would not expire.
        Ok(Vec::new())
    }
}

/// Makes a rename durable.
async fn sync(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder).await?.sync_all().await
}

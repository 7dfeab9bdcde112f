//! Opening the file: made whole or not at all, locked, checked, compacted when it is mostly air.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::error::EmbeddedError;
use super::guard::Guarded;
use super::rows;
use crate::error::BoxError;
use crate::seal::key_file::{sync_folder, temporary_beside};

/// Memory for pages of the file. Reads are answered from memory of our own; this serves writing.
const PAGE_CACHE: usize = 64 * 1024 * 1024;
/// A file with less air in it than this is not compacted.
const AIR: u64 = 64 * 1024 * 1024;

type Disk = Box<dyn Fn(fs::File) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send>;

/// How the file is opened, again after trouble with the disk. Tests put a disk with faults here.
pub(super) struct Opener {
    pub(super) path: PathBuf,
    check_pages: bool,
    disk: Disk,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(path: &Path, check_pages: bool) -> Self {
        Self::with(path, check_pages, |file| {
            Ok(Box::new(FileBackend::new(file)?))
        })
    }

    pub(super) fn with(
        path: &Path,
        check_pages: bool,
        disk: impl Fn(fs::File) -> Result<Box<dyn StorageBackend>, DatabaseError> + Send + 'static,
    ) -> Self {
        Self {
            path: path.to_owned(),
            check_pages,
            disk: Box::new(disk),
        }
    }

    /// Opens the file, which must be there. Nothing is written to it before the guard releases it.
    pub(super) fn open(&self) -> Result<(Database, Guarded), EmbeddedError> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).open(&self.path);
        let file = file.map_err(|source| self.io(source))?;
        let length = file.metadata().map_err(|source| self.io(source))?.len();
        // To redb an empty file is a new one. To us it is one that lost its content.
        if length == 0 {
            return Err(self.damaged("it is empty"));
        }
        let disk = (self.disk)(file).map_err(|error| EmbeddedError::of(&self.path, error))?;
        let guarded = Guarded::new(disk);
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE);
        builder.set_check_integrity_on_open(self.check_pages);
        // redb may panic at what it does not expect in a file.
        let open = AssertUnwindSafe(|| builder.create_with_backend(guarded.clone()));
        let database = catch_unwind(open)
            .map_err(|_| self.damaged("reading it failed"))?
            .map_err(|error| EmbeddedError::of(&self.path, error))?;
        Ok((database, guarded))
    }

    pub(super) fn io(&self, source: io::Error) -> EmbeddedError {
        EmbeddedError::Io {
            path: self.path.clone(),
            source,
        }
    }

    pub(super) fn damaged(&self, why: &'static str) -> EmbeddedError {
        EmbeddedError::Damaged {
            path: self.path.clone(),
            source: why.into(),
        }
    }

    /// An error out of a transaction, which may be redb's or of the seal.
    pub(super) fn other(&self, error: BoxError) -> EmbeddedError {
        let io = match error.downcast::<redb::StorageError>() {
            Ok(storage) => return self.storage(*storage),
            Err(other) => io::Error::other(other),
        };
        self.io(io)
    }

    pub(super) fn storage(&self, error: impl Into<redb::Error>) -> EmbeddedError {
        EmbeddedError::storage(&self.path, error)
    }

    /// Opens the file at start-up; makes it when there is none.
    pub(super) fn open_or_create(&self) -> Result<(Database, Guarded), EmbeddedError> {
        let exists = fs::exists(&self.path).map_err(|source| self.io(source))?;
        if !exists {
            self.create()?;
        }
        let (database, guarded) = self.open()?;
        self.check_format(&database)?;
        Ok((database, guarded))
    }

    /// Makes an empty file under another name first: a crash leaves no half of one under this name. Of
    /// two processes one makes the file, and the lock decides who opens it.
    fn create(&self) -> Result<(), EmbeddedError> {
        let temporary = temporary_beside(&self.path).map_err(|source| self.io(source))?;
        let made = self.create_at(&temporary);
        let linked = made.and_then(|()| match fs::hard_link(&temporary, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked
                .and_then(|()| sync_folder(&self.path))
                .map_err(|source| self.io(source)),
        });
        drop(fs::remove_file(&temporary));
        linked
    }

    fn create_at(&self, path: &Path) -> Result<(), EmbeddedError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        options.open(path).map_err(|source| self.io(source))?;
        let database = Builder::new()
            .set_cache_size(PAGE_CACHE)
            .create(path)
            .map_err(|error| EmbeddedError::of(&self.path, error))?;
        let transaction = database.begin_write().map_err(|e| self.storage(e))?;
        for (table, _) in rows::SEALED {
            transaction.open_table(table).map_err(|e| self.storage(e))?;
        }
        transaction
            .open_table(rows::LEASES)
            .map_err(|e| self.storage(e))?;
        transaction
            .open_table(rows::META)
            .map_err(|e| self.storage(e))?
            .insert(rows::META_FORMAT, rows::FORMAT)
            .map_err(|e| self.storage(e))?;
        transaction.commit().map_err(|e| self.storage(e))
    }

    fn check_format(&self, database: &Database) -> Result<(), EmbeddedError> {
        use redb::ReadableDatabase as _;
        let transaction = database.begin_read().map_err(|e| self.storage(e))?;
        let meta = match transaction.open_table(rows::META) {
            Err(redb::TableError::TableDoesNotExist(_)) => {
                return Err(self.damaged("it is a database of something else"));
            }
            table => table.map_err(|e| self.storage(e))?,
        };
        let found = meta.get(rows::META_FORMAT).map_err(|e| self.storage(e))?;
        match found.map(|found| found.value()) {
            Some(rows::FORMAT) => Ok(()),
            found => Err(EmbeddedError::Format {
                path: self.path.clone(),
                found: found.unwrap_or_default(),
                expected: rows::FORMAT,
            }),
        }
    }

    /// Gives back what a file holds beyond twice its content.
    pub(super) fn compact(&self, database: &mut Database) -> Result<(), EmbeddedError> {
        let length = || fs::metadata(&self.path).map_or(0, |file| file.len());
        let before = length();
        if before < AIR {
            return Ok(());
        }
        let transaction = database.begin_write().map_err(|e| self.storage(e))?;
        let stats = transaction.stats().map_err(|e| self.storage(e))?;
        let used = stats.allocated_pages() * u64::try_from(stats.page_size()).unwrap_or(4096);
        transaction.abort().map_err(|e| self.storage(e))?;
        if before.saturating_sub(used) > AIR.max(used) {
            database.compact().map_err(|e| self.storage(e))?;
            tracing::info!(before, after = length(), "compacted the session file");
        }
        Ok(())
    }
}

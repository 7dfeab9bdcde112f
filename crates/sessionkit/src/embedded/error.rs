//! Why a file was not opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::BoxError;
use crate::seal::SealError;

/// Why the file of an embedded store could not be opened. It is left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// Another process has it open, or another store of this process.
    #[error(
        "the session file {path} is in use by another process; one process at a time can serve it"
    )]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("the session file {path} cannot be opened or written")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no session file, or it has been changed or cut off outside.
    #[error(
        "the session file {path} is damaged and was left as it is; put it back from a backup, or move \
         it away to begin with an empty one (everybody signs in again)"
    )]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BoxError,
    },
    /// It was written by another release.
    #[error("the session file {path} has format {found}, and this release reads format {expected}")]
    Format {
        /// Where.
        path: PathBuf,
        /// The file's format.
        found: u64,
        /// The format of this release.
        expected: u64,
    },
    /// What is in it does not open.
    #[error(
        "{count} values in the session file {path} do not open, the first one because: {reason}; add \
         the key they were sealed with to the encryption keys, put the file back from a backup, or move \
         it away to begin with an empty one (everybody signs in again)"
    )]
    Sealed {
        /// Where.
        path: PathBuf,
        /// How many values.
        count: usize,
        /// Why the first of them does not open.
        reason: String,
    },
    /// The thread that writes could not be started.
    #[error("the writer thread cannot be started")]
    Thread(#[source] io::Error),
}

/// Why one value does not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Record(#[from] crate::session::record::RecordError),
    #[error("it names another place than the one it is in")]
    Misplaced,
    #[error("it is too short")]
    Short,
}

impl EmbeddedError {
    pub(super) fn of(path: &Path, error: redb::DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen
            | redb::DatabaseError::LockProtocolMismatch => Self::InUse { path },
            redb::DatabaseError::Storage(redb::StorageError::Io(source))
                // redb says so of a file that is none of its own.
                if source.kind() != io::ErrorKind::InvalidData
                    && source.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::Io { path, source }
            }
            other => Self::Damaged {
                path,
                source: Box::new(other),
            },
        }
    }

    pub(super) fn storage(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::Io(source) => Self::Io { path, source },
            other => Self::Damaged {
                path,
                source: Box::new(other),
            },
        }
    }
}

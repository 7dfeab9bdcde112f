//! A key that the store makes for itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{EncryptionKeys, EncryptionKeysError};

/// Why there is no key file to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It could not be read or made.
    #[error("the key file {path} could not be read or made")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is no key.
    #[error(
        "the key file {path} is damaged; put it back from a backup, since nothing sealed with its key opens without it"
    )]
    Content {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        source: EncryptionKeysError,
    },
    /// The system has no randomness to give.
    #[error("no random bits to be had for a key")]
    Random,
}

impl EncryptionKeys {
    /// Reads the keys from a file; makes one with a random key, readable by this user only, when there
    /// is none. The file's text is that of [`Self::parse`].
    ///
    /// # Security
    /// A key beside the data protects copies of the data alone: a backup, a disk image of another
    /// volume, a support bundle. Whoever reads both files reads everything. Where that matters, give the
    /// key by a setting or mount it from a secret store. Without the file nothing opens: back it up,
    /// apart from the data.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        };
        match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(text) => return parse(path, &text),
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|_| KeyFileError::Random)?;
        let text = Zeroizing::new(STANDARD.encode(*key) + "\n");
        create(path, text.as_bytes()).map_err(failed)?;
        // Read back: of two processes that started at once, one made the file.
        parse(path, &read(path).map_err(failed)?)
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = fs::read_to_string(path).map(Zeroizing::new)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = fs::metadata(path)?.mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the key file can be read by other users");
        }
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<EncryptionKeys, KeyFileError> {
    EncryptionKeys::parse(text).map_err(|source| KeyFileError::Content {
        path: path.to_owned(),
        source,
    })
}

/// Makes the file whole or not at all, and never in the place of another.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let made = options.open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    drop(fs::remove_file(&temporary));
    made?;
    sync_folder(path)
}

/// A name for a file that becomes `path` once it is whole.
pub(crate) fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}.new", u64::from_be_bytes(bits)));
    Ok(PathBuf::from(name))
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

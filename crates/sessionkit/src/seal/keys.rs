//! The keys, and their setting.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Keys that durable stores seal with: the first seals, all open.
///
/// Cheap to clone. `Debug` shows ids, never a key; the keys' memory is wiped when the last clone goes.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), sessionkit::seal::EncryptionKeysError> {
/// // The second entry is an older key, kept until nothing is sealed with it any more.
/// let keys = sessionkit::EncryptionKeys::parse(
///     "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=,YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=",
/// )?;
/// assert_eq!(keys.ids().count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EncryptionKeys(Arc<[Key]>);

/// Names a key without telling it: four bytes of a hash of it, shown as eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 4]);

pub(super) struct Key {
    id: KeyId,
    aead: LessSafeKey,
}

/// What is wrong with the setting. Names the entry, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionKeysError {
    /// No entry at all.
    #[error("no encryption key given")]
    Empty,
    /// Not base64.
    #[error("encryption key {0} is not base64")]
    NotBase64(usize),
    /// Too short or too long.
    #[error("encryption key {entry} has {length} bytes, and 32 are needed")]
    Length {
        /// Which entry, from 1.
        entry: usize,
        /// How many bytes it stands for.
        length: usize,
    },
    /// The same key again.
    #[error("encryption key {0} is given twice")]
    Repeated(usize),
    /// The cryptographic library refused.
    #[error("encryption key {0} cannot be used")]
    Unusable(usize),
}

/// Both alphabets and missing padding are common in what people paste.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl EncryptionKeys {
    /// Reads the setting: keys of 32 bytes in base64, separated by commas or white space.
    ///
    /// # Errors
    /// [`EncryptionKeysError`], with the number of the entry that is wrong.
    pub fn parse(text: &str) -> Result<Self, EncryptionKeysError> {
        let entries = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty());
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        for (entry, number) in entries.zip(1..) {
            let bytes = STANDARD
                .decode(entry)
                .or_else(|_| URL_SAFE.decode(entry))
                .map(Zeroizing::new)
                .map_err(|_| EncryptionKeysError::NotBase64(number))?;
            let bytes: &[u8; 32] =
                bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| EncryptionKeysError::Length {
                        entry: number,
                        length: bytes.len(),
                    })?;
            let key = Key::new(bytes).ok_or(EncryptionKeysError::Unusable(number))?;
            if !seen.insert(key.id) {
                return Err(EncryptionKeysError::Repeated(number));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(EncryptionKeysError::Empty);
        }
        Ok(Self(keys.into()))
    }

    pub(super) fn one(key: Key) -> Self {
        Self(Arc::from([key]))
    }

    /// Names of the keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    pub(super) fn first(&self) -> &Key {
        // There is always one: `parse` sees to it.
        &self.0[0]
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The key that seals.
    pub(crate) fn newest(&self) -> KeyId {
        self.first().id
    }
}

impl Key {
    /// The id and the working key come from the given one by different hashes, so that the id, which is
    /// stored in the clear, says nothing about either.
    pub(super) fn new(bytes: &[u8; 32]) -> Option<Self> {
        let named = Zeroizing::new([b"sessionkit key id".as_slice(), bytes].concat());
        let id = digest(&SHA256, &named);
        let id = KeyId(*id.as_ref().first_chunk()?);
        let working = Salt::new(HKDF_SHA256, b"sessionkit seal 1").extract(bytes);
        let working = working
            .expand(&[b"AES-256-GCM-SIV"], &AES_256_GCM_SIV)
            .ok()?;
        let aead = LessSafeKey::new(UnboundKey::from(working));
        Some(Self { id, aead })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn aead(&self) -> &LessSafeKey {
        &self.aead
    }
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

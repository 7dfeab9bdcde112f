//! The texts of a session in one allocation.

use secrecy::{ExposeSecret, SecretSlice};

/// A field. `Data` comes first, since every check reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Data,
    Subject,
    Client,
    AccessToken,
    RefreshToken,
    IdToken,
    IdentityProviderSession,
    IpAddress,
    UserAgent,
}

const FIELDS: [Field; 9] = [
    Field::Data,
    Field::Subject,
    Field::Client,
    Field::AccessToken,
    Field::RefreshToken,
    Field::IdToken,
    Field::IdentityProviderSession,
    Field::IpAddress,
    Field::UserAgent,
];

/// Fields one after another, each behind its length (LEB128). Wiped when dropped; an empty field is an
/// absent one.
#[derive(Clone)]
pub(crate) struct Packed(SecretSlice<u8>);

impl Packed {
    /// Packs fields; those not named are empty.
    pub(crate) fn new(values: &[(Field, &[u8])]) -> Self {
        let value = |field| {
            values
                .iter()
                .find(|(name, _)| *name == field)
                .map_or(&[][..], |(_, v)| v)
        };
        let length = FIELDS
            .iter()
            .map(|field| value(*field).len())
            .map(|n| n + leb128_len(n))
            .sum();
        // Exactly as long as needed: a growing vector would leave copies of secrets behind.
        let mut bytes = Vec::with_capacity(length);
        for field in FIELDS {
            let value = value(field);
            push_leb128(&mut bytes, value.len());
            bytes.extend_from_slice(value);
        }
        Self(SecretSlice::from(bytes))
    }

    /// The same with some fields changed.
    pub(crate) fn with(&self, changes: &[(Field, &[u8])]) -> Self {
        let values = FIELDS.map(|field| {
            let changed = changes.iter().find(|(name, _)| *name == field);
            (
                field,
                changed.map_or_else(|| self.get(field), |(_, value)| value),
            )
        });
        Self::new(&values)
    }

    /// All of it, for a record.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// From a record. `None` when these are not exactly the fields, each text of UTF-8.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        for field in FIELDS {
            let (length, after) = read_leb128(rest)?;
            let (value, after) = after.split_at_checked(length)?;
            if !matches!(field, Field::Data | Field::IpAddress) {
                std::str::from_utf8(value).ok()?;
            }
            rest = after;
        }
        rest.is_empty()
            .then(|| Self(SecretSlice::from(bytes.to_vec())))
    }

    /// A field's bytes.
    pub(crate) fn get(&self, wanted: Field) -> &[u8] {
        let mut rest = self.0.expose_secret();
        for field in FIELDS {
            let Some((length, after)) = read_leb128(rest) else {
                break;
            };
            let Some((value, after)) = after.split_at_checked(length) else {
                break;
            };
            if field == wanted {
                return value;
            }
            rest = after;
        }
        &[]
    }

    /// A field that was put in as text.
    pub(crate) fn text(&self, field: Field) -> &str {
        std::str::from_utf8(self.get(field)).unwrap_or_default()
    }
}

fn leb128_len(mut value: usize) -> usize {
    let mut length = 1;
    while value >= 0x80 {
        value >>= 7;
        length += 1;
    }
    length
}

fn push_leb128(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_goes_in_comes_out(values: [Vec<u8>; 9], change: Vec<u8>, long in 0_usize..40_000) {
            let mut values = values;
            values[4] = vec![7; long];
            let pairs: Vec<(Field, &[u8])> = FIELDS.into_iter().zip(values.iter().map(Vec::as_slice)).collect();
            let packed = Packed::new(&pairs);
            for (field, value) in &pairs {
                proptest::prop_assert_eq!(packed.get(*field), *value);
            }
            let changed = packed.with(&[(Field::Client, &change)]);
            proptest::prop_assert_eq!(changed.get(Field::Client), change.as_slice());
            proptest::prop_assert_eq!(changed.get(Field::UserAgent), values[8].as_slice());
        }
    }
}

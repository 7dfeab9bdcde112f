//! The texts of a session in one allocation.

mod token;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use zeroize::Zeroizing;

/// A field. What every check reads comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Data,
    RefreshToken,
    Subject,
    Client,
    AccessToken,
    IdToken,
    IdentityProviderSession,
    IpAddress,
    UserAgent,
}

const FIELDS: [Field; 9] = [
    Field::Data,
    Field::RefreshToken,
    Field::Subject,
    Field::Client,
    Field::AccessToken,
    Field::IdToken,
    Field::IdentityProviderSession,
    Field::IpAddress,
    Field::UserAgent,
];

impl Field {
    const fn is_token(self) -> bool {
        matches!(self, Self::AccessToken | Self::RefreshToken | Self::IdToken)
    }
}

/// Fields one after another, each behind its length (LEB128). The length of a token is doubled; the odd
/// ones are those of [`token`]s. Wiped when dropped; an empty field is an absent one.
#[derive(Clone)]
pub(crate) struct Packed(SecretSlice<u8>);

/// A field as it is kept.
enum Value<'a> {
    AsItIs(&'a [u8]),
    Token(Zeroizing<Vec<u8>>),
}

impl<'a> Value<'a> {
    fn new(field: Field, value: &'a [u8]) -> Self {
        let token = field.is_token().then(|| token::pack(value)).flatten();
        token.map_or(Self::AsItIs(value), Self::Token)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::AsItIs(bytes) => bytes,
            Self::Token(bytes) => bytes,
        }
    }

    /// What stands before it.
    fn prefix(&self, field: Field) -> usize {
        let length = self.bytes().len();
        match self {
            Self::Token(_) => length * 2 + 1,
            Self::AsItIs(_) if field.is_token() => length * 2,
            Self::AsItIs(_) => length,
        }
    }
}

impl Packed {
    /// Packs fields; those not named are empty.
    pub(crate) fn new(values: &[(Field, &[u8])]) -> Self {
        Self::assemble(
            &FIELDS.map(|field| Value::new(field, named(values, field).unwrap_or_default())),
        )
    }

    /// The same with some fields changed.
    pub(crate) fn with(&self, changes: &[(Field, &[u8])]) -> Self {
        Self::assemble(&FIELDS.map(|field| match named(changes, field) {
            Some(value) => Value::new(field, value),
            None => match self.field(field) {
                (bytes, true) => Value::Token(Zeroizing::new(bytes.to_vec())),
                (bytes, false) => Value::AsItIs(bytes),
            },
        }))
    }

    fn assemble(values: &[Value<'_>; FIELDS.len()]) -> Self {
        let fields = || FIELDS.into_iter().zip(values);
        let length = fields()
            .map(|(field, value)| leb128_len(value.prefix(field)) + value.bytes().len())
            .sum();
        // Exactly as long as needed: a growing vector would leave copies of secrets behind.
        let mut bytes = Vec::with_capacity(length);
        for (field, value) in fields() {
            push_leb128(&mut bytes, value.prefix(field));
            bytes.extend_from_slice(value.bytes());
        }
        Self(SecretSlice::from(bytes))
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
            let (value, is_token, after) = split(field, rest)?;
            if is_token {
                token::unpack(value)?;
            } else if !matches!(field, Field::Data | Field::IpAddress) {
                std::str::from_utf8(value).ok()?;
            }
            rest = after;
        }
        rest.is_empty()
            .then(|| Self(SecretSlice::from(bytes.to_vec())))
    }

    /// A field that is no token.
    pub(crate) fn get(&self, field: Field) -> &[u8] {
        debug_assert!(!field.is_token());
        self.field(field).0
    }

    /// A field that was put in as text, and is no token.
    pub(crate) fn text(&self, field: Field) -> &str {
        std::str::from_utf8(self.get(field)).unwrap_or_default()
    }

    /// Is there such a field?
    pub(crate) fn has(&self, field: Field) -> bool {
        !self.field(field).0.is_empty()
    }

    /// A token, where there is one.
    pub(crate) fn token(&self, field: Field) -> Option<SecretString> {
        match self.field(field) {
            ([], _) => None,
            (bytes, true) => token::unpack(bytes),
            (bytes, false) => std::str::from_utf8(bytes).ok().map(SecretString::from),
        }
    }

    /// A field as it is kept, and whether that is as a [`token`].
    fn field(&self, wanted: Field) -> (&[u8], bool) {
        let mut rest = self.0.expose_secret();
        for field in FIELDS {
            let Some((value, is_token, after)) = split(field, rest) else {
                break;
            };
            if field == wanted {
                return (value, is_token);
            }
            rest = after;
        }
        (&[], false)
    }
}

fn named<'a>(values: &[(Field, &'a [u8])], wanted: Field) -> Option<&'a [u8]> {
    values
        .iter()
        .find(|(field, _)| *field == wanted)
        .map(|(_, value)| *value)
}

/// The field that comes first, whether it is kept as a [`token`], and what comes after.
fn split(field: Field, bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (prefix, rest) = read_leb128(bytes)?;
    let (length, is_token) = match field.is_token() {
        true => (prefix / 2, prefix % 2 == 1),
        false => (prefix, false),
    };
    let (value, after) = rest.split_at_checked(length)?;
    Some((value, is_token, after))
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
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,80}",
            "[A-Za-z0-9_-]{0,200}(\\.[A-Za-z0-9_-]{0,200}){0,3}"
        ]
    }

    fn found(packed: &Packed, field: Field) -> String {
        match packed.token(field) {
            Some(token) if field.is_token() => token.expose_secret().to_owned(),
            _ if field.is_token() => String::new(),
            _ => packed.text(field).to_owned(),
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(mut values in proptest::collection::vec(text(), 9), change in text(), long in 0_usize..40_000) {
            values[4] = "7".repeat(long);
            let pairs: Vec<(Field, &[u8])> =
                FIELDS.into_iter().zip(values.iter().map(|value| value.as_bytes())).collect();
            let packed = Packed::new(&pairs);
            let read = Packed::from_bytes(packed.bytes());
            prop_assert!(read.is_some_and(|read| read.bytes() == packed.bytes()));
            for (field, value) in FIELDS.into_iter().zip(&values) {
                prop_assert_eq!(&found(&packed, field), value);
                prop_assert_eq!(packed.has(field), !value.is_empty());
            }
            for changed in FIELDS {
                let packed = packed.with(&[(changed, change.as_bytes())]);
                for (field, value) in FIELDS.into_iter().zip(&values) {
                    let value = if field == changed { &change } else { value };
                    prop_assert_eq!(&found(&packed, field), value);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(Packed::from_bytes(&bytes));
        }
    }
}

//! A token as the bytes that its text stands for: a JWT is base64url (RFC 7515, section 7.1), and so are
//! most opaque tokens, which takes four characters for three bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{leb128_len, push_leb128, read_leb128};

/// The segments of a token, each behind its length. `None` when the text is no base64url between dots, or
/// would not get shorter.
pub(super) fn pack(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let segments = || text.split(|byte| *byte == b'.');
    let decoded_len = |segment: &[u8]| segment.len() * 3 / 4;
    let length = segments()
        .map(decoded_len)
        .map(|length| leb128_len(length) + length)
        .sum();
    if length >= text.len() {
        return None;
    }
    let mut packed = Zeroizing::new(Vec::with_capacity(length));
    for segment in segments() {
        push_leb128(&mut packed, decoded_len(segment));
        let from = packed.len();
        packed.resize(from + decoded_len(segment), 0);
        // Strict: text that another text stands for too is refused.
        URL_SAFE_NO_PAD
            .decode_slice(segment, packed.get_mut(from..)?)
            .ok()?;
    }
    Some(packed)
}

/// The text again. `None` when [`pack`] makes no such bytes.
pub(super) fn unpack(packed: &[u8]) -> Option<SecretString> {
    let mut text = Zeroizing::new(String::with_capacity(packed.len().div_ceil(3) * 4));
    let mut rest = packed;
    loop {
        let (length, after) = read_leb128(rest)?;
        let (segment, after) = after.split_at_checked(length)?;
        URL_SAFE_NO_PAD.encode_string(segment, &mut text);
        if after.is_empty() {
            return Some(SecretString::from(text.as_str()));
        }
        text.push('.');
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    proptest! {
        #[test]
        fn a_token_comes_back_as_it_was(text in "[A-Za-z0-9_.=+/-]{0,300}|[A-Za-z0-9_-]{8,200}(\\.[A-Za-z0-9_-]{0,90}){0,4}") {
            if let Some(packed) = pack(text.as_bytes()) {
                prop_assert!(packed.len() < text.len());
                let back = unpack(&packed);
                prop_assert_eq!(back.as_ref().map(|back| back.expose_secret()), Some(text.as_str()));
            }
        }

        #[test]
        fn base64url_takes_three_quarters(segments in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 20..400), 1..5)) {
            let text = segments.iter().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).collect::<Vec<_>>().join(".");
            let packed = pack(text.as_bytes());
            let most = segments.iter().map(|bytes| bytes.len() + 2).sum();
            prop_assert!(packed.is_some_and(|packed| packed.len() <= most));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(unpack(&bytes));
        }
    }

    #[test]
    fn what_is_no_base64url_stays_text() {
        for text in [
            "",
            "a",
            "....",
            "no token at all",
            "Zm9vYmFyZm9vYmFyZm9vYmFyZg==",
            // The last character has bits that stand for nothing.
            "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZh",
        ] {
            assert_eq!(pack(text.as_bytes()), None, "{text}");
        }
    }
}

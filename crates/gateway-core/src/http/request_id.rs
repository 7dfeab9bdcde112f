//! Names requests.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// Makes request ids: random bits of this process and a count.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // An id is no secret and need not be unique for ever: without randomness zero serves.
        let process = getrandom::u64().unwrap_or_default();
        Self {
            process,
            count: AtomicU64::new(0),
        }
    }

    /// 32 hexadecimal digits.
    pub(super) fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let number = (u128::from(self.process) << 64) | u128::from(count);
        let mut text = [0; 32];
        for (at, digit) in text.iter_mut().enumerate() {
            let nibble = (number >> (124 - 4 * at)) & 0xf;
            *digit = *b"0123456789abcdef".get(nibble as usize).unwrap_or(&b'0');
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_from_random_bits() {
        let ids = RequestIds {
            process: 0xfeed,
            count: AtomicU64::new(10),
        };
        assert_eq!(ids.next(), "000000000000feed000000000000000a");
        assert_eq!(ids.next(), "000000000000feed000000000000000b");
    }
}

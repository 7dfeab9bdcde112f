//! Names requests.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

/// Makes request ids: random bits of this process and a count.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: [u8; 16],
    count: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // An id is no secret and need not be unique for ever: without randomness zero serves.
        Self::of(getrandom::u64().unwrap_or_default())
    }

    fn of(process: u64) -> Self {
        Self {
            process: hex(process),
            count: AtomicU64::new(0),
        }
    }

    /// 32 hexadecimal digits.
    pub(super) fn next(&self) -> HeaderValue {
        let mut text = [0; 32];
        let (process, count) = text.split_at_mut(16);
        process.copy_from_slice(&self.process);
        count.copy_from_slice(&hex(self.count.fetch_add(1, Ordering::Relaxed)));
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

fn hex(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (digits, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        for (digit, nibble) in digits.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_from_random_bits() {
        let ids = RequestIds {
            count: AtomicU64::new(10),
            ..RequestIds::of(0xfeed)
        };
        assert_eq!(ids.next(), "000000000000feed000000000000000a");
        assert_eq!(ids.next(), "000000000000feed000000000000000b");
    }
}

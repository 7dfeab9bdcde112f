//! For tests: a clock to move, mocks, and the [`conformance`] kit for whoever writes a store.

pub mod conformance;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub use crate::one_time::MockOneTimeStore;
pub use crate::record_store::MockRecordStore;
pub use crate::refresh::MockRefresher;
pub use crate::store::MockSessionStore;
use crate::{Clock, Timestamp};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl Default for TestClock {
    /// Starts at a round instant in 2026.
    fn default() -> Self {
        Self(AtomicI64::new(1_790_000_000_000))
    }
}

impl TestClock {
    /// Moves on.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

//! Sessions in the memory of one process.

/// Keeps sessions and one-time records in the memory of this process; all is lost with it.
#[derive(Debug, Default)]
pub struct MemoryStore {}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

//! Who waits for whom when the tenant limits the rate.

use tokio::time::Instant;

/// What a call is for. When the tenant's rate limit makes calls wait, those of an earlier lane go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody is signing in.
    Login,
    /// A session is being refreshed, or ended.
    Refresh,
    /// A person is at a back-office screen.
    Admin,
    /// A bulk import or export runs.
    Import,
}

impl Lane {
    /// All lanes, first to go first.
    pub const ALL: [Self; 4] = [Self::Login, Self::Refresh, Self::Admin, Self::Import];
}

/// How a call waits.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its lane.
    pub lane: Lane,
    /// When the answer is no longer of use. Nothing is begun that would have to wait longer.
    pub deadline: Instant,
}

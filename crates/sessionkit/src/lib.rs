#![doc = include_str!("../README.md")]

pub mod clock;
pub mod cookie;
pub mod credential;
pub mod error;
mod flights;
pub mod lifetime;
pub mod memory_store;
pub mod one_time;
mod one_time_table;
mod packed;
pub mod refresh;
pub mod session;
pub mod sessions;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use clock::{Clock, SystemClock, Timestamp};
pub use cookie::{CookieValue, SameSite, SessionCookie};
pub use credential::{Credential, Presented};
pub use error::{OpenError, RefreshError, StoreError};
pub use lifetime::Lifetimes;
pub use memory_store::MemoryStore;
pub use one_time::OneTimeStore;
pub use refresh::{RefreshFailure, Refreshed, Refresher};
pub use session::{Session, SessionId, SignIn, Tokens};
pub use sessions::{Replaced, Sessions, Verdict};
pub use store::{Created, Fence, Lease, Peek, SessionStore, Swap};

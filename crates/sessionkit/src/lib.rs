#![doc = include_str!("../README.md")]

pub mod clock;
pub mod cookie;
pub mod credential;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
mod flights;
mod index;
pub mod lifetime;
pub mod memory_store;
pub mod one_time;
mod one_time_table;
mod packed;
pub mod record_store;
mod record_table;
#[cfg(feature = "redis")]
pub mod redis;
pub mod refresh;
// Without a durable store keys are only read, so that a faulty setting is found.
#[cfg_attr(
    not(any(feature = "embedded", feature = "redis")),
    expect(dead_code, reason = "durable stores seal")
)]
pub mod seal;
pub mod session;
pub mod sessions;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use clock::{Clock, SystemClock, Timestamp};
pub use cookie::{CookieValue, SameSite, SessionCookie};
pub use credential::{Credential, Presented};
#[cfg(feature = "embedded")]
pub use embedded::{EmbeddedError, EmbeddedOptions, EmbeddedStore};
pub use error::{OpenError, RefreshError, StoreError};
pub use lifetime::Lifetimes;
pub use memory_store::MemoryStore;
pub use one_time::OneTimeStore;
pub use record_store::{RecordStore, RecordSwap, StoredRecord};
#[cfg(feature = "redis")]
pub use redis::{RedisMode, RedisSettings, RedisSettingsError, RedisStore, RedisTls};
pub use refresh::{RefreshFailure, Refreshed, Refresher};
pub use seal::EncryptionKeys;
pub use session::{Session, SessionId, SignIn, Tokens};
pub use sessions::{Replaced, Sessions, Verdict};
pub use store::{Created, Fence, Lease, Peek, SessionStore, Swap};

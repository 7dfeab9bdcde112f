//! Every engine does what the ports say, Redis on real servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod conformance;
mod model;
mod redis;
mod redis_server;

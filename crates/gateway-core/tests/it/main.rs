//! The gateway through its HTTP surface.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and has no public items"
)]

mod adoption;
mod config;
mod documentation;
mod host;
mod revoke;
mod sign_in;
mod stay;
mod threats;
mod world;

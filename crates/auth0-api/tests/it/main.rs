//! The adapters against a stub of Auth0 on loopback, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod calls;
mod failures;
mod limits;
mod stub;
mod tokens;

//! The tenant over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod access_tokens;
mod authorize;
mod backchannel;
mod connections;
mod control;
mod faults;
mod forged;
mod grants;
mod http;
mod jobs;
mod limits;
mod login_page;
mod logout;
mod mfa;
mod refresh;
mod sessions;
mod support;
mod userinfo;
mod users_read;
mod users_write;

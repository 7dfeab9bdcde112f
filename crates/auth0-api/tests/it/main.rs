//! The adapters against a stub of Auth0 on loopback, over real sockets.

mod calls;
mod failures;
mod limits;
mod stub;
mod tokens;

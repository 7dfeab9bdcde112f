//! The tenant over real sockets.

mod authorize;
mod support;

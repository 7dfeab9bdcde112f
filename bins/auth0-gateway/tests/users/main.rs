//! The users' routes against the development tenant, over real sockets: the whole way of every call.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod documentation;
mod faults;
mod import;
mod suite;
mod world;

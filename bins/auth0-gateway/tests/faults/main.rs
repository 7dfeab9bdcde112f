//! The real binary under faults: killed, its Redis in trouble, its replicas racing. Needs `redis-server`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figures"
)]

mod ended;
mod gateway;
mod histories;
mod keys;
mod kill;
mod random;
mod redis;
mod relay;
mod replicas;
mod stop;
mod trouble;

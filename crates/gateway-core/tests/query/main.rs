//! The query dialect against an independent reading of it: every `q` is parsed back by the development
//! tenant's parser of Lucene's grammar, which shares no code with the renderer, and must have the tree
//! that was meant and select the people that a plain evaluation of the filter selects.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p gateway-core --test query` is the long run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod dialect;
mod model;
mod properties;

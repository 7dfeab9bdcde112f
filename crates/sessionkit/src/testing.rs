//! For tests: a clock to move, a failing store, and the conformance kit.
pub mod conformance {}

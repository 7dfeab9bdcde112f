//! The users' routes over an Auth0 that a test can bend: pages, walks, isolation, imports under faults.
//! The whole wire is proven against the development tenant elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod imports;
mod isolation;
mod slices;
mod tenant;

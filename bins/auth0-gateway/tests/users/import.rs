//! Bulk imports, the whole way.

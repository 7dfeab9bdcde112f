//! The people of the tenant: one person, the directory of all, the index that searches
//! read.

mod directory;
mod index;
mod person;

pub(crate) use self::directory::{Directory, Taken, canonical};
pub(crate) use self::person::{Identity, User};

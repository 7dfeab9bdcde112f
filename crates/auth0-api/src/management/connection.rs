//! Connections: pools of users.

use serde::Deserialize;

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Connection {
    /// Its id, for example `con_AbCdEfGh12345678`: what jobs want.
    pub id: String,
    /// Its name: what users and sign-ins want.
    pub name: String,
    /// Its kind; `auth0` is a database.
    pub strategy: String,
}

/// Which connections to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListConnections {
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those of this kind.
    pub strategy: Option<String>,
}

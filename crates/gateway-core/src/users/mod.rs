//! The tenant's users: list, count, export, create, change, delete.

mod change;
mod export;
mod import;
mod list;
mod one;

pub use self::export::Export;
pub use self::list::Explanation;
pub use self::one::Ticket;

use std::sync::Arc;

use auth0_api::ManagementApi;
use auth0_api::management::{Call, Lane};
use tokio::time::Instant;

use crate::config::ManagementConnections;
use crate::query::Scope;
use crate::{Error, Gateway};

/// Calls that a person at a screen waits for.
fn admin(deadline: Instant) -> Call {
    Call {
        lane: Lane::Admin,
        deadline,
    }
}

impl Gateway {
    /// The Management API.
    ///
    /// # Errors
    /// [`Error::NotConfigured`] without `managementClient`.
    pub(crate) fn management(&self) -> Result<&Arc<dyn ManagementApi>, Error> {
        self.management
            .as_ref()
            .ok_or(Error::NotConfigured("managementClient"))
    }

    /// The connections whose users may be seen and touched.
    pub(crate) fn scope(&self) -> Scope {
        let connections = self.clients.management.as_ref().map(|m| &m.connections);
        match connections {
            None | Some(ManagementConnections::All) => Scope::Everything,
            Some(ManagementConnections::Map { ids, .. }) => {
                Scope::Connections(ids.keys().cloned().collect())
            }
            Some(ManagementConnections::Names { supported, .. }) if supported.is_empty() => {
                Scope::Everything
            }
            Some(ManagementConnections::Names { supported, .. }) => {
                Scope::Connections(supported.clone())
            }
        }
    }

    /// Is a user looked up before it is touched?
    fn enforces_connections(&self) -> bool {
        let management = self.clients.management.as_ref();
        management.is_some_and(|m| m.enforce_connections) && self.scope() != Scope::Everything
    }
}

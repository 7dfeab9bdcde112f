//! Where an import goes.

use std::sync::Arc;

use auth0_api::management::ListConnections;
use tokio::time::Instant;

use super::admin;
use crate::config::ManagementConnections;
use crate::imports::Imports;
use crate::{Error, Gateway};

impl Gateway {
    /// Bulk imports.
    ///
    /// # Errors
    /// [`Error::NotConfigured`] without `managementClient`.
    pub(crate) fn imports(&self) -> Result<&Arc<Imports>, Error> {
        self.imports
            .as_ref()
            .ok_or(Error::NotConfigured("managementClient"))
    }

    /// Is there a configuration for imports?
    ///
    /// # Errors
    /// [`Error::BadRequest`] with the deprecated settings, which hold no connection ids.
    pub(crate) fn may_import(&self) -> Result<(), Error> {
        self.management()?;
        match self.clients.management.as_ref().map(|m| &m.connections) {
            Some(ManagementConnections::Names { .. }) => Err(Error::BadRequest(
                "imports need managementClient.supportedConnectionsMap in config.json, in place of the \
                 deprecated supportedConnections"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Name and id of the connection that users are imported into.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when it is not supported, or none is named and there is no default.
    pub(crate) async fn import_connection(
        &self,
        requested: Option<&str>,
        deadline: Instant,
    ) -> Result<(String, String), Error> {
        self.may_import()?;
        let name = requested
            .map(str::to_owned)
            .or_else(|| self.default_connection());
        let name = name.ok_or_else(|| {
            Error::BadRequest(
                "connection is required: name one, or set \
                 managementClient.defaultManagementConnectionName"
                    .to_owned(),
            )
        })?;
        let unsupported = || {
            Error::BadRequest(
                "connection is not supported: name a key of managementClient.supportedConnectionsMap"
                    .to_owned(),
            )
        };
        if let Some(ManagementConnections::Map { ids, .. }) =
            self.clients.management.as_ref().map(|m| &m.connections)
        {
            let id = ids.get(&name).cloned().ok_or_else(unsupported)?;
            return Ok((name, id));
        }
        let request = ListConnections {
            name: Some(name.clone()),
            strategy: None,
        };
        let found = self
            .management()?
            .connections(admin(deadline), &request)
            .await
            .map_err(Error::from_management)?;
        let found = found.into_iter().find(|connection| connection.name == name);
        found
            .map(|connection| (name, connection.id))
            .ok_or_else(|| Error::BadRequest("connection does not exist".to_owned()))
    }
}

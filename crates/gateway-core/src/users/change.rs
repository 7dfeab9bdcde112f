//! Creating, changing and deleting.

use auth0_api::management::{User, UserId};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::admin;
use crate::config::ManagementConnections;
use crate::query::Selection;
use crate::{Error, Gateway};

impl Gateway {
    /// Creates a user. `body` is Auth0's; its `connection` is filled in where it is missing.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a connection that is not supported, or none; [`Error::NotConfigured`],
    /// and what Auth0 answers.
    pub async fn create_user(
        &self,
        mut body: Map<String, Value>,
        deadline: Instant,
    ) -> Result<User, Error> {
        let management = self.management()?;
        let connection = match self.named_connection(&body)? {
            Some(name) => name.to_owned(),
            None => self.default_connection().ok_or_else(|| {
                Error::BadRequest(
                    "connection is required: name one, or set \
                     managementClient.defaultManagementConnectionName"
                        .to_owned(),
                )
            })?,
        };
        body.insert("connection".to_owned(), connection.into());
        management
            .create_user(admin(deadline), &body)
            .await
            .map_err(Error::from_management)
    }

    /// Changes a user. Blocking one ends its sessions.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a connection that is not supported, [`Error::UserNotFound`],
    /// [`Error::Store`] when the user is blocked but its sessions could not be ended (send it again),
    /// and what Auth0 answers.
    pub async fn update_user(
        &self,
        id: &UserId,
        body: &Map<String, Value>,
        acl: &Selection,
        deadline: Instant,
    ) -> Result<User, Error> {
        let management = self.management()?;
        self.named_connection(body)?;
        self.look_up(id, acl, deadline).await?;
        let user = management
            .update_user(admin(deadline), id, body)
            .await
            .map_err(Error::from_management)?;
        if body.get("blocked") == Some(&Value::Bool(true)) {
            self.end_sessions_of(id.as_str()).await?;
        }
        Ok(user)
    }

    /// Deletes a user and ends its sessions.
    ///
    /// # Errors
    /// [`Error::UserNotFound`] where the user is looked up first; [`Error::Store`] when it is deleted but
    /// its sessions could not be ended (send it again); and what Auth0 answers.
    pub async fn delete_user(
        &self,
        id: &UserId,
        acl: &Selection,
        deadline: Instant,
    ) -> Result<(), Error> {
        let management = self.management()?;
        match self.look_up(id, acl, deadline).await {
            Ok(_) => {}
            Err(Error::UserNotFound) => {
                // A first try may have deleted the user and failed to end the sessions. Somebody
                // else's user is still there, and keeps them.
                let gone = management.user(admin(deadline), id).await;
                if matches!(gone, Ok(None)) {
                    self.end_sessions_of(id.as_str()).await?;
                }
                return Err(Error::UserNotFound);
            }
            Err(error) => return Err(error),
        }
        management
            .delete_user(admin(deadline), id)
            .await
            .map_err(Error::from_management)?;
        self.end_sessions_of(id.as_str()).await?;
        Ok(())
    }

    /// The connection that a body names, if it may be used.
    fn named_connection<'a>(&self, body: &'a Map<String, Value>) -> Result<Option<&'a str>, Error> {
        match body.get("connection") {
            None => Ok(None),
            Some(Value::String(name)) if self.scope().allows(name) => Ok(Some(name)),
            Some(Value::String(_)) => Err(Error::BadRequest(
                "connection is not supported: name one of the managementClient's connections"
                    .to_owned(),
            )),
            Some(_) => Err(Error::BadRequest("connection must be a string".to_owned())),
        }
    }

    pub(crate) fn default_connection(&self) -> Option<String> {
        match &self.clients.management.as_ref()?.connections {
            ManagementConnections::All => None,
            ManagementConnections::Map { default, .. }
            | ManagementConnections::Names { default, .. } => default.clone(),
        }
    }
}

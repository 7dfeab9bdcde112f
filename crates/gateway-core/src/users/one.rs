//! One user by id.

use auth0_api::management::{PasswordChangeTicket, User, UserId};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::admin;
use crate::query::{Scope, Selection, matches};
use crate::{Error, Gateway};

/// A link by which a person sets a new password. A credential: no `Debug`.
pub struct Ticket(pub String);

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ticket").finish_non_exhaustive()
    }
}

impl Gateway {
    /// One user, if it is one of this gateway's connections and the ACL lets it through.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::NotConfigured`], and what Auth0 answers.
    pub async fn user(
        &self,
        id: &UserId,
        acl: &Selection,
        deadline: Instant,
    ) -> Result<User, Error> {
        let user = self.management()?.user(admin(deadline), id).await;
        let user = user
            .map_err(Error::from_management)?
            .ok_or(Error::UserNotFound)?;
        if self.may_touch(&user, acl)? {
            Ok(user)
        } else {
            Err(Error::UserNotFound)
        }
    }

    /// A link by which a person sets a new password.
    ///
    /// # Errors
    /// As [`Self::user`].
    pub async fn password_change_ticket(
        &self,
        id: &UserId,
        acl: &Selection,
        result_url: Option<Url>,
        ttl_seconds: Option<u32>,
        deadline: Instant,
    ) -> Result<Ticket, Error> {
        self.look_up(id, acl, deadline).await?;
        let ticket = PasswordChangeTicket {
            result_url,
            ttl_seconds,
        };
        let management = self.management()?;
        management
            .password_change_ticket(admin(deadline), id, &ticket)
            .await
            .map(Ticket)
            .map_err(Error::from_management)
    }

    /// Fetches a user that is about to be touched, where that has to be decided by what it is.
    /// `Ok(false)` when nothing had to be.
    pub(super) async fn look_up(
        &self,
        id: &UserId,
        acl: &Selection,
        deadline: Instant,
    ) -> Result<bool, Error> {
        if !self.enforces_connections() && *acl == Selection::Everybody {
            return Ok(false);
        }
        self.user(id, acl, deadline).await.map(|_| true)
    }

    fn may_touch(&self, user: &User, acl: &Selection) -> Result<bool, Error> {
        if self.enforces_connections()
            && let scope @ Scope::Connections(_) = self.scope()
        {
            let connections = user.connections().map_err(Error::BadGateway)?;
            if !connections.iter().any(|name| scope.allows(name)) {
                return Ok(false);
            }
        }
        match acl {
            Selection::Everybody => Ok(true),
            Selection::Nobody => Ok(false),
            Selection::Users(query) => {
                let user: Value = serde_json::from_str(user.json())
                    .map_err(|error| Error::Internal(Box::new(error)))?;
                Ok(matches(query, &user))
            }
        }
    }
}

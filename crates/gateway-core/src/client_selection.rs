//! Which client a request is for.

use std::sync::Arc;

use sessionkit::Credential;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::Error;
use crate::config::{Client, Clients};

impl Clients {
    /// The client that the headers name: `client-type`, or `secret` where `apiKeys` are configured.
    /// `None` when they name none.
    ///
    /// # Errors
    /// [`Error::UnknownClient`] for an unknown name; [`Error::UnknownSecret`] for an unknown secret,
    /// or one that stands for another client than `client_type` names.
    pub fn named(
        &self,
        client_type: Option<&str>,
        secret: Option<&[u8]>,
    ) -> Result<Option<&Arc<Client>>, Error> {
        let by_name = match client_type {
            Some(name) => Some(self.by_name.get(name).ok_or(Error::UnknownClient)?),
            None => None,
        };
        // Without keys of our own, an API gateway in front has consumed the header.
        let Some(secret) = secret.filter(|_| !self.api_keys.is_empty()) else {
            return Ok(by_name);
        };
        let by_secret = self.by_secret(secret).ok_or(Error::UnknownSecret)?;
        match by_name {
            Some(client) if client.name != by_secret.name => Err(Error::UnknownSecret),
            _ => Ok(Some(by_secret)),
        }
    }

    /// The client that the headers name, or the default one.
    ///
    /// # Errors
    /// As [`Self::named`], and [`Error::UnknownClient`] when there is no default.
    pub fn select(
        &self,
        client_type: Option<&str>,
        secret: Option<&[u8]>,
    ) -> Result<&Arc<Client>, Error> {
        self.named(client_type, secret)?
            .or(self.default_client.as_ref())
            .ok_or(Error::UnknownClient)
    }

    /// Looks at every key, so that the time does not tell which one matched.
    fn by_secret(&self, secret: &[u8]) -> Option<&Arc<Client>> {
        let hash = *Credential::of(secret).hash();
        let mut found = Choice::from(0);
        let mut index = 0_u64;
        for (at, key) in (0_u64..).zip(&self.api_keys) {
            let same = key.sha256.ct_eq(&hash);
            index.conditional_assign(&at, same);
            found |= same;
        }
        if !bool::from(found) {
            return None;
        }
        self.api_keys
            .get(usize::try_from(index).ok()?)
            .map(|key| &key.client)
    }
}

//! The state of a browser sign-in between `/authorize` and the code's exchange.
//!
//! It lives in the session store, so that any replica can finish what another began, for ten minutes,
//! and can be taken once.

use std::sync::Arc;
use std::time::Duration;

use auth0_api::{CodeVerifier, random_urlsafe};
use bytes::Bytes;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use sessionkit::{Credential, OneTimeStore, Timestamp};

use crate::Error;

/// How long a sign-in may take.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// What is remembered of a sign-in under way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LoginState {
    /// Name of the client it is for.
    pub(crate) client: String,
    /// The nonce the ID token must hold.
    pub(crate) nonce: String,
    /// The PKCE verifier.
    verifier: String,
    /// Where the browser goes afterwards.
    pub(crate) redirect: Option<String>,
    /// Hex SHA-256 of the binding cookie's value, when the browser must bring it back.
    binding: Option<String>,
    /// The `max_age` asked for, in seconds.
    pub(crate) max_age: Option<u64>,
    /// The `organization` asked for.
    pub(crate) organization: Option<String>,
}

impl LoginState {
    /// A state with a fresh nonce and verifier.
    pub(crate) fn new(client: &str) -> Result<Self, Error> {
        let random = || random_urlsafe().map_err(|error| Error::Internal(Box::new(error)));
        Ok(Self {
            client: client.to_owned(),
            nonce: random()?,
            verifier: random()?,
            redirect: None,
            binding: None,
            max_age: None,
            organization: None,
        })
    }

    /// The PKCE verifier.
    pub(crate) fn verifier(&self) -> CodeVerifier {
        CodeVerifier::new(self.verifier.clone())
    }

    /// Only a browser with this cookie value may finish the sign-in.
    pub(crate) fn bind(&mut self, cookie: &str) {
        self.binding = Some(binding_hash(cookie));
    }

    /// Must it be finished by the browser that began?
    pub(crate) fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// Is this the browser that began? Always, when the state is not bound.
    pub(crate) fn is_bound_to(&self, cookie: Option<&str>) -> bool {
        use subtle::ConstantTimeEq;
        match (&self.binding, cookie) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(hash), Some(cookie)) => hash
                .as_bytes()
                .ct_eq(binding_hash(cookie).as_bytes())
                .into(),
        }
    }

    /// Stores it, in place of one still pending under the same value.
    pub(crate) async fn store(
        &self,
        store: &Arc<dyn OneTimeStore>,
        state: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let record = serde_json::to_vec(self).map_err(|error| Error::Internal(Box::new(error)))?;
        store
            .put(key(state), Bytes::from(record), now.after(LIFETIME), now)
            .await?;
        Ok(())
    }

    /// Takes it out; of two at once one gets it.
    pub(crate) async fn take(
        store: &Arc<dyn OneTimeStore>,
        state: &str,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let record = store
            .take(key(state), now)
            .await?
            .ok_or(Error::UnknownState)?;
        let record = Zeroizing::new(record.to_vec());
        serde_json::from_slice(&record).map_err(|error| Error::Internal(Box::new(error)))
    }
}

/// States share the store with other one-time records: the key says what it is for.
fn key(state: &str) -> Credential {
    Credential::of(format!("login-state:{state}").as_bytes())
}

fn binding_hash(cookie: &str) -> String {
    Credential::of(cookie.as_bytes())
        .hash()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

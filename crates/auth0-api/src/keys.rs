//! Signing keys (JWKS, RFC 7517) and their cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::time::Instant;

use crate::error::BoxError;
use crate::{AuthenticationApi, Error, SigningAlgorithm, Tenant};

/// A tenant's signing keys: the RSA ones, which is all that Auth0 has.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<SigningKey>);

#[derive(Clone)]
struct SigningKey {
    kid: Option<String>,
    alg: Option<String>,
    key: DecodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a JWKS document. Keys of other types, for other uses or that make no sense are passed
    /// over.
    ///
    /// # Errors
    /// [`serde_json::Error`] when the document is no key set.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        let keys = document.keys.into_iter().filter_map(|jwk| {
            let signs = jwk.kty == "RSA" && jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
            let (n, e) = (jwk.n?, jwk.e?);
            let key = DecodingKey::from_rsa_components(&n, &e)
                .ok()
                .filter(|_| signs)?;
            Some(SigningKey {
                kid: jwk.kid,
                alg: jwk.alg,
                key,
            })
        });
        Ok(Self(keys.collect()))
    }

    /// The key that a token names. A token without `kid` fits a set of one key.
    pub(crate) fn find(
        &self,
        kid: Option<&str>,
        algorithm: SigningAlgorithm,
    ) -> Option<&DecodingKey> {
        let fits = |key: &&SigningKey| key.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .filter(|key| key.kid.as_deref() == Some(kid))
                .find(fits),
            (None, [only]) => Some(only).filter(fits),
            (None, _) => None,
        }
        .map(|key| &key.key)
    }
}

/// How long keys count as fresh. Auth0 advises 5 to 10 minutes.
const FRESH: Duration = Duration::from_secs(600);
/// Shortest time between two fetches that an unknown `kid` asks for: anybody can make one up.
const REFETCH: Duration = Duration::from_secs(30);

/// The keys of the tenants that were asked about.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    tenants: Mutex<HashMap<String, Arc<TenantKeys>>>,
}

#[derive(Debug, Default)]
struct TenantKeys {
    cached: Mutex<Cached>,
    /// Held while keys are fetched: one fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Cached {
    keys: Option<Arc<KeySet>>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl KeyCache {
    /// Keys of the tenant that hold the wanted one, if fetching helps; otherwise the ones there are.
    pub(crate) async fn get(
        &self,
        api: &dyn AuthenticationApi,
        tenant: &Tenant,
        has_wanted: impl Fn(&KeySet) -> bool + Send,
    ) -> Result<Arc<KeySet>, Error> {
        let entry = self.tenant(tenant);
        let asked_at = Instant::now();
        let before = entry.cached();
        let fresh = before.fetched_at.is_some_and(|at| at.elapsed() < FRESH);
        let wanted = before.keys.as_ref().filter(|keys| has_wanted(keys));
        let _fetching = match wanted {
            Some(keys) if fresh => return Ok(Arc::clone(keys)),
            // Old keys serve while somebody fetches new ones.
            Some(keys) => match entry.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(Arc::clone(keys)),
            },
            None => entry.fetching.lock().await,
        };
        let now = entry.cached();
        // Whoever held the lock meanwhile has tried for us, well or not.
        let tried_for_us = now.tried_at.is_some_and(|at| at >= asked_at);
        let too_soon = now.keys.is_some() && now.tried_at.is_some_and(|at| at.elapsed() < REFETCH);
        if tried_for_us || too_soon {
            return now.keys.ok_or_else(|| {
                Error::Transport(BoxError::from(
                    "the fetch of the signing keys under way failed",
                ))
            });
        }
        let fetched = api.key_set(tenant).await;
        let mut cached = entry.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.tried_at = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                let keys = Arc::new(keys);
                cached.keys = Some(Arc::clone(&keys));
                cached.fetched_at = cached.tried_at;
                Ok(keys)
            }
            Err(error) => match &cached.keys {
                Some(keys) => {
                    tracing::warn!(issuer = tenant.issuer(), %error, "signing keys were not renewed; the old ones serve");
                    Ok(Arc::clone(keys))
                }
                None => Err(error),
            },
        }
    }

    fn tenant(&self, tenant: &Tenant) -> Arc<TenantKeys> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.entry(tenant.issuer().to_owned()).or_default())
    }
}

impl TenantKeys {
    fn cached(&self) -> Cached {
        self.cached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::port::MockAuthenticationApi;

    /// A tenant that answers after a while, and how often it was asked.
    fn slow_api(answers: bool) -> (MockAuthenticationApi, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut api = MockAuthenticationApi::new();
        let count = Arc::clone(&asked);
        api.expect_key_set().returning(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            if answers {
                Ok(KeySet::default())
            } else {
                Err(Error::Timeout)
            }
        });
        (api, asked)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn made_up_key_ids_make_one_fetch_in_thirty_seconds() {
        let (api, asked) = slow_api(true);
        let (api, cache) = (Arc::new(api), Arc::new(KeyCache::default()));
        let tenant = Tenant::parse("acme.eu.auth0.com").unwrap();
        for _ in 0..2 {
            let calls: Vec<_> = (0..50)
                .map(|_| {
                    let (api, cache, tenant) =
                        (Arc::clone(&api), Arc::clone(&cache), tenant.clone());
                    tokio::spawn(async move { cache.get(&*api, &tenant, |_| false).await })
                })
                .collect();
            for call in calls {
                assert!(call.await.unwrap().is_ok());
            }
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn who_waits_for_a_fetch_that_fails_does_not_fetch_again() {
        let (api, asked) = slow_api(false);
        let (api, cache) = (Arc::new(api), Arc::new(KeyCache::default()));
        let tenant = Tenant::parse("acme.eu.auth0.com").unwrap();
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (api, cache, tenant) = (Arc::clone(&api), Arc::clone(&cache), tenant.clone());
                tokio::spawn(async move { cache.get(&*api, &tenant, |_| true).await })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap().is_err());
        }
        // Eight threads begin together; one that comes after the first fetch has ended may try anew.
        assert!(asked.load(Ordering::SeqCst) <= 2);
        // And nobody waits thirty seconds for a tenant whose keys were never seen.
        assert!(cache.get(&*api, &tenant, |_| true).await.is_err());
        assert!(asked.load(Ordering::SeqCst) >= 2);
    }

    #[test]
    fn passes_over_keys_that_do_not_sign() {
        let keys = KeySet::from_json(
            br##"{"keys":[
                {"kty":"RSA","use":"sig","kid":"a","alg":"RS256","n":"AQAB","e":"AQAB"},
                {"kty":"RSA","kid":"b","n":"AQAB","e":"AQAB"},
                {"kty":"RSA","use":"enc","kid":"c","n":"AQAB","e":"AQAB"},
                {"kty":"EC","use":"sig","kid":"d","crv":"P-256","x":"AQ","y":"AQ"},
                {"kty":"RSA","use":"sig","kid":"e","n":"#","e":"AQAB"},
                {"kty":"RSA","use":"sig","kid":"f"}
            ]}"##,
        )
        .unwrap();
        let found = |kid| keys.find(Some(kid), SigningAlgorithm::Rs256).is_some();
        assert_eq!(
            ["a", "b", "c", "d", "e", "f"].map(found),
            [true, true, false, false, false, false]
        );
        assert!(keys.find(Some("a"), SigningAlgorithm::Ps256).is_none());
        assert!(keys.find(Some("b"), SigningAlgorithm::Ps256).is_some());
        assert!(keys.find(None, SigningAlgorithm::Rs256).is_none());
        assert!(KeySet::from_json(b"[]").is_err());
    }
}

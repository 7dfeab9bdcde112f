//! The store that is configured.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auth0_api::Application;
use gateway_core::config::{Clients, ManagementConnections, RedisMode, Settings, StoreKind};
use gateway_core::imports::{FilePayloads, Payloads, RecordPayloads};
use sessionkit::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedStore};
use sessionkit::redis::{self, RedisSettingsError, RedisStore, RedisTls};
use sessionkit::seal::Reseal;
use sessionkit::{
    Clock, EncryptionKeys, MemoryStore, OneTimeStore, RecordStore, SessionStore, SystemClock,
};

use crate::metrics::{OlderKeys, Watched};
use crate::serve::{BoxError, with_causes};

/// Values that are sealed anew in one go.
const RESEAL_BATCH: usize = 100;
/// Pause between two goes, and after a round.
const RESEAL_PAUSE: Duration = Duration::from_millis(500);
const RESEAL_ROUND: Duration = Duration::from_secs(3600);
/// The same while older keys may still be in use. Longer than a sign-in may take: on Redis its records are
/// not sealed anew, and the keys are not to be called safe to drop before these have expired.
const RESEAL_AGAIN: Duration = Duration::from_secs(900);

/// One store behind all its ports.
pub(crate) struct Stores {
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) one_time: Arc<dyn OneTimeStore>,
    pub(crate) records: Arc<dyn RecordStore>,
    pub(crate) payloads: Arc<dyn Payloads>,
    pub(crate) reseal: Option<Resealing>,
    pub(crate) watched: Watched,
}

/// A store whose values are sealed anew when the first key has changed.
#[derive(Clone)]
pub(crate) struct Resealing {
    store: Arc<dyn Reseal>,
    /// Whether there are keys to drop at all.
    has_older_keys: bool,
    /// How long others may go on sealing with an older key, or what they have sealed go unseen.
    patience: Duration,
}

impl Resealing {
    fn new(store: Arc<dyn Reseal>, keys: &EncryptionKeys, patience: Duration) -> Self {
        Self {
            store,
            has_older_keys: keys.ids().count() > 1,
            patience,
        }
    }
}

impl Stores {
    fn of<S>(store: &Arc<S>, payloads: Arc<dyn Payloads>) -> Self
    where
        S: SessionStore + OneTimeStore + RecordStore + 'static,
    {
        Self {
            sessions: Arc::clone(store) as _,
            one_time: Arc::clone(store) as _,
            records: Arc::clone(store) as _,
            payloads,
            reseal: None,
            watched: Watched::Memory,
        }
    }
}

/// Opens the store. Never another one in the place of the one that is configured: sign-outs would be
/// lost.
pub(crate) async fn open(settings: &Settings, clients: &Clients) -> Result<Stores, BoxError> {
    let files = || files(settings, clients);
    match settings.session_store {
        StoreKind::Memory => Ok(Stores::of(&Arc::new(MemoryStore::new()), files().await?)),
        StoreKind::Embedded => {
            let path = settings.session_store_path.clone();
            let (keys, source) = match settings.encryption_keys.clone() {
                Some(keys) => (keys, "SESSION_ENCRYPTION_KEYS".to_owned()),
                None => {
                    let keys =
                        own_keys(&path).map_err(|error| about("SESSION_STORE_PATH", &*error))?;
                    (keys, format!("the key file {}", key_file(&path).display()))
                }
            };
            // Opening reads the whole file.
            let options = EmbeddedOptions::new(keys.clone());
            let open = move || EmbeddedStore::open(&path, options);
            let opened = tokio::task::spawn_blocking(open).await?;
            let store = Arc::new(opened.map_err(|error| match error {
                EmbeddedError::Sealed { .. } => about(&source, &error),
                _ => about("SESSION_STORE_PATH", &error),
            })?);
            Ok(Stores {
                reseal: Some(Resealing::new(
                    Arc::clone(&store) as _,
                    &keys,
                    Duration::ZERO,
                )),
                watched: Watched::Embedded(Arc::clone(&store)),
                ..Stores::of(&store, files().await?)
            })
        }
        StoreKind::Redis => {
            let keys = match settings.encryption_keys.clone() {
                Some(keys) => keys,
                None => {
                    tracing::warn!(
                        "SESSION_ENCRYPTION_KEYS is not set: sessions are sealed with a key made from the client \
                         secrets of config.json, and when one of these changes, another SESSION_SCOPE is needed \
                         too and everybody signs in again"
                    );
                    derived(clients)?
                }
            };
            let store = RedisStore::connect(redis_settings(settings, keys.clone())?).await;
            let store = Arc::new(store.map_err(|error| match error {
                RedisSettingsError::Tls(_) => {
                    about("REDIS_CA, REDIS_CLIENT_CERT, REDIS_CLIENT_KEY", &error)
                }
                _ => about("REDIS_HOSTS", &error),
            })?);
            if let Err(error) = store.check().await {
                let error = with_causes(&error);
                tracing::warn!(
                    error,
                    "redis cannot be reached yet: /-/ready says so until it can"
                );
            }
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let payloads =
                RecordPayloads::new(Arc::clone(&store) as _, clock, settings.import_results);
            Ok(Stores {
                reseal: Some(Resealing::new(Arc::clone(&store) as _, &keys, RESEAL_AGAIN)),
                watched: Watched::Redis(Arc::clone(&store)),
                ..Stores::of(&store, Arc::new(payloads))
            })
        }
    }
}

/// The rows of imports as files. A folder that cannot be used is told of now, where there can be imports.
async fn files(settings: &Settings, clients: &Clients) -> Result<Arc<dyn Payloads>, BoxError> {
    let folder = &settings.import_folder;
    let files = FilePayloads::new(folder);
    let management = clients.management.as_ref();
    if management.is_some_and(|m| !matches!(m.connections, ManagementConnections::Names { .. })) {
        files.check().await.map_err(|error| {
            format!(
                "IMPORT_FOLDER: the rows of imports cannot wait in {}: {error}: name a folder that this process \
                 may write",
                folder.display()
            )
        })?;
    }
    Ok(Arc::new(files))
}

/// An error of opening the store, under the name of what has to be mended.
fn about(setting: &str, error: &(dyn Error + 'static)) -> BoxError {
    format!("{setting}: {}", with_causes(error)).into()
}

/// The keys of the embedded store's own file.
fn own_keys(store: &Path) -> Result<EncryptionKeys, BoxError> {
    let file = key_file(store);
    // A new key opens nothing of what is there, and would look like the one that is lost.
    if fs::exists(store)? && !fs::exists(&file)? {
        return Err(format!(
            "the session file {} is there and its key file {} is not: put that back from a backup, or set \
             SESSION_ENCRYPTION_KEYS where these were in use, or move the session file away to begin with an \
             empty one (everybody signs in again)",
            store.display(),
            file.display()
        )
        .into());
    }
    Ok(EncryptionKeys::load_or_create(&file)?)
}

/// Beside the store's file.
fn key_file(store: &Path) -> std::path::PathBuf {
    store.with_extension("keys")
}

/// A key that all replicas of one configuration share, made from what only they know.
fn derived(clients: &Clients) -> Result<EncryptionKeys, BoxError> {
    let management = clients.management.as_ref().map(|m| &m.application);
    let applications = clients.by_name.values().map(|client| &client.application);
    let mut parts: Vec<(&str, &str)> = applications
        .chain(management)
        .map(
            |Application {
                 client_id,
                 client_secret,
                 ..
             }| { (client_id.as_str(), client_secret.expose()) },
        )
        .collect();
    parts.sort_unstable();
    parts.dedup();
    let parts: Vec<&str> = parts
        .into_iter()
        .flat_map(|(id, secret)| [id, secret])
        .collect();
    Ok(EncryptionKeys::derive("sessions of auth0-gateway", &parts)?)
}

fn redis_settings(
    settings: &Settings,
    keys: EncryptionKeys,
) -> Result<redis::RedisSettings, BoxError> {
    let given = settings
        .redis
        .as_ref()
        .ok_or("REDIS_HOSTS is missing for SESSION_STORE redis")?;
    let scope = settings.session_scope.as_deref().unwrap_or("auth0-gateway");
    Ok(redis::RedisSettings {
        mode: match &given.mode {
            RedisMode::Normal => redis::RedisMode::Standalone,
            RedisMode::Cluster => redis::RedisMode::Cluster,
            RedisMode::Sentinel { master_name } => redis::RedisMode::Sentinel {
                master_name: master_name.clone(),
            },
        },
        hosts: given.hosts.clone(),
        username: given.username.clone(),
        password: given.password.clone(),
        sentinel_username: given.sentinel_username.clone(),
        sentinel_password: given.sentinel_password.clone(),
        tls: given.tls.then(|| RedisTls {
            ca: given.ca.as_ref().map(|pem| pem.clone().into_bytes()),
            client: given
                .client_certificate
                .as_ref()
                .map(|(certificate, key)| (certificate.clone().into_bytes(), key.clone())),
        }),
        scope: scope.to_owned(),
        near_cache: settings.session_cache,
        near_cache_age: settings.session_cache_age,
        ..redis::RedisSettings::new("", 0, keys)
    })
}

/// Seals anew, for ever and slowly, what older keys have sealed, and says when these can go.
pub(crate) async fn reseal(resealing: Resealing, older_keys: OlderKeys) {
    let mut told = !resealing.has_older_keys;
    let since = tokio::time::Instant::now();
    loop {
        match resealing
            .store
            .reseal(RESEAL_BATCH, SystemClock.now())
            .await
        {
            Ok(progress) => {
                let patient = !resealing.has_older_keys || since.elapsed() >= resealing.patience;
                let left = progress.sealed_with_older_keys;
                let left = left.filter(|left| *left > 0 || patient);
                let known = left.and_then(|left| i64::try_from(left).ok());
                older_keys.store(known.unwrap_or(-1), Ordering::Relaxed);
                if left == Some(0) && !told {
                    told = true;
                    tracing::info!(
                        "nothing is sealed with an older key: all but the first of SESSION_ENCRYPTION_KEYS are safe to drop"
                    );
                }
                let pause = match (progress.round_done, left) {
                    (false, _) => RESEAL_PAUSE,
                    (true, Some(0)) => RESEAL_ROUND,
                    (true, _) => RESEAL_AGAIN,
                };
                tokio::time::sleep(pause).await;
            }
            Err(error) => {
                tracing::debug!(%error, "values were not sealed anew");
                tokio::time::sleep(RESEAL_ROUND / 60).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use sessionkit::seal::ResealProgress;
    use sessionkit::{StoreError, Timestamp};

    use super::*;

    /// Like Redis: the round with this number meets a value under an older key.
    #[derive(Debug, Default)]
    struct Rounds {
        met: usize,
        begun: Mutex<Vec<tokio::time::Instant>>,
    }

    #[async_trait]
    impl Reseal for Rounds {
        async fn reseal(&self, _: usize, _: Timestamp) -> Result<ResealProgress, StoreError> {
            let mut rounds = self.begun.lock().unwrap();
            rounds.push(tokio::time::Instant::now());
            let left = u64::from(rounds.len() == self.met);
            Ok(ResealProgress {
                resealed: 0,
                round_done: true,
                sealed_with_older_keys: Some(left),
            })
        }
    }

    /// The pauses between the rounds of three hours, and what the metric said after each.
    async fn pauses(met: usize) -> Vec<(Duration, i64)> {
        let begun = Mutex::default();
        let store = Arc::new(Rounds { met, begun });
        let resealing = Resealing {
            store: Arc::clone(&store) as _,
            has_older_keys: true,
            patience: RESEAL_AGAIN,
        };
        let left = OlderKeys::new((-1).into());
        let work = tokio::spawn(reseal(resealing, Arc::clone(&left)));
        let (mut said, end) = (Vec::new(), tokio::time::Instant::now() + 3 * RESEAL_ROUND);
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let rounds = store.begun.lock().unwrap().len();
            said.resize(rounds, left.load(Ordering::Relaxed));
        }
        work.abort();
        let rounds = store.begun.lock().unwrap();
        let pauses = rounds.windows(2).map(|two| two[1] - two[0]);
        pauses.zip(said).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn older_keys_are_in_use_until_what_others_sealed_has_expired() {
        // Sign-ins under way live for ten minutes, and their records are not sealed anew.
        let pauses = [pauses(0).await, pauses(1).await];
        for (pauses, first) in pauses.into_iter().zip([-1, 1]) {
            let (pause, said) = pauses[0];
            assert!((600..=1200).contains(&pause.as_secs()), "{pauses:?}");
            assert_eq!(said, first, "{pauses:?}");
            let (pause, said) = pauses[1];
            assert!(pause >= RESEAL_ROUND, "{pauses:?}");
            assert_eq!(said, 0, "{pauses:?}");
        }
    }
}

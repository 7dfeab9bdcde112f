//! Sealing anew with the newest key: by the registry of subjects, which a cluster has too.

use async_trait::async_trait;

use super::RedisStore;
use super::keys::RecordId;
use super::scripts;
use super::values;
use crate::seal::{Reseal, ResealProgress};
use crate::{RecordStore as _, SessionStore as _, StoreError, Timestamp};

/// Where a round stands, and what it has met so far.
#[derive(Debug, Default)]
pub(super) enum Cursor {
    #[default]
    Begin,
    Sessions(Option<(String, crate::SessionId)>, u64),
    Records(Option<String>, u64),
}

impl RedisStore {
    /// Seals one session anew. True when it was under an older key.
    async fn reseal_session(&self, record: &RecordId) -> Result<bool, StoreError> {
        let key = self.keys.session(record);
        // Somebody may write meanwhile, and then under the newest key.
        let Some(old) = self.get(&key).await? else {
            return Ok(false);
        };
        let new = values::sealed_anew(&self.seal, record, &old).map_err(|e| self.refused(e))?;
        self.exchange(&key, &old, new).await
    }

    /// The same for a named record, which keeps its version: nobody who is about to swap it is disturbed.
    async fn reseal_record(&self, name: &str) -> Result<bool, StoreError> {
        let key = self.keys.record(name);
        let Some(old) = self.get(&key).await? else {
            return Ok(false);
        };
        let new = values::record_sealed_anew(&self.seal, name, &old);
        self.exchange(&key, &old, new.map_err(|e| self.refused(e))?)
            .await
    }

    async fn exchange(
        &self,
        key: &[u8],
        old: &[u8],
        new: Option<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let Some(new) = new else {
            return Ok(false);
        };
        self.run(&scripts::EXCHANGE, &[key], &[old, &new]).await?;
        Ok(true)
    }
}

/// A round meets every session and named record once. A value that was under an older key counts against
/// the round in which it was met: the older keys are safe to drop after a round that met none, once the
/// one-time records of before have expired.
#[async_trait]
impl Reseal for RedisStore {
    async fn reseal(&self, limit: usize, now: Timestamp) -> Result<ResealProgress, StoreError> {
        let mut cursor = self.cursor.lock().await;
        let mut progress = ResealProgress::default();
        match std::mem::take(&mut *cursor) {
            Cursor::Begin => *cursor = Cursor::Sessions(None, 0),
            Cursor::Sessions(after, met) => {
                let page = self.list(after, limit, now).await?;
                for session in &page {
                    let record = RecordId::of(session.subject(), session.id());
                    progress.resealed += usize::from(self.reseal_session(&record).await?);
                }
                let met = met + progress.resealed as u64;
                *cursor = match page.last() {
                    Some(last) => {
                        Cursor::Sessions(Some((last.subject().to_owned(), last.id())), met)
                    }
                    None => Cursor::Records(None, met),
                };
            }
            Cursor::Records(after, met) => {
                let page = self.records("", after, limit, now).await?;
                let mut met = met;
                for (key, _) in &page {
                    let resealed = self.reseal_record(key).await?;
                    progress.resealed += usize::from(resealed);
                    met += u64::from(resealed);
                }
                match page.last() {
                    Some((last, _)) => *cursor = Cursor::Records(Some(last.clone()), met),
                    None => {
                        progress.round_done = true;
                        progress.sealed_with_older_keys = Some(met);
                    }
                }
            }
        }
        Ok(progress)
    }
}

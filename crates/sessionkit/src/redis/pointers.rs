//! From a credential to its session, across slots.
//!
//! A pointer is set before the session is stored (*claimed*) and marked after it (*confirmed*). Somebody
//! else's pointer stands as long as its session is live and opened by that credential, and a fresh one
//! that is not confirmed stands too: its session may be about to come. Every other pointer is left over
//! and may be replaced. Reading never trusts a pointer: the session itself says what opens it.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::keys::RecordId;
use super::scripts::{self, Script};
use super::trouble::Trouble;
use super::values::{self, Pointer, ValueError};
use crate::{Credential, Session, StoreError, Timestamp};

/// How long a claim that is not confirmed stands: longer than a command may be under way.
const CLAIM: Duration = Duration::from_secs(30);
/// How long keys are kept beyond their end: clocks differ.
pub(super) const SLACK: Duration = Duration::from_secs(60);

impl RedisStore {
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Vec<Value>, Trouble> {
        self.link.run(script, keys, arguments).await
    }

    /// The pointer's and the session's bytes.
    async fn find(
        &self,
        credential: &Credential,
    ) -> Result<Option<(Pointer, Option<Vec<u8>>)>, StoreError> {
        let key = self.keys.pointer(credential);
        let prefix = self.keys.prefix().as_bytes();
        // Together where one server has both; but older servers remember only keys that a script was
        // given by name, and the near cache must hear of changes to the session.
        let apart = self.link.is_cluster() || self.link.cache.is_wanted();
        let (pointer, mut value) = if apart {
            (bytes(self.run(&scripts::GET, &[&key], &[]).await?, 0), None)
        } else {
            let mut answer = self.run(&scripts::LOAD, &[&key], &[prefix]).await?;
            let value = answer.pop();
            (bytes(answer, 0), value.and_then(into_bytes))
        };
        let Some(pointer) = pointer else {
            return Ok(None);
        };
        let pointer = Pointer::read(&pointer, credential).map_err(|e| self.refused(e))?;
        if apart {
            value = self.get(&self.keys.session(&pointer.record)).await?;
        }
        Ok(Some((pointer, value)))
    }

    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(bytes(self.run(&scripts::GET, &[key], &[]).await?, 0))
    }

    pub(super) fn read(&self, record: &RecordId, value: &[u8]) -> Result<Arc<Session>, StoreError> {
        let session = values::read_session(&self.seal, record, value);
        session.map(Arc::new).map_err(|e| self.refused(e))
    }

    /// A value that is not what it should be.
    pub(super) fn refused(&self, error: ValueError) -> StoreError {
        if matches!(error, ValueError::Misplaced) {
            let trouble = self.link.mismatch();
            self.link.give_up_now();
            return trouble.into();
        }
        tracing::error!(%error, "a value in Redis was refused");
        StoreError(Box::new(error))
    }

    /// The live session that a credential opens, and where it is.
    pub(super) async fn opened(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Option<(RecordId, Arc<Session>)>, StoreError> {
        let Some((pointer, Some(value))) = self.find(credential).await? else {
            return Ok(None);
        };
        let session = self.read(&pointer.record, &value)?;
        let good = session.is_live(now) && session.is_opened_by(credential, now);
        Ok(good.then_some((pointer.record, session)))
    }

    /// Points a credential at a session that is about to be stored. False when it opens another.
    pub(super) async fn claim_pointer(
        &self,
        credential: &Credential,
        record: &RecordId,
        ttl: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = self.keys.pointer(credential);
        let (text, millis) = (record.text(), now.unix_millis().to_string());
        let mut replaced = Vec::new();
        // Each turn another's pointer has come in between; soon one of them is good.
        for _ in 0..4 {
            let arguments: [&[u8]; 5] = [
                text.as_bytes(),
                credential.hash(),
                millis.as_bytes(),
                ttl.as_bytes(),
                &replaced,
            ];
            let answer = self.run(&scripts::CLAIM, &[&key], &arguments).await?;
            if is(&answer, b"S") {
                return Ok(true);
            }
            let Some(found) = bytes(answer, 1) else {
                return Err(StoreError("an unexpected answer of Redis".into()));
            };
            let pointer = Pointer::read(&found, credential).map_err(|e| self.refused(e))?;
            let value = self.get(&self.keys.session(&pointer.record)).await?;
            let taken = match value {
                Some(value) => {
                    let other = self.read(&pointer.record, &value)?;
                    other.is_live(now) && other.is_opened_by(credential, now)
                }
                None => false,
            };
            let fresh = !pointer.confirmed && pointer.set_at.after(CLAIM) > now;
            if taken || fresh {
                return Ok(false);
            }
            replaced = found;
        }
        Ok(false)
    }

    /// True when the pointer is still to this session.
    pub(super) async fn confirm_pointer(
        &self,
        credential: &Credential,
        record: &RecordId,
        ttl: &str,
    ) -> Result<bool, StoreError> {
        let key = self.keys.pointer(credential);
        let text = record.text();
        let arguments: [&[u8]; 2] = [text.as_bytes(), ttl.as_bytes()];
        let answer = self.run(&scripts::CONFIRM, &[&key], &arguments).await?;
        Ok(int(&answer, 0) == Some(1))
    }

    /// After a write that was refused: the credential may open the stored session all the same, as that
    /// of the writer who won, or of the session that has the id.
    pub(super) async fn settle_pointer(
        &self,
        credential: &Credential,
        record: &RecordId,
        ttl: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let opened = match self.get(&self.keys.session(record)).await? {
            Some(value) => self.read(record, &value)?.is_opened_by(credential, now),
            None => false,
        };
        if opened {
            self.confirm_pointer(credential, record, ttl).await?;
        } else {
            self.release_pointer(credential, record).await;
        }
        Ok(())
    }

    /// Takes pointers to a session away that has ended or was not stored. What is left over does no harm.
    pub(super) async fn release_pointer(&self, credential: &Credential, record: &RecordId) {
        let key = self.keys.pointer(credential);
        let text = record.text();
        let released = self
            .run(&scripts::RELEASE, &[&key], &[text.as_bytes()])
            .await;
        if let Err(trouble) = released {
            tracing::debug!(why = trouble.text, "a pointer was left over");
        }
    }
}

/// Milliseconds from now to some time after an end, at least one.
pub(super) fn ttl(end: Timestamp, now: Timestamp) -> String {
    let left = end.after(SLACK).since(now).as_millis().max(1);
    // Redis refuses what its clock cannot hold.
    left.min(1 << 50).to_string()
}

pub(super) fn into_bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// The part of an answer at this place.
pub(super) fn bytes(answer: Vec<Value>, at: usize) -> Option<Vec<u8>> {
    answer.into_iter().nth(at).and_then(into_bytes)
}

pub(super) fn is(answer: &[Value], word: &[u8]) -> bool {
    matches!(answer.first(), Some(Value::BulkString(found)) if found == word)
}

pub(super) fn int(answer: &[Value], at: usize) -> Option<i64> {
    match answer.get(at) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn number(answer: &[Value], at: usize) -> Option<u64> {
    match answer.get(at) {
        Some(Value::BulkString(text)) => str::from_utf8(text).ok()?.parse().ok(),
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

//! One-time and named records.

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;

use super::RedisStore;
use super::pointers::{bytes, int, into_bytes, is, number, ttl};
use super::scripts;
use super::store::sealed;
use super::values::{self, ValueError};
use crate::seal::Kind;
use crate::{
    Credential, OneTimeStore, RecordStore, RecordSwap, StoreError, StoredRecord, Timestamp,
};

type Outcome<T> = Result<T, StoreError>;

impl RedisStore {
    fn one_time_value(
        &self,
        key: &Credential,
        value: &[u8],
        expires_at: Timestamp,
    ) -> Outcome<Vec<u8>> {
        let header = values::big_endian(expires_at);
        let place = (Kind::OneTime, key.hash().as_slice(), 0);
        sealed(values::small_value(
            &self.seal, place, &header, value, expires_at,
        ))
    }

    /// A named record: version 8, end 8, sealed content.
    fn read_record(&self, key: &str, value: &[u8]) -> Outcome<StoredRecord> {
        let read = || -> Result<StoredRecord, ValueError> {
            let (version, rest) = value.split_first_chunk::<8>().ok_or(ValueError::Format)?;
            let sealed = rest.get(8..).ok_or(ValueError::Format)?;
            let version = u64::from_be_bytes(*version);
            let place = (Kind::Record, key.as_bytes(), version);
            let (expires_at, value) = values::read_small(&self.seal, place, sealed)?;
            Ok(StoredRecord {
                version,
                value: Bytes::copy_from_slice(&value),
                expires_at,
            })
        };
        read().map_err(|error| self.refused(error))
    }

    async fn put_record(
        &self,
        key: &str,
        expected: Option<u64>,
        value: &[u8],
        (expires_at, now): (Timestamp, Timestamp),
    ) -> Outcome<RecordSwap> {
        let counter = self.keys.records_counter();
        let next = self.run(&scripts::NEXT, &[&counter], &[]).await?;
        let version =
            number(&next, 0).ok_or_else(|| StoreError("an unexpected answer of Redis".into()))?;
        let header = [version.to_be_bytes(), values::big_endian(expires_at)].concat();
        let place = (Kind::Record, key.as_bytes(), version);
        let value = sealed(values::small_value(
            &self.seal, place, &header, value, expires_at,
        ))?;
        let (name, index) = (self.keys.record(key), self.keys.records_index());
        let expected = expected
            .map(|version| version.to_string())
            .unwrap_or_default();
        let (life, millis) = (ttl(expires_at, now), now.unix_millis().to_string());
        let arguments: [&[u8]; 5] = [
            key.as_bytes(),
            &value,
            life.as_bytes(),
            millis.as_bytes(),
            expected.as_bytes(),
        ];
        let answer = self
            .run(&scripts::RECORD_PUT, &[&name, &index], &arguments)
            .await?;
        if is(&answer, b"S") {
            return Ok(RecordSwap::Stored(version));
        }
        match bytes(answer, 1) {
            Some(stored) => Ok(RecordSwap::Conflict(self.read_record(key, &stored)?)),
            None => Ok(RecordSwap::Absent),
        }
    }
}

#[async_trait]
impl OneTimeStore for RedisStore {
    async fn put(
        &self,
        key: Credential,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<()> {
        let name = self.keys.one_time(&key);
        let value = self.one_time_value(&key, &value, expires_at)?;
        let life = ttl(expires_at, now);
        self.run(&scripts::PUT, &[&name], &[&value, life.as_bytes()])
            .await?;
        Ok(())
    }

    async fn take(&self, key: Credential, now: Timestamp) -> Outcome<Option<Bytes>> {
        let name = self.keys.one_time(&key);
        let answer = self.run(&scripts::TAKE, &[&name], &[]).await?;
        let Some(found) = bytes(answer, 0) else {
            return Ok(None);
        };
        let place = (Kind::OneTime, key.hash().as_slice(), 0);
        let opened = values::read_small(&self.seal, place, found.get(8..).unwrap_or_default());
        let (expires_at, value) = opened.map_err(|error| self.refused(error))?;
        Ok((expires_at > now).then(|| Bytes::copy_from_slice(&value)))
    }

    async fn claim(&self, key: Credential, expires_at: Timestamp, now: Timestamp) -> Outcome<bool> {
        let name = self.keys.one_time(&key);
        let value = self.one_time_value(&key, &[], expires_at)?;
        let (life, millis) = (ttl(expires_at, now), now.unix_millis().to_string());
        let arguments: [&[u8]; 3] = [&value, life.as_bytes(), millis.as_bytes()];
        let answer = self.run(&scripts::CLAIM_ONCE, &[&name], &arguments).await?;
        Ok(int(&answer, 0) == Some(1))
    }
}

#[async_trait]
impl RecordStore for RedisStore {
    async fn create_record(
        &self,
        key: &str,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<Option<u64>> {
        match self
            .put_record(key, None, &value, (expires_at, now))
            .await?
        {
            RecordSwap::Stored(version) => Ok(Some(version)),
            RecordSwap::Conflict(_) | RecordSwap::Absent => Ok(None),
        }
    }

    async fn swap_record(
        &self,
        key: &str,
        expected: u64,
        value: Bytes,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Outcome<RecordSwap> {
        self.put_record(key, Some(expected), &value, (expires_at, now))
            .await
    }

    async fn record(&self, key: &str, now: Timestamp) -> Outcome<Option<StoredRecord>> {
        let Some(value) = self.get(&self.keys.record(key)).await? else {
            return Ok(None);
        };
        let record = self.read_record(key, &value)?;
        Ok(Some(record).filter(|record| record.expires_at > now))
    }

    async fn records(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Outcome<Vec<(String, StoredRecord)>> {
        let after = after.filter(|after| after.as_str() >= prefix);
        let from = after.map_or_else(
            || [b"[", prefix.as_bytes()].concat(),
            |after| [b"(", after.as_bytes()].concat(),
        );
        // No text has this byte: all that begins with the prefix comes before.
        let to = [b"[", prefix.as_bytes(), &[0xff]].concat();
        let (values, index) = (self.keys.records_prefix(), self.keys.records_index());
        let (limit, millis) = (limit.to_string(), now.unix_millis().to_string());
        let arguments: [&[u8]; 5] = [&values, &from, &to, limit.as_bytes(), millis.as_bytes()];
        let answer = self.run(&scripts::RECORDS, &[&index], &arguments).await?;
        let mut parts = answer.into_iter().filter_map(into_bytes);
        let mut records = Vec::new();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            let key = String::from_utf8(key)
                .map_err(|_| StoreError("an unexpected answer of Redis".into()))?;
            let record = self.read_record(&key, &value)?;
            records.push((key, record));
        }
        Ok(records)
    }

    async fn remove_record(&self, key: &str, now: Timestamp) -> Outcome<bool> {
        let (name, index) = (self.keys.record(key), self.keys.records_index());
        let millis = now.unix_millis().to_string();
        let arguments: [&[u8]; 2] = [key.as_bytes(), millis.as_bytes()];
        let answer: Vec<Value> = self
            .run(&scripts::RECORD_REMOVE, &[&name, &index], &arguments)
            .await?;
        Ok(int(&answer, 0) == Some(1))
    }
}

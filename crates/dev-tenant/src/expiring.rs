//! A map whose entries end by themselves.

use std::collections::HashMap;

use time::OffsetDateTime;

/// Values by a random text, each until its own instant.
#[derive(Debug)]
pub(crate) struct Expiring<T> {
    entries: HashMap<String, (T, OffsetDateTime)>,
    /// Ended entries are dropped when the map reaches this size.
    sweep_at: usize,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            sweep_at: 1024,
        }
    }
}

impl<T> Expiring<T> {
    pub(crate) fn insert(
        &mut self,
        key: String,
        value: T,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, (_, until)| *until > now);
            self.sweep_at = (self.entries.len() * 2).max(1024);
        }
        self.entries.insert(key, (value, until));
    }

    pub(crate) fn get(&self, key: &str, now: OffsetDateTime) -> Option<&T> {
        let (value, until) = self.entries.get(key)?;
        (*until > now).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, key: &str, now: OffsetDateTime) -> Option<&mut T> {
        let (value, until) = self.entries.get_mut(key)?;
        (*until > now).then_some(value)
    }

    /// Takes the value out; it can be had once.
    pub(crate) fn take(&mut self, key: &str, now: OffsetDateTime) -> Option<T> {
        let (value, until) = self.entries.remove(key)?;
        (until > now).then_some(value)
    }

    /// Whether the key was there and has ended.
    pub(crate) fn has_ended(&self, key: &str, now: OffsetDateTime) -> bool {
        self.entries
            .get(key)
            .is_some_and(|(_, until)| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_and_are_swept() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let end = start + time::Duration::seconds(1);
        let mut map = Expiring::default();
        for n in 0..1024 {
            map.insert(n.to_string(), n, end, start);
        }
        assert_eq!(map.get("7", start), Some(&7));
        assert_eq!(map.get("7", end), None);
        assert!(map.has_ended("7", end));
        map.insert("last".to_owned(), 0, end + time::Duration::seconds(1), end);
        assert_eq!(map.entries.len(), 1);
        assert_eq!(map.take("last", end), Some(0));
        assert_eq!(map.take("last", end), None);
    }
}

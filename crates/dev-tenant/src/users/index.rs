//! What searches read: a copy of the directory that may lag behind it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use crate::clock::later;
use crate::search::Matcher;

/// A change that has not got here yet: the object, or none for a person deleted.
#[derive(Debug)]
struct Change {
    visible_at: OffsetDateTime,
    user_id: String,
    user: Option<Arc<Value>>,
}

/// User objects by `user_id`, and the changes still on their way.
#[derive(Debug)]
pub(super) struct Index {
    lag: Duration,
    users: BTreeMap<String, Arc<Value>>,
    pending: VecDeque<Change>,
}

impl Index {
    pub(super) fn new(lag: Duration) -> Self {
        Self {
            lag,
            users: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn put(&mut self, user_id: &str, user: Option<Value>, now: OffsetDateTime) {
        let change = Change {
            visible_at: later(now, self.lag),
            user_id: user_id.to_owned(),
            user: user.map(Arc::new),
        };
        if self.lag.is_zero() {
            self.apply(change);
        } else {
            self.pending.push_back(change);
        }
        self.settle(now);
    }

    /// Applies everything, as if the lag were over: a tenant starts with its index up
    /// to date.
    pub(super) fn catch_up(&mut self) {
        while let Some(change) = self.pending.pop_front() {
            self.apply(change);
        }
    }

    fn settle(&mut self, now: OffsetDateTime) {
        while let Some(change) = self.pending.pop_front() {
            if change.visible_at > now {
                self.pending.push_front(change);
                return;
            }
            self.apply(change);
        }
    }

    fn apply(&mut self, change: Change) {
        match change.user {
            Some(user) => self.users.insert(change.user_id, user),
            None => self.users.remove(&change.user_id),
        };
    }

    /// Everybody who matches, by `user_id`; everybody without a query.
    pub(super) fn search(
        &mut self,
        query: Option<&Matcher>,
        now: OffsetDateTime,
    ) -> Vec<Arc<Value>> {
        self.settle(now);
        self.users
            .values()
            .filter(|user| query.is_none_or(|query| query.matches(user)))
            .map(Arc::clone)
            .collect()
    }
}

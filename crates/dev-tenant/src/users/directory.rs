//! Everybody, by what they are looked up with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use super::User;
use super::index::Index;
use crate::search::Matcher;

/// All people. Every change goes through here, so that the look-ups and the search
/// index follow.
#[derive(Debug)]
pub(crate) struct Directory {
    users: BTreeMap<String, User>,
    /// By connection and canonical identifier.
    logins: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// By e-mail address, to the letter.
    emails: HashMap<String, BTreeSet<String>>,
    index: Index,
}

/// Which identifier of a person somebody else in the connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    UserId,
    Email,
    Username,
    PhoneNumber,
}

impl Directory {
    pub(crate) fn new(search_lag: Duration) -> Self {
        Self {
            users: BTreeMap::new(),
            logins: HashMap::new(),
            emails: HashMap::new(),
            index: Index::new(search_lag),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn add(&mut self, user: User, now: OffsetDateTime) {
        self.forget(&user.user_id);
        self.note(&user);
        self.index.put(&user.user_id, Some(user.to_json()), now);
        self.users.insert(user.user_id.clone(), user);
    }

    pub(crate) fn get(&self, user_id: &str) -> Option<&User> {
        self.users.get(user_id)
    }

    /// Changes a person, whose `user_id` stays, and says what became of them.
    pub(crate) fn update<T>(
        &mut self,
        user_id: &str,
        now: OffsetDateTime,
        change: impl FnOnce(&mut User) -> T,
    ) -> Option<T> {
        self.forget(user_id);
        let user = self.users.get_mut(user_id)?;
        let result = change(user);
        user.updated_at = now;
        let user = user.clone();
        self.note(&user);
        self.index.put(user_id, Some(user.to_json()), now);
        Some(result)
    }

    pub(crate) fn remove(&mut self, user_id: &str, now: OffsetDateTime) -> Option<User> {
        self.forget(user_id);
        let user = self.users.remove(user_id)?;
        self.index.put(user_id, None, now);
        Some(user)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// Whoever signs in with this identifier (e-mail, username or phone number, whatever
    /// its case) in one of the connections. The first connection goes first.
    pub(crate) fn find<'a>(
        &'a self,
        identifier: &str,
        connections: &'a [String],
    ) -> impl Iterator<Item = &'a User> {
        let identifier = canonical(identifier);
        connections
            .iter()
            .filter_map(move |connection| self.logins.get(connection)?.get(&identifier))
            .flatten()
            .filter_map(|user_id| self.users.get(user_id))
    }

    /// Everybody with this e-mail address, to the letter.
    pub(crate) fn with_email<'a>(&'a self, email: &str) -> impl Iterator<Item = &'a User> {
        let ids = self.emails.get(email).into_iter().flatten();
        ids.filter_map(|user_id| self.users.get(user_id))
    }

    /// What of this person somebody else has already, `user_id` first.
    pub(crate) fn taken(&self, user: &User, is_new: bool) -> Option<Taken> {
        if is_new && self.users.contains_key(&user.user_id) {
            return Some(Taken::UserId);
        }
        let others = |identifier: &str| {
            self.logins
                .get(&user.connection)
                .and_then(|logins| logins.get(&canonical(identifier)))
                .is_some_and(|ids| ids.iter().any(|id| *id != user.user_id))
        };
        if others(&user.email) {
            Some(Taken::Email)
        } else if user.username.as_deref().is_some_and(others) {
            Some(Taken::Username)
        } else if user.phone_number.as_deref().is_some_and(others) {
            Some(Taken::PhoneNumber)
        } else {
            None
        }
    }

    /// Everybody whom the search index has and the query matches, by `user_id`.
    pub(crate) fn search(
        &mut self,
        query: Option<&Matcher>,
        now: OffsetDateTime,
    ) -> Vec<Arc<Value>> {
        self.index.search(query, now)
    }

    /// Brings the search index up to date at once.
    pub(crate) fn catch_up(&mut self) {
        self.index.catch_up();
    }

    fn note(&mut self, user: &User) {
        let logins = self.logins.entry(user.connection.clone()).or_default();
        for identifier in user.identifiers() {
            logins
                .entry(identifier)
                .or_default()
                .insert(user.user_id.clone());
        }
        let same = self.emails.entry(user.email.clone()).or_default();
        same.insert(user.user_id.clone());
    }

    /// Takes a person out of the look-ups, not out of the directory.
    fn forget(&mut self, user_id: &str) {
        let Some(user) = self.users.get(user_id) else {
            return;
        };
        if let Some(logins) = self.logins.get_mut(&user.connection) {
            for identifier in user.identifiers() {
                take_out(logins, &identifier, user_id);
            }
        }
        take_out(&mut self.emails, &user.email, user_id);
    }
}

fn take_out(map: &mut HashMap<String, BTreeSet<String>>, key: &str, user_id: &str) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(user_id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

/// One spelling for each identifier, for look-ups and for counting failed logins.
pub(crate) fn canonical(identifier: &str) -> String {
    identifier.trim().to_lowercase()
}

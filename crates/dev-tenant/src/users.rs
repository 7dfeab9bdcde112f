//! The people of the tenant.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::clock::iso;
use crate::secret::{Secret, sha256_hex};
use crate::seed::SeedUser;

/// A person, as the tenant keeps them.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) user_id: String,
    pub(crate) connection: String,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Secret,
    pub(crate) name: String,
    pub(crate) given_name: Option<String>,
    pub(crate) family_name: Option<String>,
    pub(crate) nickname: String,
    pub(crate) picture: String,
    pub(crate) app_metadata: Map<String, Value>,
    pub(crate) user_metadata: Map<String, Value>,
    pub(crate) permissions: Vec<String>,
    pub(crate) blocked: bool,
    pub(crate) otp: Option<Secret>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    pub(crate) logins_count: u64,
}

impl User {
    /// With the defaults that Auth0 fills in: name, nickname, portrait.
    pub(crate) fn from_seed(seed: SeedUser, now: OffsetDateTime) -> Self {
        let email = seed.email.to_lowercase();
        let digest = sha256_hex(format!("{} {email}", seed.connection).as_bytes());
        let local_part = email.split('@').next().unwrap_or_default().to_owned();
        Self {
            user_id: seed
                .user_id
                .unwrap_or_else(|| format!("auth0|{}", digest.get(..24).unwrap_or_default())),
            name: seed.name.unwrap_or_else(|| email.clone()),
            nickname: seed.nickname.unwrap_or(local_part),
            picture: seed.picture.unwrap_or_else(|| {
                format!(
                    "https://s.gravatar.com/avatar/{}",
                    sha256_hex(email.as_bytes())
                )
            }),
            connection: seed.connection,
            email,
            email_verified: seed.email_verified,
            username: seed.username,
            password: seed.password,
            given_name: seed.given_name,
            family_name: seed.family_name,
            app_metadata: seed.app_metadata,
            user_metadata: seed.user_metadata,
            permissions: seed.permissions,
            blocked: seed.blocked,
            otp: seed.otp,
            created_at: now,
            updated_at: now,
            logins_count: 0,
        }
    }

    /// Auth0's user object, without the password.
    pub(crate) fn to_json(&self) -> Value {
        let (provider, id) = self.user_id.split_once('|').unwrap_or(("auth0", ""));
        let mut user = json!({
            "user_id": self.user_id,
            "email": self.email,
            "email_verified": self.email_verified,
            "name": self.name,
            "nickname": self.nickname,
            "picture": self.picture,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "logins_count": self.logins_count,
            "blocked": self.blocked,
            "app_metadata": self.app_metadata,
            "user_metadata": self.user_metadata,
            "identities": [{
                "connection": self.connection, "provider": provider,
                "user_id": id, "isSocial": false,
            }],
        });
        for (key, value) in [
            ("username", &self.username),
            ("given_name", &self.given_name),
            ("family_name", &self.family_name),
        ] {
            if let Some(value) = value {
                user[key] = json!(value);
            }
        }
        user
    }

    fn answers_to(&self, identifier: &str) -> bool {
        self.email == identifier
            || self
                .username
                .as_ref()
                .is_some_and(|name| name.to_lowercase() == identifier)
    }
}

/// All people by `user_id`.
#[derive(Debug, Default)]
pub(crate) struct Directory(BTreeMap<String, User>);

impl Directory {
    pub(crate) fn add(&mut self, user: User) {
        self.0.insert(user.user_id.clone(), user);
    }

    pub(crate) fn get(&self, user_id: &str) -> Option<&User> {
        self.0.get(user_id)
    }

    pub(crate) fn get_mut(&mut self, user_id: &str) -> Option<&mut User> {
        self.0.get_mut(user_id)
    }

    pub(crate) fn remove(&mut self, user_id: &str) -> Option<User> {
        self.0.remove(user_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }

    /// Whoever signs in with this identifier (e-mail or username, whatever its case) in
    /// one of the connections. The first connection goes first.
    pub(crate) fn find<'a>(
        &'a self,
        identifier: &str,
        connections: &'a [String],
    ) -> impl Iterator<Item = &'a User> {
        let identifier = canonical(identifier);
        connections.iter().flat_map(move |connection| {
            let identifier = identifier.clone();
            self.0
                .values()
                .filter(move |user| user.connection == *connection && user.answers_to(&identifier))
        })
    }
}

/// One spelling for each identifier, for look-ups and for counting failed logins.
pub(crate) fn canonical(identifier: &str) -> String {
    identifier.trim().to_lowercase()
}

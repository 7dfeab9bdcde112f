//! One person, and the object that Auth0 shows of them.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::clock::{from_iso, iso};
use crate::secret::{Secret, sha256_hex};
use crate::seed::SeedUser;

/// Providers that people know as social networks; enough for `isSocial`.
const SOCIAL: [&str; 10] = [
    "amazon",
    "apple",
    "facebook",
    "github",
    "google-oauth2",
    "linkedin",
    "paypal",
    "twitter",
    "windowslive",
    "yahoo",
];

/// A person, as the tenant keeps them.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) user_id: String,
    /// Of the first identity.
    pub(crate) connection: String,
    /// Linked to the first one.
    pub(crate) linked: Vec<Identity>,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) username: Option<String>,
    pub(crate) phone_number: Option<String>,
    pub(crate) phone_verified: Option<bool>,
    /// None: nobody can sign in as this person.
    pub(crate) password: Option<Secret>,
    pub(crate) name: Option<String>,
    pub(crate) given_name: Option<String>,
    pub(crate) family_name: Option<String>,
    pub(crate) nickname: Option<String>,
    pub(crate) picture: Option<String>,
    pub(crate) app_metadata: Map<String, Value>,
    /// Unlike the other one, an empty object is shown once it was set.
    pub(crate) user_metadata: Option<Map<String, Value>>,
    pub(crate) permissions: Vec<String>,
    /// By an administrator; shown once it was set.
    pub(crate) blocked: Option<bool>,
    pub(crate) otp: Option<Secret>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    pub(crate) last_login: Option<OffsetDateTime>,
    pub(crate) last_ip: Option<String>,
    pub(crate) last_password_reset: Option<OffsetDateTime>,
    pub(crate) logins_count: u64,
    /// Attributes that no other field holds, as social profiles bring them.
    pub(crate) extra: Map<String, Value>,
}

/// An account that is linked to another one.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) connection: String,
    pub(crate) provider: String,
    pub(crate) user_id: String,
    pub(crate) profile: Map<String, Value>,
}

impl User {
    /// With the defaults that Auth0 fills in: name, nickname, portrait. A database keeps
    /// e-mail addresses in lower case, other connections as they come.
    pub(crate) fn from_seed(seed: SeedUser, in_database: bool, now: OffsetDateTime) -> Self {
        let email = if in_database {
            seed.email.to_lowercase()
        } else {
            seed.email
        };
        let created_at = seed.created_at.as_deref().and_then(from_iso).unwrap_or(now);
        let digest = sha256_hex(format!("{} {email}", seed.connection).as_bytes());
        let local_part = email.split('@').next().unwrap_or_default().to_owned();
        Self {
            user_id: seed
                .user_id
                .unwrap_or_else(|| format!("auth0|{}", digest.get(..24).unwrap_or_default())),
            name: Some(seed.name.unwrap_or_else(|| email.clone())),
            nickname: Some(seed.nickname.unwrap_or(local_part)),
            picture: Some(seed.picture.unwrap_or_else(|| portrait(&email))),
            connection: seed.connection,
            linked: Vec::new(),
            email,
            email_verified: seed.email_verified,
            username: seed.username,
            phone_number: seed.phone_number,
            phone_verified: None,
            password: Some(seed.password).filter(|password| !password.expose().is_empty()),
            given_name: seed.given_name,
            family_name: seed.family_name,
            app_metadata: seed.app_metadata,
            user_metadata: Some(seed.user_metadata).filter(|metadata| !metadata.is_empty()),
            permissions: seed.permissions,
            blocked: seed.blocked.then_some(true),
            otp: seed.otp,
            created_at,
            updated_at: created_at,
            last_login: None,
            last_ip: None,
            last_password_reset: None,
            logins_count: 0,
            extra: seed.extra,
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked == Some(true)
    }

    /// `auth0` of `auth0|64b0`, and the rest.
    pub(crate) fn provider_and_id(&self) -> (&str, &str) {
        self.user_id.split_once('|').unwrap_or(("auth0", ""))
    }

    /// The connections of all identities.
    pub(crate) fn connections(&self) -> impl Iterator<Item = &str> {
        let linked = self.linked.iter().map(|one| one.connection.as_str());
        std::iter::once(self.connection.as_str()).chain(linked)
    }

    /// Auth0's user object, without the password. Keys without a value are left out.
    pub(crate) fn to_json(&self) -> Value {
        let mut user = self.extra.clone();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                user.insert(key.to_owned(), value);
            }
        };
        let text = |value: &Option<String>| value.as_deref().map(Value::from);
        let date = |value: Option<OffsetDateTime>| value.map(|at| Value::from(iso(at)));
        let object = |map: &Map<String, Value>| Value::Object(map.clone());
        set("user_id", Some(json!(self.user_id)));
        set("email", Some(json!(self.email)));
        set("email_verified", Some(json!(self.email_verified)));
        set("username", text(&self.username));
        set("phone_number", text(&self.phone_number));
        set("phone_verified", self.phone_verified.map(Value::from));
        set("name", text(&self.name));
        set("given_name", text(&self.given_name));
        set("family_name", text(&self.family_name));
        set("nickname", text(&self.nickname));
        set("picture", text(&self.picture));
        set("created_at", date(Some(self.created_at)));
        set("updated_at", date(Some(self.updated_at)));
        set("last_login", date(self.last_login));
        set("last_ip", text(&self.last_ip));
        set("last_password_reset", date(self.last_password_reset));
        set(
            "logins_count",
            (self.logins_count > 0).then(|| json!(self.logins_count)),
        );
        set("blocked", self.blocked.map(Value::from));
        set(
            "app_metadata",
            (!self.app_metadata.is_empty()).then(|| object(&self.app_metadata)),
        );
        set("user_metadata", self.user_metadata.as_ref().map(object));
        set("identities", Some(self.identities()));
        Value::Object(user)
    }

    /// The main identity and those linked to it.
    pub(crate) fn identities(&self) -> Value {
        let (provider, id) = self.provider_and_id();
        let main = json!({
            "connection": self.connection, "provider": provider, "user_id": id,
            "isSocial": SOCIAL.contains(&provider),
        });
        let linked = self.linked.iter().map(|one| {
            json!({
                "connection": one.connection, "provider": one.provider, "user_id": one.user_id,
                "isSocial": SOCIAL.contains(&one.provider.as_str()), "profileData": one.profile,
            })
        });
        std::iter::once(main).chain(linked).collect()
    }

    /// What this person signs in with, in one spelling.
    pub(crate) fn identifiers(&self) -> impl Iterator<Item = String> {
        [
            Some(&self.email),
            self.username.as_ref(),
            self.phone_number.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|text| super::canonical(text))
    }
}

/// Where a portrait would be.
fn portrait(email: &str) -> String {
    format!(
        "https://s.gravatar.com/avatar/{}",
        sha256_hex(email.as_bytes())
    )
}

//! Attributes of a user in bodies, and the fields that reads can be cut down to.

use serde_json::{Map, Value};

use super::super::Problem;
use super::super::query::{Parameter, Query};
use super::super::schema::{Format, Kind, Property};

/// What `fields` may name.
pub(super) const FIELDS: [&str; 19] = [
    "phone_number",
    "email",
    "email_verified",
    "picture",
    "username",
    "user_id",
    "name",
    "nickname",
    "created_at",
    "identities",
    "app_metadata",
    "user_metadata",
    "last_ip",
    "last_login",
    "logins_count",
    "updated_at",
    "blocked",
    "family_name",
    "given_name",
];

pub(super) const FIELDS_PARAMETER: Parameter = Parameter {
    name: "fields",
    description: "Comma-separated list of fields to include or exclude (based on value provided \
                  for include_fields) in the result. Leave empty to retrieve all fields",
};

pub(super) const INCLUDE_FIELDS_PARAMETER: Parameter = Parameter {
    name: "include_fields",
    description: "Whether specified fields are to be included (true) or excluded (false)",
};

/// Which fields of a user an answer has.
#[derive(Debug)]
pub(super) struct Shown {
    fields: Vec<String>,
    include: bool,
}

impl Shown {
    pub(super) fn of(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            fields: query.fields("fields", &FIELDS)?,
            include: query.flag("include_fields")?.unwrap_or(true),
        })
    }

    pub(super) fn cut(&self, user: &Value) -> Value {
        match user {
            Value::Object(user) if !self.fields.is_empty() => user
                .iter()
                .filter(|(key, _)| self.fields.contains(key) == self.include)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            other => other.clone(),
        }
    }
}

/// The attributes that a body can set, with the texts of Auth0's errors. With
/// `nullable`, `null` takes a value away.
pub(super) const fn settable(nullable: bool) -> [Property; 14] {
    let longest = usize::MAX;
    [
        text(
            "email",
            "The user's email",
            (0, longest, Format::Email),
            nullable,
        ),
        text(
            "phone_number",
            "The user's phone number (following the E.164 recommendation)",
            (0, longest, Format::Phone),
            nullable,
        ),
        text(
            "username",
            "The user's username",
            (1, 128, Format::Any),
            nullable,
        ),
        text(
            "password",
            "Initial password for this user",
            (1, longest, Format::Any),
            nullable,
        ),
        text(
            "given_name",
            "The user's given name(s)",
            (1, 150, Format::Any),
            nullable,
        ),
        text(
            "family_name",
            "The user's family name(s)",
            (1, 150, Format::Any),
            nullable,
        ),
        text(
            "name",
            "The user's full name",
            (1, 300, Format::Any),
            nullable,
        ),
        text(
            "nickname",
            "The user's nickname",
            (1, 300, Format::Any),
            nullable,
        ),
        text(
            "picture",
            "A URI pointing to the user's picture",
            (0, longest, Format::Uri),
            nullable,
        ),
        other(
            "blocked",
            "Whether this user was blocked by an administrator",
            Kind::Flag,
        ),
        other(
            "email_verified",
            "Whether this email address is verified",
            Kind::Flag,
        ),
        other(
            "phone_verified",
            "Whether this phone number has been verified",
            Kind::Flag,
        ),
        other("user_metadata", "Data related to the user", Kind::Object),
        other(
            "app_metadata",
            "Data the user has read-only access to",
            Kind::Object,
        ),
    ]
}

/// A text with its shortest and longest length and its look.
pub(in crate::management) const fn text(
    name: &'static str,
    description: &'static str,
    (shortest, longest, format): (usize, usize, Format),
    nullable: bool,
) -> Property {
    Property {
        name,
        description,
        kind: Kind::Text(shortest, longest, format),
        nullable,
    }
}

pub(in crate::management) const fn other(
    name: &'static str,
    description: &'static str,
    kind: Kind,
) -> Property {
    Property {
        name,
        description,
        kind,
        nullable: false,
    }
}

/// Keys that `app_metadata` must not have.
const FORBIDDEN: [&str; 18] = [
    "__tenant",
    "_id",
    "blocked",
    "clientID",
    "created_at",
    "email_verified",
    "email",
    "globalClientID",
    "global_client_id",
    "identities",
    "lastIP",
    "lastLogin",
    "loginsCount",
    "metadata",
    "multifactor_last_modified",
    "multifactor",
    "updated_at",
    "user_id",
];

/// The first key of metadata that Auth0 does not take: a reserved one, one with a dot
/// or one that starts with a dollar sign.
pub(crate) fn forbidden_metadata(body: &Map<String, Value>) -> Option<String> {
    let object = |name: &str| body.get(name).and_then(Value::as_object);
    let reserved = object("app_metadata")
        .into_iter()
        .flat_map(Map::keys)
        .find(|key| FORBIDDEN.contains(&key.as_str()));
    let unusable = ["app_metadata", "user_metadata"]
        .into_iter()
        .filter_map(object)
        .flat_map(Map::keys)
        .find(|key| key.contains('.') || key.starts_with('$'));
    reserved.or(unusable).cloned()
}

/// 400 for metadata that Auth0 does not take; the text is assumed.
pub(super) fn check_metadata(body: &Map<String, Value>) -> Result<(), Problem> {
    match forbidden_metadata(body) {
        None => Ok(()),
        Some(key) => {
            let reason = format!("Invalid metadata key: {key}");
            Err(Problem::body(&reason, "", ""))
        }
    }
}

/// Shortest password that the store takes: Auth0's "fair" policy, without its details.
pub(super) fn check_password(password: &str) -> Result<(), Problem> {
    if password.chars().count() < crate::dbconnections::SHORTEST_PASSWORD {
        return Err(Problem::bad_request(
            "PasswordStrengthError: Password is too weak",
        ));
    }
    Ok(())
}

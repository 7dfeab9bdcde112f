//! Which fields can be searched, and how.

use std::fmt;

/// Longest field name that is taken, in bytes.
const MAX_NAME: usize = 512;

/// A field that Auth0 can search: one of its own, or a path below `app_metadata` or `user_metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    name: String,
    kind: FieldKind,
}

/// What a field holds, and so what can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// A text whose case Auth0 ignores: `email` and the names.
    Name,
    /// A text, compared as it is.
    Text,
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// An instant.
    Date,
    /// Anything, below `app_metadata`.
    AppMetadata,
    /// Anything, below `user_metadata`. No wildcards, no ranges.
    UserMetadata,
}

/// Why a name is no searchable field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// Auth0 has no such field, or cannot search it.
    #[error("Auth0 has no searchable field of that name")]
    Unknown,
    /// `app_metadata` or `user_metadata` without a path below it.
    #[error("needs the name of a key below it, such as app_metadata.groups")]
    NoKey,
    /// An empty part between dots, or one that starts with `$`; Auth0 stores no such key.
    #[error("has an empty key, or one that starts with $, in its path")]
    BadKey,
    /// A control character in the name.
    #[error("has a control character in its name")]
    Control,
    /// The name is over 512 bytes.
    #[error("has a name that is too long")]
    TooLong,
}

/// Auth0's own searchable fields ("User Profile Structure", and those that only the search knows).
const KNOWN: [(&str, FieldKind); 23] = [
    ("blocked", FieldKind::Bool),
    ("created_at", FieldKind::Date),
    ("email", FieldKind::Name),
    ("email.domain", FieldKind::Text),
    ("email_verified", FieldKind::Bool),
    ("family_name", FieldKind::Name),
    ("given_name", FieldKind::Name),
    ("identities.connection", FieldKind::Text),
    ("identities.provider", FieldKind::Text),
    ("identities.user_id", FieldKind::Text),
    ("last_ip", FieldKind::Text),
    ("last_login", FieldKind::Date),
    ("logins_count", FieldKind::Number),
    ("name", FieldKind::Name),
    ("nickname", FieldKind::Name),
    ("organization_id", FieldKind::Text),
    ("phone_number", FieldKind::Text),
    ("phone_verified", FieldKind::Bool),
    ("updated_at", FieldKind::Date),
    ("user_id", FieldKind::Text),
    ("username", FieldKind::Text),
    // Searchable in old tenants only; kept out: picture, multifactor.
    ("identities.isSocial", FieldKind::Bool),
    ("last_password_reset", FieldKind::Date),
];

impl Field {
    /// Reads a field's name, dots and all.
    ///
    /// ```
    /// use auth0_api::search::{Field, FieldKind};
    ///
    /// assert_eq!(Field::parse("app_metadata.plan.name")?.kind(), FieldKind::AppMetadata);
    /// assert!(Field::parse("picture").is_err());
    /// # Ok::<(), auth0_api::search::FieldError>(())
    /// ```
    ///
    /// # Errors
    /// [`FieldError`] says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, FieldError> {
        if name.len() > MAX_NAME {
            return Err(FieldError::TooLong);
        }
        let kind = match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => *kind,
            None => metadata(name)?,
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
        })
    }

    /// The pool of users that an identity comes from.
    #[must_use]
    pub fn connection() -> Self {
        Self {
            name: "identities.connection".to_owned(),
            kind: FieldKind::Text,
        }
    }

    /// When the user was created.
    #[must_use]
    pub fn created_at() -> Self {
        Self {
            name: "created_at".to_owned(),
            kind: FieldKind::Date,
        }
    }

    /// The user's id, provider and all.
    #[must_use]
    pub fn user_id() -> Self {
        Self {
            name: "user_id".to_owned(),
            kind: FieldKind::Text,
        }
    }

    /// The name, unescaped.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        self.kind
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FieldKind {
    /// Can a value be matched by a pattern?
    #[must_use]
    pub fn takes_wildcards(self) -> bool {
        matches!(self, Self::Name | Self::Text | Self::AppMetadata)
    }

    /// Can a value be compared by order?
    #[must_use]
    pub fn takes_ranges(self) -> bool {
        !matches!(self, Self::Bool | Self::UserMetadata)
    }
}

fn metadata(name: &str) -> Result<FieldKind, FieldError> {
    let (root, path) = name.split_once('.').unwrap_or((name, ""));
    let kind = match root {
        "app_metadata" => FieldKind::AppMetadata,
        "user_metadata" => FieldKind::UserMetadata,
        _ => return Err(FieldError::Unknown),
    };
    if root == name {
        return Err(FieldError::NoKey);
    }
    if name.contains(char::is_control) {
        return Err(FieldError::Control);
    }
    if path
        .split('.')
        .any(|key| key.is_empty() || key.starts_with('$'))
    {
        return Err(FieldError::BadKey);
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_auth0s_fields_and_metadata_paths() {
        for name in [
            "email",
            "identities.connection",
            "app_metadata.groups",
            "user_metadata.a.b",
            "app_metadata.sites.12345",
            "app_metadata.na\u{ef}ve key",
        ] {
            assert_eq!(Field::parse(name).unwrap().name(), name);
        }
        for (name, error) in [
            ("", FieldError::Unknown),
            ("picture", FieldError::Unknown),
            ("connection", FieldError::Unknown),
            ("email.raw", FieldError::Unknown),
            ("Email", FieldError::Unknown),
            ("app_metadata", FieldError::NoKey),
            ("app_metadata.", FieldError::BadKey),
            ("user_metadata.a..b", FieldError::BadKey),
            ("user_metadata.$where", FieldError::BadKey),
            ("app_metadata.a\0b", FieldError::Control),
        ] {
            assert_eq!(Field::parse(name), Err(error), "{name:?}");
        }
        let long = format!("app_metadata.{}", "x".repeat(MAX_NAME));
        assert_eq!(Field::parse(&long), Err(FieldError::TooLong));
    }
}

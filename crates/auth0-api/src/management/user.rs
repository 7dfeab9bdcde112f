//! Users, as Auth0 keeps them.

use std::fmt;

use indexmap::IndexMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;
use crate::search::{Field, SearchQuery};

/// Most users in one page of Auth0's list.
pub const MAX_PAGE_SIZE: u32 = 100;
/// How deep Auth0's list can be paged: users beyond are not served.
pub const MAX_SEARCHABLE: u32 = 1000;

/// Longest id that is taken, in bytes.
const MAX_ID: usize = 1024;

/// Everything that a path segment need not encode (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An Auth0 user id: `provider|id`, for example `auth0|64b0c0ffee0000000000a001`.
///
/// The part behind the first `|` may hold anything but control characters, also `|`, `/`, `%` and `..`:
/// [`Self::path_segment`] encodes it once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);

/// Why a text is no user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserIdError {
    /// Nothing at all. At Auth0 an empty id once meant everybody.
    #[error("is empty")]
    Empty,
    /// Not `provider|id`.
    #[error("must have the form provider|id, for example auth0|5f7c8ec7c33c6c004bbafe82")]
    NoProvider,
    /// A control character.
    #[error("must not have control characters")]
    Control,
    /// Over 1024 bytes.
    #[error("is too long")]
    TooLong,
}

impl UserId {
    /// Reads an id, percent-decoded already.
    ///
    /// ```
    /// use auth0_api::management::UserId;
    ///
    /// let id = UserId::parse("samlp|acme|mia@example.org")?;
    /// assert_eq!(id.path_segment(), "samlp%7Cacme%7Cmia%40example.org");
    /// assert!(UserId::parse("..").is_err());
    /// # Ok::<(), auth0_api::management::UserIdError>(())
    /// ```
    ///
    /// # Errors
    /// [`UserIdError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        if text.is_empty() {
            return Err(UserIdError::Empty);
        }
        if text.len() > MAX_ID {
            return Err(UserIdError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(UserIdError::Control);
        }
        match text.split_once('|') {
            Some((provider, id)) if !provider.is_empty() && !id.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(UserIdError::NoProvider),
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as one segment of a path, percent-encoded once.
    #[must_use]
    pub fn path_segment(&self) -> String {
        utf8_percent_encode(&self.0, SEGMENT).to_string()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user object, kept as it came: unknown fields, the order of keys and the spelling of numbers
/// included.
///
/// `Debug` does not show it: it is personal data.
#[derive(Clone)]
pub struct User(Box<RawValue>);

/// What a user object says about who it is.
#[derive(Debug, Deserialize)]
struct Head {
    user_id: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    identities: Vec<Identity>,
}

#[derive(Debug, Deserialize)]
struct Identity {
    connection: Option<String>,
}

impl User {
    /// Wraps a JSON object.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it is no object.
    pub fn new(json: Box<RawValue>) -> Result<Self, Error> {
        if json.get().starts_with('{') {
            Ok(Self(json))
        } else {
            Err(Error::Unexpected("a user that is no JSON object"))
        }
    }

    /// The object's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// The user without one key of the object; the others stay as they came.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when the object cannot be read.
    pub fn without(&self, key: &str) -> Result<Self, Error> {
        let bad = |_| Error::Unexpected("a user that cannot be read");
        let mut entries: IndexMap<String, Box<RawValue>> =
            serde_json::from_str(self.0.get()).map_err(bad)?;
        entries.shift_remove(key);
        serde_json::value::to_raw_value(&entries)
            .map(Self)
            .map_err(bad)
    }

    fn head(&self) -> Result<Head, Error> {
        serde_json::from_str(self.0.get())
            .map_err(|_| Error::Unexpected("a user without the documented fields"))
    }

    /// `user_id`.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it is missing.
    pub fn user_id(&self) -> Result<String, Error> {
        let id = self.head()?.user_id;
        id.ok_or(Error::Unexpected("a user without a user_id"))
    }

    /// `user_id` and `created_at`, by which a list can be walked.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when one is missing.
    pub fn key(&self) -> Result<UserKey, Error> {
        let head = self.head()?;
        match (head.created_at, head.user_id) {
            (Some(created_at), Some(user_id)) => Ok(UserKey {
                created_at,
                user_id,
            }),
            _ => Err(Error::Unexpected("a user without created_at or user_id")),
        }
    }

    /// `blocked`, by an administrator.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when the object is not as documented.
    pub fn is_blocked(&self) -> Result<bool, Error> {
        Ok(self.head()?.blocked)
    }

    /// Names of the connections of all identities, the main one first.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when the object is not as documented.
    pub fn connections(&self) -> Result<Vec<String>, Error> {
        let identities = self.head()?.identities;
        Ok(identities
            .into_iter()
            .filter_map(|i| i.connection)
            .collect())
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("User").finish_non_exhaustive()
    }
}

/// Where a user stands in a list that is ordered by time of creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserKey {
    /// `created_at`, RFC 3339 with milliseconds.
    pub created_at: String,
    /// `user_id`.
    pub user_id: String,
}

/// A request for a page of users.
#[derive(Clone, Debug, Default)]
pub struct ListUsers {
    /// The condition; none lists everybody.
    pub query: Option<SearchQuery>,
    /// Index of the page, from 0. `(page + 1) * per_page` is at most [`MAX_SEARCHABLE`].
    pub page: u32,
    /// Users in a page, 1 to [`MAX_PAGE_SIZE`].
    pub per_page: u32,
    /// Order; Auth0's own when none.
    pub sort: Option<Sort>,
    /// Only these fields; all when empty.
    pub fields: Vec<String>,
    /// Ask for the number of all matches.
    pub include_totals: bool,
}

/// An order: Auth0 takes one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field; metadata cannot be sorted by.
    pub field: Field,
    /// From the largest.
    pub descending: bool,
}

impl fmt::Display for Sort {
    /// As the wire spells it: `created_at:-1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.descending { -1 } else { 1 };
        write!(f, "{}:{direction}", self.field)
    }
}

/// A page of users.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The users.
    pub users: Vec<User>,
    /// Number of all matches, where it was asked for. May be above [`MAX_SEARCHABLE`].
    pub total: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loses_one_key_and_keeps_the_others_as_they_came() {
        let user = |text: &str| User::new(RawValue::from_string(text.to_owned()).unwrap());
        let text = r#"{"b":1.10,"user_id":"auth0|1","a":{"user_id" : 12345678901234567890123},"c":"\u00e9"}"#;
        let left = user(text).unwrap().without("user_id").unwrap();
        let expected = r#"{"b":1.10,"a":{"user_id" : 12345678901234567890123},"c":"\u00e9"}"#;
        assert_eq!(left.json(), expected);
    }

    #[test]
    fn takes_ids_of_every_legal_form_and_encodes_them_once() {
        for (id, segment) in [
            ("auth0|x", "auth0%7Cx"),
            ("google-oauth2|1", "google-oauth2%7C1"),
            ("samlp|a|b@c", "samlp%7Ca%7Cb%40c"),
            ("auth0|a/b", "auth0%7Ca%2Fb"),
            ("auth0|..", "auth0%7C.."),
            ("auth0|100%", "auth0%7C100%25"),
            ("auth0|%2F", "auth0%7C%252F"),
            ("ad|acme|J\u{f6}rg M", "ad%7Cacme%7CJ%C3%B6rg%20M"),
        ] {
            assert_eq!(UserId::parse(id).unwrap().path_segment(), segment);
        }
        for (id, error) in [
            ("", UserIdError::Empty),
            ("..", UserIdError::NoProvider),
            (".", UserIdError::NoProvider),
            ("auth0", UserIdError::NoProvider),
            ("auth0|", UserIdError::NoProvider),
            ("|x", UserIdError::NoProvider),
            ("auth0|a\nb", UserIdError::Control),
        ] {
            assert_eq!(UserId::parse(id), Err(error), "{id:?}");
        }
    }

    #[test]
    fn a_user_keeps_every_byte() {
        let json = r#"{"user_id":"auth0|x","n":1.10,"created_at":"2026-01-02T03:04:05.678Z","new":{"b":1,"a":2},"identities":[{"connection":"a","user_id":7}]}"#;
        let user = User::new(RawValue::from_string(json.to_owned()).unwrap()).unwrap();
        assert_eq!(user.json(), json);
        assert_eq!(user.connections().unwrap(), ["a"]);
        assert_eq!(user.key().unwrap().user_id, "auth0|x");
        assert!(!format!("{user:?}").contains("auth0|x"));
    }
}

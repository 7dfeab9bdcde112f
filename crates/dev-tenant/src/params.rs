//! Parameters of a query, a form or a JSON object: each name at most once.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Parameters by name. A parameter without a value counts as left out (RFC 6749
/// section 3.1).
#[derive(Clone, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

/// Why parameters cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamsError {
    #[error("Duplicate parameter: {0}")]
    Duplicate(String),
    #[error("Invalid request body: {0}")]
    Json(String),
    #[error("Unsupported content type")]
    ContentType,
}

impl Params {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(crate) fn from_form(text: &[u8]) -> Result<Self, ParamsError> {
        let mut params = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            let duplicate = params
                .0
                .insert(name.clone().into_owned(), value.into_owned());
            if duplicate.is_some() {
                return Err(ParamsError::Duplicate(name.into_owned()));
            }
        }
        Ok(params)
    }

    /// Reads a JSON object of strings, numbers and booleans.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, ParamsError> {
        serde_json::from_slice(text).map_err(|error| ParamsError::Json(error.to_string()))
    }

    /// The value, if there is one that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Names only: values are passwords and codes.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings, numbers and booleans")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut params = Params::default();
        while let Some((name, Scalar(value))) = map.next_entry::<String, Scalar>()? {
            if params.0.insert(name.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format!("duplicate key {name:?}")));
            }
        }
        Ok(params)
    }
}

struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a value must be a string, a number or a boolean"
        )]
        enum Any {
            Text(String),
            Flag(bool),
            Number(serde_json::Number),
            Null(()),
        }
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Text(text) => text,
            Any::Flag(flag) => flag.to_string(),
            Any::Number(number) => number.to_string(),
            Any::Null(()) => String::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_given_twice_is_refused() {
        for text in ["a=1&b=2&a=1", "a&a=", "a=1&%61=2"] {
            assert_eq!(
                Params::from_form(text.as_bytes()).unwrap_err(),
                ParamsError::Duplicate("a".to_owned())
            );
        }
        assert!(Params::from_json(br#"{"a":"1","\u0061":"2"}"#).is_err());
    }

    #[test]
    fn an_empty_parameter_counts_as_left_out() {
        let params = Params::from_form(b"scope=&federated").unwrap();
        assert_eq!(params.get("scope"), None);
        assert_eq!(params.get("federated"), None);
        assert_eq!(
            Params::from_json(br#"{"scope":null}"#)
                .unwrap()
                .get("scope"),
            None
        );
    }

    #[test]
    fn json_is_an_object_of_plain_values() {
        let params = Params::from_json(br#"{"otp":123456,"flag":true,"name":"x"}"#).unwrap();
        assert_eq!(params.get("otp"), Some("123456"));
        assert_eq!(params.get("flag"), Some("true"));
        for bad in ["[]", "\"x\"", "{\"a\":{}}", "{\"a\":[1]}", "{", "", "{} {}"] {
            assert!(Params::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_values() {
        let params = Params::from_form(b"password=canary").unwrap();
        assert_eq!(format!("{params:?}"), r#"{"password"}"#);
    }

    proptest! {
        #[test]
        fn no_input_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Params::from_form(&bytes);
            let _ = Params::from_json(&bytes);
        }

        #[test]
        fn what_is_printed_is_read_back(pairs in proptest::collection::btree_map(".{1,10}", ".{0,20}", 0..6)) {
            let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let params = Params::from_form(text.as_bytes()).unwrap();
            prop_assert_eq!(params.0, pairs);
        }
    }
}

//! Parameters of a query, a form or a JSON object: each name once.

use std::fmt;

use percent_encoding::percent_decode;
use secrecy::zeroize::Zeroize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::head::twice;
use crate::Error;

/// Parameters as they came. Their values may be secrets: there is no `Debug`, and they are wiped.
#[derive(Default)]
pub(super) struct Params(Vec<(String, Value)>);

impl Params {
    /// Reads a query or a form (`application/x-www-form-urlencoded`).
    ///
    /// An escape that is none, or bytes that are no UTF-8, are refused and not repaired: what was
    /// signed, compared or logged in front of us must be what we act on.
    pub(super) fn from_urlencoded(text: &[u8]) -> Result<Self, Error> {
        let pairs = text
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let at = pair
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            let name = decode(name).ok_or_else(|| malformed("a parameter's name"))?;
            let value =
                decode(value.get(1..).unwrap_or_default()).ok_or_else(|| malformed(&name))?;
            Ok((name, Value::String(value)))
        });
        pairs.collect::<Result<_, Error>>().map(Self)
    }

    /// Reads a JSON object.
    pub(super) fn from_json(text: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(text).map_err(|error| {
            Error::BadRequest(format!(
                "the body is no JSON object: line {}, column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The value of a parameter under any of its names. `None` when it is absent or empty.
    pub(super) fn get(&self, names: &[&'static str]) -> Result<Option<&str>, Error> {
        let mut found = None;
        for (name, value) in &self.0 {
            if !names.contains(&name.as_str()) {
                continue;
            }
            let value = match value {
                Value::String(text) => text.as_str(),
                Value::Null => "",
                _ => return Err(Error::BadRequest(format!("{name} must be a string"))),
            };
            if found.replace(value).is_some() {
                return Err(twice(&names.join(" or ")));
            }
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// None but these and the two that back offices send to every collection.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Error> {
        let known = |name: &str| names.contains(&name) || matches!(name, "_st" | "_useEstimate");
        match self.names().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(unknown(name)),
        }
    }

    /// As [`Self::get`], for one that has to be there.
    pub(super) fn require(&self, names: &[&'static str]) -> Result<&str, Error> {
        self.get(names)?.ok_or_else(|| {
            Error::BadRequest(format!("{} is required", names.first().unwrap_or(&"")))
        })
    }

    /// A whole number; an empty one is none.
    pub(super) fn number(
        &self,
        name: &'static str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, Error> {
        let parse = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| {
                    Error::BadRequest(if most == usize::MAX {
                        format!("{name} must be a whole number from {least}")
                    } else {
                        format!("{name} must be a whole number from {least} to {most}")
                    })
                })
        };
        let given = self.get(&[name])?;
        let empty = self.names().any(|given| given == name).then_some("");
        given.or(empty).map(parse).transpose()
    }

    /// Names and values, as they came; a value that is no string is left out.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The names, as they came.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

/// Keeps a key that comes twice, which a map would hide.
impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut params = Params::default();
                while let Some(pair) = map.next_entry()? {
                    params.0.push(pair);
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let whole = |at: usize| matches!(text.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit));
    if (0..text.len()).any(|at| text[at] == b'%' && !whole(at)) {
        return None;
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).decode_utf8().ok().map(String::from)
}

/// The error of a parameter that a route does not have.
pub(super) fn unknown(name: &str) -> Error {
    let name = crate::query::printable(name);
    Error::BadRequest(if name.is_empty() {
        "a parameter has no name".to_owned()
    } else {
        format!("{name} is not a parameter of this route")
    })
}

fn malformed(name: &str) -> Error {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Error::BadRequest(format!("{name} is not properly percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_forms() {
        let params = Params::from_urlencoded(b"a=1+2%2B&b=&&c&d=%C3%BC=").unwrap();
        assert_eq!(params.get(&["a"]).unwrap(), Some("1 2+"));
        assert_eq!(params.get(&["b"]).unwrap(), None);
        assert_eq!(params.get(&["c"]).unwrap(), None);
        assert_eq!(params.get(&["d"]).unwrap(), Some("ü="));
    }

    #[test]
    fn one_name_twice_is_an_error_under_any_alias() {
        for text in ["a=1&a=1", "a=1&b=2", "a=&a=1", "%61=1&a=2"] {
            let params = Params::from_urlencoded(text.as_bytes()).unwrap();
            assert!(params.get(&["a", "b"]).is_err(), "{text}");
        }
        let params = Params::from_json(br#"{"a":"1","a":"1"}"#).unwrap();
        assert!(params.get(&["a"]).is_err());
    }

    #[test]
    fn names_what_is_malformed() {
        for (text, named) in [
            ("state=%zz", "state"),
            ("state=%f", "state"),
            ("state=%ff", "state"),
        ] {
            let Err(Error::BadRequest(message)) = Params::from_urlencoded(text.as_bytes()) else {
                panic!("{text} was accepted")
            };
            assert!(message.contains(named), "{message}");
        }
        let Err(Error::BadRequest(message)) = Params::from_json(b"{\"a\":\n x}") else {
            panic!()
        };
        assert!(message.contains("line 2"), "{message}");
        let params = Params::from_json(br#"{"code":1}"#).unwrap();
        assert!(params.get(&["code"]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Params::from_urlencoded(&text);
            let _ = Params::from_json(&text);
        }

        #[test]
        fn reads_what_a_serializer_writes(pairs: Vec<(String, String)>) {
            let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let params = Params::from_urlencoded(text.as_bytes()).unwrap();
            let read: Vec<_> = params.0.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned())).collect();
            proptest::prop_assert_eq!(read, pairs);
        }
    }
}

//! JSON bodies checked the way Auth0's validator words it.

use serde_json::{Map, Value};
use url::Url;

use super::Problem;
use crate::message::Request;

/// A property of a body.
#[derive(Clone, Copy, Debug)]
pub(in crate::management) struct Property {
    pub(in crate::management) name: &'static str,
    /// As Auth0's error texts have it.
    pub(in crate::management) description: &'static str,
    pub(in crate::management) kind: Kind,
    pub(in crate::management) nullable: bool,
}

/// What a property may hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::management) enum Kind {
    Flag,
    Object,
    Array,
    /// A whole number that is not negative.
    Number,
    /// Shortest, longest, and how it must look.
    Text(usize, usize, Format),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) enum Format {
    Any,
    Email,
    Uri,
    Phone,
    NoSpace,
    ConnectionId,
}

/// Whether a value's look is right, and the text for one that is not.
impl Format {
    pub(in crate::management) fn fault(self, text: &str) -> Option<String> {
        let digits = |text: &str, allowed: fn(&u8) -> bool| text.bytes().all(|b| allowed(&b));
        let (holds, fault) = match self {
            Self::Any => (true, String::new()),
            Self::Email => (is_email(text), not_format("email", text)),
            Self::Uri => (Url::parse(text).is_ok(), not_format("strict-uri", text)),
            Self::Phone => (
                text.strip_prefix('+').is_some_and(|rest| {
                    (1..=15).contains(&rest.len()) && digits(rest, u8::is_ascii_digit)
                }),
                not_pattern(r"^\+[0-9]{1,15}$", text),
            ),
            Self::NoSpace => (
                !text.contains(char::is_whitespace),
                not_pattern(r"^\S*$", text),
            ),
            Self::ConnectionId => (
                text.strip_prefix("con_").is_some_and(|rest| {
                    rest.len() == 16 && digits(rest, u8::is_ascii_alphanumeric)
                }),
                "String does not match pattern ^con_[A-Za-z0-9]{16}$".to_owned(),
            ),
        };
        (!holds).then_some(fault)
    }
}

fn not_format(format: &str, text: &str) -> String {
    format!("Object didn't pass validation for format {format}: {text}")
}

fn not_pattern(pattern: &str, text: &str) -> String {
    format!("String does not match pattern {pattern}: {text}")
}

/// Good enough to tell an address from something else.
pub(in crate::management) fn is_email(text: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\\,;:\"".contains(c);
    match text.split_once('@') {
        Some((local, domain)) => {
            !local.is_empty()
                && local.len() <= 64
                && !domain.is_empty()
                && !domain.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains("..")
                && !text.contains(forbidden)
        }
        None => false,
    }
}

/// The body, an object of known properties that are all what they should be.
pub(in crate::management) fn object(
    request: &Request,
    properties: &[Property],
    required: &[&str],
) -> Result<Map<String, Value>, Problem> {
    let json = request
        .media_type()
        .eq_ignore_ascii_case("application/json");
    let value: Value = match serde_json::from_slice(&request.body) {
        Ok(value) if json => value,
        // Some calls have no body at all.
        _ if request.body.is_empty() => Value::Object(Map::new()),
        _ => return Err(Problem::body("Invalid request payload JSON format", "", "")),
    };
    let Value::Object(body) = value else {
        let reason = format!("Expected type object but found type {}", type_of(&value));
        return Err(Problem::body(&reason, "", ""));
    };
    check(&body, properties, required)?;
    Ok(body)
}

fn check(
    body: &Map<String, Value>,
    properties: &[Property],
    required: &[&str],
) -> Result<(), Problem> {
    let known = |name: &str| properties.iter().find(|property| property.name == name);
    let unknown: Vec<&str> = body
        .keys()
        .map(String::as_str)
        .filter(|name| known(name).is_none())
        .collect();
    if !unknown.is_empty() {
        let reason = format!("Additional properties not allowed: {}", unknown.join(","));
        return Err(Problem::body(&reason, "", ""));
    }
    if let Some(missing) = required.iter().find(|name| !body.contains_key(**name)) {
        let reason = format!("Missing required property: {missing}");
        return Err(Problem::body(&reason, "", ""));
    }
    for (name, value) in body {
        if let Some(property) = known(name)
            && let Some(fault) = property.fault(value)
        {
            return Err(Problem::body(&fault, name, property.description));
        }
    }
    Ok(())
}

impl Property {
    fn fault(&self, value: &Value) -> Option<String> {
        if self.nullable && value.is_null() {
            return None;
        }
        let wrong = |expected: &str| {
            Some(format!(
                "Expected type {expected} but found type {}",
                type_of(value)
            ))
        };
        match (self.kind, value) {
            (Kind::Flag, Value::Bool(_))
            | (Kind::Object, Value::Object(_))
            | (Kind::Array, Value::Array(_)) => None,
            (Kind::Number, Value::Number(number)) if number.is_u64() => None,
            (Kind::Flag, _) => wrong("boolean"),
            (Kind::Object, _) => wrong("object"),
            (Kind::Array, _) => wrong("array"),
            (Kind::Number, _) => wrong("integer"),
            (Kind::Text(shortest, longest, format), Value::String(text)) => {
                let length = text.chars().count();
                if length < shortest {
                    let fault = "String is too short";
                    Some(format!("{fault} ({length} chars), minimum {shortest}"))
                } else if length > longest {
                    let fault = "String is too long";
                    Some(format!("{fault} ({length} chars), maximum {longest}"))
                } else {
                    format.fault(text)
                }
            }
            (Kind::Text(..), _) => wrong("string"),
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

//! One row of an import file, checked by the documented schema.

use serde_json::{Map, Value, json};

use super::super::schema::Format;
use super::super::users::forbidden_metadata;

/// Why a row is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: &'static str,
    message: String,
    path: Option<String>,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: None,
        }
    }

    fn at(path: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..Self::new(code, message)
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut fault = json!({ "code": self.code, "message": self.message });
        if let Some(path) = &self.path {
            fault["path"] = json!(path);
        }
        fault
    }
}

const TEXTS: [&str; 10] = [
    "email",
    "phone_number",
    "user_id",
    "username",
    "given_name",
    "family_name",
    "name",
    "nickname",
    "picture",
    "password_hash",
];
const FLAGS: [&str; 3] = ["email_verified", "phone_verified", "blocked"];
const OBJECTS: [&str; 3] = ["app_metadata", "user_metadata", "custom_password_hash"];
const ALGORITHMS: [&str; 11] = [
    "argon2", "bcrypt", "hmac", "ldap", "md4", "md5", "sha1", "sha256", "sha512", "pbkdf2",
    "scrypt",
];

/// Everything that is wrong with a row.
pub(super) fn check(row: &Value) -> Vec<Fault> {
    let Value::Object(fields) = row else {
        return vec![wrong_type("", "object", row)];
    };
    let mut faults = Vec::new();
    if !fields.contains_key("email") {
        faults.push(missing("email", "email"));
    }
    for (name, value) in fields {
        faults.extend(field(name, value));
    }
    if fields.contains_key("password_hash") && fields.contains_key("custom_password_hash") {
        faults.push(Fault::new(
            "NOT_PASSED",
            "password_hash and custom_password_hash exclude each other",
        ));
    }
    if let Some(key) = forbidden_metadata(fields) {
        let message = format!("Invalid metadata key: {key}");
        faults.push(Fault::new("NOT_PASSED", message));
    }
    faults
}

fn field(name: &str, value: &Value) -> Vec<Fault> {
    let typed = |expected: &str, holds: bool| {
        (!holds)
            .then(|| wrong_type(name, expected, value))
            .into_iter()
            .collect::<Vec<_>>()
    };
    match name {
        "email" if value.is_string() => looks("FORMAT", name, value, Format::Email),
        "phone_number" if value.is_string() => looks("PATTERN", name, value, Format::Phone),
        "password_hash" if value.is_string() => bcrypt(name, value),
        "custom_password_hash" if value.is_object() => custom_hash(name, value),
        "mfa_factors" => match value {
            Value::Array(factors) => factors_of(name, factors),
            _ => typed("array", false),
        },
        name if TEXTS.contains(&name) => typed("string", value.is_string()),
        name if FLAGS.contains(&name) => typed("boolean", value.is_boolean()),
        name if OBJECTS.contains(&name) => typed("object", value.is_object()),
        other => vec![Fault::new(
            "NOT_PASSED",
            format!("Additional properties not allowed: {other}"),
        )],
    }
}

fn looks(code: &'static str, name: &str, value: &Value, format: Format) -> Vec<Fault> {
    let fault = format.fault(value.as_str().unwrap_or_default());
    fault
        .map(|message| Fault::at(name, code, message))
        .into_iter()
        .collect()
}

/// `$2a$10$` or `$2b$10$` and 53 characters.
fn bcrypt(name: &str, value: &Value) -> Vec<Fault> {
    let text = value.as_str().unwrap_or_default();
    let rest = text
        .strip_prefix("$2a$10$")
        .or_else(|| text.strip_prefix("$2b$10$"));
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    if rest.is_some_and(|rest| rest.len() == 53 && rest.bytes().all(is_digit)) {
        return Vec::new();
    }
    let message = r"String does not match pattern ^\$2[ab]\$10\$[./A-Za-z0-9]{53}$";
    vec![Fault::at(name, "PATTERN", message)]
}

fn custom_hash(name: &str, value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    match value.get("algorithm") {
        None => faults.push(missing(name, "algorithm")),
        Some(Value::String(text)) if ALGORITHMS.contains(&text.as_str()) => {}
        Some(other) => faults.push(Fault::at(
            &format!("{name}.algorithm"),
            "ENUM_MISMATCH",
            format!("No enum match for: {}", other.as_str().unwrap_or_default()),
        )),
    }
    match value.get("hash") {
        None => faults.push(missing(name, "hash")),
        Some(hash) if !hash.is_object() => {
            faults.push(wrong_type(&format!("{name}.hash"), "object", hash));
        }
        Some(hash) => match hash.get("value") {
            None => faults.push(missing(&format!("{name}.hash"), "value")),
            Some(Value::String(_)) => {}
            Some(other) => faults.push(wrong_type(&format!("{name}.hash.value"), "string", other)),
        },
    }
    faults
}

fn factors_of(name: &str, factors: &[Value]) -> Vec<Fault> {
    if factors.is_empty() {
        let message = "Array is too short (0), minimum 1";
        return vec![Fault::at(name, "ARRAY_LENGTH_SHORT", message)];
    }
    if factors.len() > 10 {
        let message = format!("Array is too long ({}), maximum 10", factors.len());
        return vec![Fault::at(name, "ARRAY_LENGTH_LONG", message)];
    }
    let known = |factor: &Value| {
        let member = |kind: &str, key: &str| {
            let text = factor.get(kind)?.get(key)?.as_str()?;
            Some(match kind {
                "totp" => text
                    .bytes()
                    .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')),
                "phone" => Format::Phone.fault(text).is_none(),
                _ => Format::Email.fault(text).is_none(),
            })
        };
        let kinds = [("totp", "secret"), ("phone", "value"), ("email", "value")];
        kinds
            .iter()
            .any(|(kind, key)| member(kind, key) == Some(true))
    };
    factors
        .iter()
        .enumerate()
        .filter(|(_, factor)| !known(factor))
        .map(|(n, _)| {
            Fault::at(
                &format!("{name}[{n}]"),
                "ANY_OF_MISSING",
                "Data does not match any schemas from 'anyOf'",
            )
        })
        .collect()
}

fn missing(path: &str, name: &str) -> Fault {
    let message = format!("Missing required property: {name}");
    Fault::at(path, "OBJECT_REQUIRED", message)
}

fn wrong_type(path: &str, expected: &str, found: &Value) -> Fault {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let message = format!("Expected type {expected} but found type {found}");
    Fault::at(path, "INVALID_TYPE", message)
}

/// The row with every secret hidden.
pub(super) fn masked(row: &Value) -> Value {
    const SECRETS: [&str; 4] = ["password_hash", "hash", "salt", "secret"];
    fn hide(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(map.iter().map(member).collect()),
            Value::Array(items) => items.iter().map(hide).collect(),
            other => other.clone(),
        }
    }
    fn member((key, value): (&String, &Value)) -> (String, Value) {
        let hidden = if SECRETS.contains(&key.as_str()) {
            stars(value)
        } else {
            hide(value)
        };
        (key.clone(), hidden)
    }
    fn stars(value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), stars_but_settings(key, value)))
                    .collect(),
            ),
            _ => json!("*****"),
        }
    }
    fn stars_but_settings(key: &str, value: &Value) -> Value {
        match key {
            "value" | "key" => stars(value),
            _ => value.clone(),
        }
    }
    match row {
        // Metadata is nobody's secret and comes back as it is.
        Value::Object(fields) => {
            let shown: Map<String, Value> = fields
                .iter()
                .map(|(key, value)| match key.as_str() {
                    "app_metadata" | "user_metadata" => (key.clone(), value.clone()),
                    _ => member((key, value)),
                })
                .collect();
            Value::Object(shown)
        }
        other => hide(other),
    }
}

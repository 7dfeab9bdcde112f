//! Auth0's schema of a row to import, checked before anything is sent.
//!
//! Source: Auth0, "Bulk User Import Database Schema and Examples". Codes are those that Auth0 itself
//! reports.

use serde_json::{Map, Value};

/// A fault of a row, in Auth0's shape.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RowFault {
    /// Auth0's code.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The field, dotted; absent when it is about the row as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl RowFault {
    pub(crate) fn new(code: &'static str, path: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            path: (!path.is_empty()).then(|| path.to_owned()),
        }
    }
}

/// Keys of `app_metadata` that Auth0 keeps for itself.
const RESERVED: [&str; 18] = [
    "__tenant",
    "_id",
    "blocked",
    "clientID",
    "created_at",
    "email",
    "email_verified",
    "globalClientID",
    "global_client_id",
    "identities",
    "lastIP",
    "lastLogin",
    "loginsCount",
    "metadata",
    "multifactor",
    "multifactor_last_modified",
    "updated_at",
    "user_id",
];

const ALGORITHMS: [&str; 11] = [
    "argon2", "bcrypt", "hmac", "ldap", "md4", "md5", "pbkdf2", "scrypt", "sha1", "sha256",
    "sha512",
];
const DIGESTS: [&str; 9] = [
    "md4",
    "md5",
    "ripemd160",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "whirlpool",
];
const PASSWORD_ENCODINGS: [&str; 6] = ["ascii", "utf8", "utf16le", "ucs2", "latin1", "binary"];

/// Checks a row. Empty when it is good.
#[must_use]
pub fn check(row: &Value) -> Vec<RowFault> {
    let mut checker = Checker(Vec::new());
    match row {
        Value::Object(row) => checker.row(row),
        _ => checker.fault("INVALID_TYPE", "", "a row must be a JSON object"),
    }
    checker.0
}

/// The row with whatever is secret in it replaced by `*****`, as Auth0 shows it.
#[must_use]
pub(super) fn masked(row: &Value) -> Value {
    const MASK: &str = "*****";
    let mut row = row.clone();
    if let Value::Object(map) = &mut row {
        for key in [
            "password_hash",
            "custom_password_hash",
            "password",
            "mfa_factors",
        ] {
            if let Some(value) = map.get_mut(key) {
                *value = MASK.into();
            }
        }
    }
    row
}

struct Checker(Vec<RowFault>);

impl Checker {
    fn fault(&mut self, code: &'static str, path: &str, message: impl Into<String>) {
        self.0.push(RowFault::new(code, path, message));
    }

    fn row(&mut self, row: &Map<String, Value>) {
        match row.get("email") {
            None => self.fault(
                "OBJECT_REQUIRED",
                "email",
                "Missing required property: email",
            ),
            Some(Value::String(email)) if is_email(email) => {}
            Some(Value::String(_)) => {
                self.fault(
                    "FORMAT",
                    "email",
                    "Object didn't pass validation for format email",
                );
            }
            Some(_) => self.wrong_type("email", "string"),
        }
        for (key, value) in row {
            match key.as_str() {
                "email" => {}
                "email_verified" | "phone_verified" | "blocked" => self.boolean(key, value),
                "user_id" | "username" | "given_name" | "family_name" | "name" | "nickname"
                | "picture" => self.text(key, value, |_| true, ""),
                "phone_number" => self.text(key, value, is_phone, r"^\+[0-9]{1,15}$"),
                "password_hash" => {
                    self.text(
                        key,
                        value,
                        is_bcrypt,
                        "a bcrypt hash: $2a$ or $2b$, 10 rounds",
                    );
                }
                "custom_password_hash" => self.custom_hash(value),
                "app_metadata" => self.metadata(key, value, &RESERVED),
                "user_metadata" => self.metadata(key, value, &[]),
                "mfa_factors" => self.factors(value),
                _ => {
                    let key: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
                    self.fault(
                        "NOT_PASSED",
                        &key,
                        format!("Additional properties not allowed: {key}"),
                    );
                }
            }
        }
        if row.contains_key("password_hash") && row.contains_key("custom_password_hash") {
            self.fault(
                "NOT_PASSED",
                "custom_password_hash",
                "password_hash and custom_password_hash exclude each other",
            );
        }
    }

    fn wrong_type(&mut self, path: &str, wanted: &str) {
        self.fault("INVALID_TYPE", path, format!("Expected type {wanted}"));
    }

    fn boolean(&mut self, path: &str, value: &Value) {
        if !value.is_boolean() {
            self.wrong_type(path, "boolean");
        }
    }

    fn text(&mut self, path: &str, value: &Value, good: impl Fn(&str) -> bool, form: &str) {
        match value.as_str() {
            None => self.wrong_type(path, "string"),
            Some(text) if good(text) => {}
            Some(_) => self.fault(
                "PATTERN",
                path,
                format!("String does not match pattern: {form}"),
            ),
        }
    }

    fn one_of(&mut self, path: &str, value: Option<&Value>, allowed: &[&str]) {
        match value {
            None => {}
            Some(Value::String(text)) if allowed.contains(&text.as_str()) => {}
            Some(Value::String(_)) => self.fault(
                "ENUM_MISMATCH",
                path,
                format!("must be one of {}", allowed.join(", ")),
            ),
            Some(_) => self.wrong_type(path, "string"),
        }
    }

    fn metadata(&mut self, path: &str, value: &Value, reserved: &[&str]) {
        let Value::Object(map) = value else {
            return self.wrong_type(path, "object");
        };
        for key in map.keys() {
            let shown: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
            if reserved.contains(&key.as_str()) {
                self.fault(
                    "NOT_PASSED",
                    path,
                    format!("{shown} is a key that Auth0 keeps for itself"),
                );
            } else if key.contains('.') || key.starts_with('$') {
                self.fault(
                    "NOT_PASSED",
                    path,
                    format!("the key {shown} must not contain a dot or start with $"),
                );
            }
        }
    }

    fn custom_hash(&mut self, value: &Value) {
        const PATH: &str = "custom_password_hash";
        let Value::Object(hash) = value else {
            return self.wrong_type(PATH, "object");
        };
        for key in hash.keys() {
            let known = [
                "algorithm",
                "hash",
                "salt",
                "password",
                "keylen",
                "cost",
                "blockSize",
                "parallelization",
            ];
            if !known.contains(&key.as_str()) {
                self.fault("NOT_PASSED", PATH, "Additional properties not allowed");
            }
        }
        let algorithm = hash.get("algorithm").and_then(Value::as_str);
        match hash.get("algorithm") {
            None => self.fault(
                "OBJECT_REQUIRED",
                "custom_password_hash.algorithm",
                "Missing required property: algorithm",
            ),
            value => self.one_of("custom_password_hash.algorithm", value, &ALGORITHMS),
        }
        match hash.get("hash") {
            None => self.fault(
                "OBJECT_REQUIRED",
                "custom_password_hash.hash",
                "Missing required property: hash",
            ),
            Some(Value::Object(inner)) => {
                if !inner.get("value").is_some_and(Value::is_string) {
                    self.fault(
                        "OBJECT_REQUIRED",
                        "custom_password_hash.hash.value",
                        "Missing required property: value",
                    );
                }
                let encodings: &[&str] = match algorithm {
                    Some("argon2" | "bcrypt" | "ldap" | "pbkdf2") => &["utf8"],
                    Some("scrypt") => &["base64", "hex", "utf8"],
                    _ => &["base64", "hex"],
                };
                self.one_of(
                    "custom_password_hash.hash.encoding",
                    inner.get("encoding"),
                    encodings,
                );
                if algorithm == Some("hmac") {
                    self.hmac(inner);
                }
            }
            Some(_) => self.wrong_type("custom_password_hash.hash", "object"),
        }
        if let Some(salt) = hash.get("salt") {
            match (salt, algorithm) {
                (_, Some("argon2" | "ldap")) => self.fault(
                    "NOT_PASSED",
                    "custom_password_hash.salt",
                    "this algorithm takes no salt beside the hash",
                ),
                (Value::Object(salt), _) => {
                    self.one_of(
                        "custom_password_hash.salt.position",
                        salt.get("position"),
                        &["prefix", "suffix"],
                    );
                }
                _ => self.wrong_type("custom_password_hash.salt", "object"),
            }
        }
        if let Some(password) = hash.get("password") {
            let encoding = password.get("encoding");
            self.one_of(
                "custom_password_hash.password.encoding",
                encoding,
                &PASSWORD_ENCODINGS,
            );
        }
        if algorithm == Some("scrypt") && !hash.get("keylen").is_some_and(Value::is_u64) {
            self.fault(
                "OBJECT_REQUIRED",
                "custom_password_hash.keylen",
                "Missing required property: keylen",
            );
        }
    }

    fn hmac(&mut self, hash: &Map<String, Value>) {
        match hash.get("digest") {
            None => self.fault(
                "OBJECT_REQUIRED",
                "custom_password_hash.hash.digest",
                "Missing required property: digest",
            ),
            value => self.one_of("custom_password_hash.hash.digest", value, &DIGESTS),
        }
        let key = hash.get("key").and_then(|key| key.get("value"));
        if !key.is_some_and(Value::is_string) {
            self.fault(
                "OBJECT_REQUIRED",
                "custom_password_hash.hash.key.value",
                "Missing required property: value",
            );
        }
    }

    fn factors(&mut self, value: &Value) {
        let Value::Array(factors) = value else {
            return self.wrong_type("mfa_factors", "array");
        };
        if factors.is_empty() {
            self.fault(
                "ARRAY_LENGTH_SHORT",
                "mfa_factors",
                "needs at least one factor",
            );
        }
        if factors.len() > 10 {
            self.fault(
                "ARRAY_LENGTH_LONG",
                "mfa_factors",
                "takes at most 10 factors",
            );
        }
        for (at, factor) in factors.iter().enumerate() {
            let path = format!("mfa_factors.{at}");
            let entry = factor.as_object().filter(|map| map.len() == 1);
            let Some((kind, inner)) = entry.and_then(|map| map.iter().next()) else {
                self.fault("ANY_OF_MISSING", &path, "must be one of totp, phone, email");
                continue;
            };
            let value = |name: &str| inner.get(name).and_then(Value::as_str);
            let good = match kind.as_str() {
                "totp" => value("secret").is_some_and(is_base32),
                "phone" => value("value").is_some_and(is_phone),
                "email" => value("value").is_some_and(is_email),
                _ => {
                    self.fault("ANY_OF_MISSING", &path, "must be one of totp, phone, email");
                    continue;
                }
            };
            if !good {
                self.fault("PATTERN", &path, format!("is no valid {kind} factor"));
            }
        }
    }
}

/// `local@domain`, one `@`, no white space, no empty label. Auth0's own check is no stricter.
pub(crate) fn is_email(text: &str) -> bool {
    let mut parts = text.split('@');
    let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let odd = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>' | '"' | '\\')
    };
    !local.is_empty()
        && local.len() <= 64
        && domain.len() <= 255
        && !text.contains(odd)
        && domain.contains('.')
        && domain
            .split('.')
            .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_bcrypt(text: &str) -> bool {
    let rest = text
        .strip_prefix("$2a$10$")
        .or_else(|| text.strip_prefix("$2b$10$"));
    rest.is_some_and(|rest| {
        rest.len() == 53
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
    })
}

fn is_base32(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn takes_what_auth0_takes() {
        let hash = format!("$2b$10${}", "a".repeat(53));
        for row in [
            json!({"email": "mia@example.org"}),
            json!({"email": "mia@example.org", "email_verified": true, "user_id": "1", "username": "mia",
                "phone_number": "+391234", "password_hash": hash, "app_metadata": {"groups": []},
                "user_metadata": {"email": "x"}, "mfa_factors": [{"totp": {"secret": "ABC2"}}]}),
            json!({"email": "mia@example.org", "custom_password_hash": {"algorithm": "sha256",
                "hash": {"value": "ab", "encoding": "hex"}, "salt": {"value": "x", "position": "prefix"}}}),
        ] {
            assert_eq!(check(&row), [], "{row}");
        }
    }

    #[test]
    fn names_the_field_of_every_fault() {
        let faults: Vec<String> = [
            json!("mia@example.org"),
            json!({}),
            json!({"email": 1}),
            json!({"email": "mia"}),
            json!({"email": "a@evil@good.example"}),
            json!({"email": "mia@example.org", "emailVerified": true, "blocked": "no"}),
            json!({"email": "mia@example.org", "phone_number": "0123"}),
            json!({"email": "mia@example.org", "password_hash": "secret"}),
            json!({"email": "mia@example.org", "app_metadata": {"email": 1, "a.b": 2}}),
            json!({"email": "mia@example.org", "user_metadata": []}),
            json!({"email": "mia@example.org", "custom_password_hash": {"algorithm": "rot13", "hash": {}}}),
            json!({"email": "mia@example.org", "custom_password_hash": {"algorithm": "hmac", "hash": {"value": "x"}}}),
            json!({"email": "mia@example.org", "mfa_factors": []}),
            json!({"email": "mia@example.org", "mfa_factors": [{"totp": {"secret": "1"}}, {"sms": {}}]}),
        ]
        .iter()
        .map(|row| serde_json::to_string(&check(row)).unwrap())
        .collect();
        insta::assert_snapshot!(faults.join("\n"));
    }

    #[test]
    fn threat_6_an_address_has_one_at_sign() {
        for bad in [
            "a@evil@good.com",
            "@good.com",
            "a@",
            "a@good",
            "a b@good.com",
            "a@good..com",
            "a@-good.com",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
        assert!(is_email("m.i+a@mail.example.org"));
    }

    #[test]
    fn hides_secrets() {
        let row = json!({"email": "mia@example.org", "password_hash": "canary", "custom_password_hash": {"hash": {"value": "canary"}}});
        let shown = masked(&row).to_string();
        assert!(
            !shown.contains("canary") && shown.contains("mia@example.org"),
            "{shown}"
        );
    }
}

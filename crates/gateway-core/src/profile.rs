//! What the services behind see of a person: claims, rendered once per token set.
//!
//! The session keeps the bytes that `/userinfo` and `/auth` answer with, so that a check does no
//! JSON work.

use auth0_api::AccessToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Map, Value};

/// Claims about the token rather than the person; left out of a profile.
const PROTOCOL_CLAIMS: [&str; 12] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nonce",
    "at_hash",
    "c_hash",
    "azp",
    "auth_time",
    "sid",
    "amr",
    "acr",
];

/// Makes a profile from an ID token's claims.
///
/// * Protocol claims go, `sub` stays.
/// * Each claim in `namespaces` is renamed to its last path segment; `sub` is never replaced.
/// * Where absent, `groups` is `app_metadata.groups`, and `permissions` is the claim of that name in
///   the access token.
#[must_use]
pub fn profile(
    mut claims: Map<String, Value>,
    namespaces: &[String],
    access_token: &AccessToken,
) -> Map<String, Value> {
    for name in PROTOCOL_CLAIMS {
        claims.remove(name);
    }
    for namespace in namespaces {
        let short = short_name(namespace);
        if short.is_empty() || short == "sub" {
            continue;
        }
        if let Some(value) = claims.remove(namespace) {
            claims.insert(short.to_owned(), value);
        }
    }
    if !claims.contains_key("groups")
        && let Some(groups) = claims
            .get("app_metadata")
            .and_then(|data| data.get("groups"))
    {
        let groups = groups.clone();
        claims.insert("groups".to_owned(), groups);
    }
    if !claims.contains_key("permissions")
        && let Some(permissions) = permissions(access_token)
    {
        claims.insert("permissions".to_owned(), permissions);
    }
    claims
}

/// The last path segment of a claim's whole name.
fn short_name(namespace: &str) -> &str {
    namespace
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

/// The `permissions` claim of an access token that is a JWT. It came straight from the token
/// endpoint, so its signature is not what makes it ours. Opaque tokens (five parts, an empty second
/// one) have none.
fn permissions(access_token: &AccessToken) -> Option<Value> {
    let mut parts = access_token.expose().split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let mut claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    claims.remove("permissions").filter(Value::is_array)
}

/// The claims inside an ID token that was verified when it was stored.
pub(crate) fn stored_claims(id_token: &str) -> Option<Map<String, Value>> {
    let payload = id_token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// A rendered profile: the body of `/userinfo` and the header values of `/auth`.
///
/// Laid out as body, header JSON, user id, groups, and the lengths of the last three. The header JSON
/// is empty when the body can serve (all of it ASCII).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendered<'a> {
    /// The body of `/userinfo`.
    pub body: &'a [u8],
    /// The header `miauserproperties`: the body in ASCII.
    pub properties: &'a [u8],
    /// The header `miauserid`.
    pub user_id: &'a [u8],
    /// The header `miausergroups`.
    pub groups: &'a [u8],
}

const TRAILER: usize = 12;

impl<'a> Rendered<'a> {
    /// Renders a profile.
    #[must_use]
    pub fn render(profile: &Map<String, Value>) -> Bytes {
        // A map of JSON values always renders.
        let body = Value::Object(profile.clone()).to_string();
        let properties = if body.bytes().all(is_header_byte) {
            String::new()
        } else {
            escape_non_ascii(&body)
        };
        let user_id = header_safe(
            profile
                .get("sub")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        );
        let groups = match profile.get("groups") {
            Some(Value::Array(groups)) => groups
                .iter()
                .filter_map(Value::as_str)
                .map(header_safe)
                .collect::<Vec<_>>()
                .join(","),
            Some(Value::String(group)) => header_safe(group),
            _ => String::new(),
        };
        let mut data = Vec::with_capacity(
            body.len() + properties.len() + user_id.len() + groups.len() + TRAILER,
        );
        for part in [&body, &properties, &user_id, &groups] {
            data.extend_from_slice(part.as_bytes());
        }
        for part in [&properties, &user_id, &groups] {
            data.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        Bytes::from(data)
    }

    /// Takes the bytes apart; `None` when they are not such bytes.
    #[must_use]
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (rest, trailer) = data.split_at_checked(data.len().checked_sub(TRAILER)?)?;
        let length = |at: usize| {
            let bytes = trailer.get(at..at + 4)?;
            usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let (rest, groups) = rest.split_at_checked(rest.len().checked_sub(length(8)?)?)?;
        let (rest, user_id) = rest.split_at_checked(rest.len().checked_sub(length(4)?)?)?;
        let (body, properties) = rest.split_at_checked(rest.len().checked_sub(length(0)?)?)?;
        let properties = if properties.is_empty() {
            body
        } else {
            properties
        };
        Some(Self {
            body,
            properties,
            user_id,
            groups,
        })
    }
}

/// Visible ASCII and the space. JSON escapes the control characters but for the last one, DEL.
const fn is_header_byte(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// The same JSON in ASCII: other characters can stand in strings only, so each becomes its `\u` form.
fn escape_non_ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if u8::try_from(character).is_ok_and(is_header_byte) {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// Percent-encodes what a header cannot hold, and the comma that separates groups.
fn header_safe(text: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNSAFE: &AsciiSet = &CONTROLS.add(b',').add(b'%');
    utf8_percent_encode(text, UNSAFE).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    fn jwt(payload: &Value) -> AccessToken {
        AccessToken::new(format!(
            "e30.{}.c2ln",
            URL_SAFE_NO_PAD.encode(payload.to_string())
        ))
    }

    #[test]
    fn keeps_the_person_and_drops_the_protocol() {
        let claims = map(json!({
            "sub": "auth0|1", "iss": "i", "aud": "a", "exp": 1, "iat": 1, "nonce": "n", "sid": "s",
            "email": "mia@example.org",
            "https://mia-platform.eu/app_metadata": {"groups": ["users", "admins"]},
        }));
        let access = jwt(&json!({"permissions": ["read:orders"]}));
        let profile = profile(
            claims,
            &["https://mia-platform.eu/app_metadata".to_owned()],
            &access,
        );
        insta::assert_snapshot!(Value::Object(profile), @r#"{"app_metadata":{"groups":["users","admins"]},"email":"mia@example.org","groups":["users","admins"],"permissions":["read:orders"],"sub":"auth0|1"}"#);
    }

    #[test]
    fn what_the_claims_say_wins_over_what_is_derived() {
        let claims = map(json!({
            "sub": "auth0|1", "groups": ["own"], "permissions": ["own"],
            "app_metadata": {"groups": ["other"]}, "https://x.eu/sub": "forged",
        }));
        let access = jwt(&json!({"permissions": ["other"]}));
        let profile = profile(claims, &["https://x.eu/sub".to_owned()], &access);
        assert_eq!(profile["sub"], "auth0|1");
        assert_eq!(profile["groups"], json!(["own"]));
        assert_eq!(profile["permissions"], json!(["own"]));
    }

    #[test]
    fn an_opaque_access_token_has_no_permissions() {
        for token in ["", "abc", "e30..a.b.c", "e30.####.x", "a.b"] {
            assert_eq!(permissions(&AccessToken::new(token)), None, "{token}");
        }
    }

    #[test]
    fn renders_and_reads_back() {
        let profile =
            map(json!({"sub": "samlp|Zoë, B", "name": "Zoë 🦀", "groups": ["a,b", "ü\n"]}));
        let data = Rendered::render(&profile);
        let rendered = Rendered::read(&data).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(rendered.body).unwrap(),
            Value::Object(profile.clone())
        );
        assert!(rendered.properties.is_ascii());
        assert_eq!(
            serde_json::from_slice::<Value>(rendered.properties).unwrap(),
            Value::Object(profile)
        );
        assert_eq!(rendered.user_id, b"samlp|Zo%C3%AB%2C B");
        assert_eq!(rendered.groups, b"a%2Cb,%C3%BC%0A");
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(data: Vec<u8>) {
            let _ = Rendered::read(&data);
        }

        #[test]
        fn any_profile_reads_back(sub in ".*", groups in proptest::collection::vec(".*", 0..4)) {
            let profile = map(json!({"sub": sub, "groups": groups}));
            let data = Rendered::render(&profile);
            let rendered = Rendered::read(&data).unwrap();
            proptest::prop_assert_eq!(serde_json::from_slice::<Value>(rendered.body).unwrap(), Value::Object(profile));
            for header in [rendered.properties, rendered.user_id, rendered.groups] {
                proptest::prop_assert!(http::HeaderValue::from_bytes(header).is_ok());
            }
            proptest::prop_assert_eq!(rendered.groups.iter().filter(|byte| **byte == b',').count(), groups.len().saturating_sub(1));
        }
    }
}

//! Compact JSON Web Signatures (RFC 7515), written and read without a JWT library: the
//! tenant must be able to forge, and must not share a misreading with any client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::keys::{KeyError, KeyRing, SigningKey};
use crate::secret::base64url;

pub(crate) type Claims = Map<String, Value>;

/// A token signed by `key` with RS256.
pub(crate) fn sign(typ: &str, claims: &Claims, key: &SigningKey) -> Result<String, KeyError> {
    let header = json!({ "alg": "RS256", "typ": typ, "kid": key.kid() });
    let input = signing_input(&header, claims);
    let signature = key.sign(input.as_bytes())?;
    Ok(format!("{input}.{}", base64url(&signature)))
}

/// The first two parts of a token.
pub(crate) fn signing_input(header: &Value, claims: &Claims) -> String {
    let claims = Value::Object(claims.clone());
    format!(
        "{}.{}",
        base64url(header.to_string().as_bytes()),
        base64url(claims.to_string().as_bytes())
    )
}

/// The claims of a token that one of the published keys signed, whatever its times.
pub(crate) fn read(token: &str, keys: &KeyRing) -> Option<Claims> {
    let (input, signature) = token.rsplit_once('.')?;
    let (header, claims) = input.split_once('.')?;
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return None;
    }
    let key = keys.find(header.get("kid").and_then(Value::as_str)?)?;
    if !key.verifies(input.as_bytes(), &decode(signature)?) {
        return None;
    }
    serde_json::from_slice(&decode(claims)?).ok()
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

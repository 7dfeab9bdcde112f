//! Wrong tokens on purpose, to show that whoever checks them does.

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::jwt::{Claims, signing_input};
use crate::keys::{KeyError, SigningKey};
use crate::secret::{base64url, random_text};

/// One way in which a token is wrong. Several can be put on one token.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Forgery {
    /// A signature with one bit flipped.
    WrongSignature,
    /// Signed by a key that is not published, under the `kid` of one that is.
    ForeignKey,
    /// A `kid` that is not published.
    UnknownKid,
    /// `alg: none` and an empty signature.
    AlgNone,
    /// `alg: HS256` with the public key in PEM as the secret.
    Hs256WithPublicKey,
    /// An issuer of another tenant.
    WrongIssuer,
    /// An issuer without the trailing slash.
    IssuerWithoutSlash,
    /// An audience of another application.
    WrongAudience,
    /// The right audience beside another one, with this `azp` or none.
    SeveralAudiences {
        /// The `azp` claim; left out when unset.
        #[serde(default)]
        azp: Option<String>,
    },
    /// A nonce that nobody sent.
    WrongNonce,
    /// No nonce.
    MissingNonce,
    /// Another person's `sub`.
    OtherSubject(String),
    /// Expired an hour ago, issued eleven hours ago.
    Expired,
    /// A time claim (`exp`, `iat`, …) as a string of digits.
    TimeAsString(String),
    /// A time claim with a fraction, as in `1790000000.5`.
    TimeAsFloat(String),
    /// A time claim in an array.
    TimeAsArray(String),
    /// Any claim with any value.
    Claim {
        /// Its name.
        name: String,
        /// Its value.
        value: Value,
    },
    /// Any claim left out.
    WithoutClaim(String),
}

/// The forged token; without forgeries it is the good one.
pub(crate) fn sign_forged(
    typ: &str,
    mut claims: Claims,
    key: &SigningKey,
    forgeries: &[Forgery],
) -> Result<String, KeyError> {
    let mut header = json!({ "alg": "RS256", "typ": typ, "kid": key.kid() });
    for forgery in forgeries {
        edit(&mut header, &mut claims, forgery)?;
    }
    let input = signing_input(&header, &claims);
    let has = |forgery: &Forgery| forgeries.contains(forgery);

    let mut signature = if has(&Forgery::AlgNone) {
        Vec::new()
    } else if has(&Forgery::Hs256WithPublicKey) {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.public_pem()?.as_bytes());
        hmac::sign(&secret, input.as_bytes()).as_ref().to_vec()
    } else if has(&Forgery::ForeignKey) {
        SigningKey::generate()?.sign(input.as_bytes())?
    } else {
        key.sign(input.as_bytes())?
    };
    if has(&Forgery::WrongSignature)
        && let Some(byte) = signature.first_mut()
    {
        *byte ^= 1;
    }
    Ok(format!("{input}.{}", base64url(&signature)))
}

fn edit(header: &mut Value, claims: &mut Claims, forgery: &Forgery) -> Result<(), KeyError> {
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    match forgery {
        Forgery::WrongSignature | Forgery::ForeignKey => {}
        Forgery::UnknownKid => header["kid"] = json!(random_text(16).map_err(|_| KeyError)?),
        Forgery::AlgNone => header["alg"] = json!("none"),
        Forgery::Hs256WithPublicKey => header["alg"] = json!("HS256"),
        Forgery::WrongIssuer => set("iss", json!("https://another-tenant.example.org/")),
        Forgery::IssuerWithoutSlash => {
            if let Some(issuer) = claims.get("iss").and_then(Value::as_str) {
                let bare = issuer.trim_end_matches('/').to_owned();
                claims.insert("iss".to_owned(), json!(bare));
            }
        }
        Forgery::WrongAudience => set("aud", json!("another-application")),
        Forgery::SeveralAudiences { azp } => {
            let own = claims.get("aud").cloned().unwrap_or(Value::Null);
            claims.insert("aud".to_owned(), json!([own, "another-application"]));
            match azp {
                Some(azp) => claims.insert("azp".to_owned(), json!(azp)),
                None => claims.remove("azp"),
            };
        }
        Forgery::WrongNonce => set("nonce", json!("a-nonce-that-nobody-sent")),
        Forgery::MissingNonce => {
            claims.remove("nonce");
        }
        Forgery::OtherSubject(subject) => set("sub", json!(subject)),
        Forgery::Expired => {
            if let Some(issued) = claims.get("iat").and_then(Value::as_i64) {
                claims.insert("iat".to_owned(), json!(issued - 11 * 3600));
                claims.insert("exp".to_owned(), json!(issued - 3600));
            }
        }
        Forgery::TimeAsString(name) => wrap_time(claims, name, |time| json!(time.to_string())),
        Forgery::TimeAsFloat(name) => wrap_time(claims, name, |time| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds since the epoch fit in 52 bits for ages"
            )]
            let fraction = time as f64 + 0.5;
            json!(fraction)
        }),
        Forgery::TimeAsArray(name) => wrap_time(claims, name, |time| json!([time])),
        Forgery::Claim { name, value } => set(name, value.clone()),
        Forgery::WithoutClaim(name) => {
            claims.remove(name);
        }
    }
    Ok(())
}

fn wrap_time(claims: &mut Claims, name: &str, wrap: impl Fn(i64) -> Value) {
    if let Some(time) = claims.get(name).and_then(Value::as_i64) {
        claims.insert(name.to_owned(), wrap(time));
    }
}

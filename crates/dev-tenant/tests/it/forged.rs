//! Tokens that are wrong on purpose are wrong in the way they should be.

use dev_tenant::{DevTenant, Fault, FaultKind, Forgery};
use serde_json::{Value, json};

use crate::support::*;

async fn forged(tenant: &DevTenant, forgery: Forgery) -> String {
    tenant.inject(Fault::on("/oauth/token", FaultKind::Forge(forgery)).times(1));
    text(&password_tokens(tenant, "openid", None).await, "id_token")
}

/// The claims, whatever the signature.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn signatures_are_wrong_each_in_its_own_way() {
    let tenant = tenant().await;
    for (forgery, reason) in [
        (Forgery::WrongSignature, "InvalidSignature"),
        (Forgery::ForeignKey, "InvalidSignature"),
        (Forgery::UnknownKid, "unknown kid"),
        (Forgery::Hs256WithPublicKey, "InvalidAlgorithm"),
    ] {
        let token = forged(&tenant, forgery.clone()).await;
        let error = try_verify(&tenant, &token).await.unwrap_err();
        assert!(error.contains(reason), "{forgery:?}: {error}");
    }
    let none = forged(&tenant, Forgery::AlgNone).await;
    assert!(none.ends_with('.'));
    assert!(jsonwebtoken::decode_header(&none).is_err());
    // The fault is used up.
    let good = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    verified(&tenant, &good).await;
}

#[tokio::test]
async fn hs256_is_keyed_by_the_published_key() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    let tenant = tenant().await;
    let token = forged(&tenant, Forgery::Hs256WithPublicKey).await;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.alg, Algorithm::HS256);
    // The PEM an attacker would make of the key set.
    let keys = get(&tenant, "/.well-known/jwks.json").await.json();
    let jwk = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|jwk| jwk["kid"] == json!(header.kid))
        .unwrap();
    let pem = pem_of(jwk);
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(pem.as_bytes());
    jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
}

fn pem_of(jwk: &Value) -> String {
    use aws_lc_rs::encoding::AsDer;
    use base64::Engine as _;
    let decode = |name: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(jwk[name].as_str().unwrap())
            .unwrap()
    };
    let key = aws_lc_rs::signature::RsaPublicKeyComponents {
        n: decode("n"),
        e: decode("e"),
    };
    let der = key.as_der().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

#[tokio::test]
async fn claims_are_wrong_under_a_good_signature() {
    let tenant = tenant().await;
    type Check = fn(&Value, &Value) -> bool;
    let cases: [(Forgery, Check); 15] = [
        (Forgery::WrongIssuer, |bad, _| {
            bad["iss"] == "https://another-tenant.example.org/"
        }),
        (Forgery::IssuerWithoutSlash, |bad, good| {
            format!("{}/", bad["iss"].as_str().unwrap()) == good["iss"].as_str().unwrap()
        }),
        (Forgery::WrongAudience, |bad, _| {
            bad["aud"] == "another-application"
        }),
        (Forgery::SeveralAudiences { azp: None }, |bad, good| {
            bad["aud"][0] == good["aud"] && bad.get("azp").is_none()
        }),
        (
            Forgery::SeveralAudiences {
                azp: Some("x".into()),
            },
            |bad, _| bad["aud"].as_array().unwrap().len() == 2 && bad["azp"] == "x",
        ),
        (Forgery::WrongNonce, |bad, _| bad["nonce"].is_string()),
        (Forgery::MissingNonce, |bad, _| bad.get("nonce").is_none()),
        (Forgery::OtherSubject("auth0|x".into()), |bad, _| {
            bad["sub"] == "auth0|x"
        }),
        (Forgery::Expired, |bad, good| {
            let seconds = |value: &Value| value.as_i64().unwrap();
            seconds(&good["iat"]) - seconds(&bad["exp"]) > 3590
                && seconds(&bad["exp"]) - seconds(&bad["iat"]) == 36_000
        }),
        (Forgery::TimeAsString("exp".into()), |bad, _| {
            bad["exp"].as_str().unwrap().parse::<i64>().is_ok()
        }),
        (Forgery::TimeAsFloat("exp".into()), |bad, _| {
            bad["exp"].is_f64()
        }),
        (Forgery::TimeAsArray("iat".into()), |bad, _| {
            bad["iat"][0].is_i64()
        }),
        (
            Forgery::Claim {
                name: "exp".into(),
                value: json!(1e300),
            },
            |bad, _| bad["exp"] == json!(1e300),
        ),
        (Forgery::WithoutClaim("exp".into()), |bad, _| {
            bad.get("exp").is_none()
        }),
        (Forgery::WithoutClaim("sub".into()), |bad, _| {
            bad.get("sub").is_none()
        }),
    ];
    let good = claims(&text(
        &password_tokens(&tenant, "openid", None).await,
        "id_token",
    ));
    for (forgery, check) in cases {
        let token = forged(&tenant, forgery.clone()).await;
        assert!(
            check(&claims(&token), &good),
            "{forgery:?}: {}",
            claims(&token)
        );
        if claims(&token)["exp"].is_i64() {
            verified(&tenant, &token).await;
        }
    }
}

#[tokio::test]
async fn several_forgeries_join_on_one_token() {
    let tenant = tenant().await;
    for forgery in [Forgery::UnknownKid, Forgery::WrongIssuer] {
        tenant.inject(Fault::on("/oauth/token", FaultKind::Forge(forgery)).times(1));
    }
    let token = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    assert_eq!(claims(&token)["iss"], "https://another-tenant.example.org/");
    assert_eq!(
        try_verify(&tenant, &token).await.unwrap_err(),
        "unknown kid"
    );
}

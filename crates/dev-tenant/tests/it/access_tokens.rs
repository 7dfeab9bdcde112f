//! What access tokens look like.

use dev_tenant::{DevTenant, Seed, TenantSettings, TokenDialect};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn without_audience_it_is_opaque_and_looks_like_a_jwe() {
    let tenant = tenant().await;
    let tokens = password_tokens(&tenant, "openid", None).await;
    let token = text(&tokens, "access_token");
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 5);
    assert_eq!(parts[1], "");
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(parts[0])
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(
        header,
        json!({ "alg": "dir", "enc": "A256GCM", "iss": tenant.issuer() })
    );
}

#[tokio::test]
async fn the_example_api_has_rfc_9068_tokens_with_permissions() {
    let tenant = tenant().await;
    let tokens = password_tokens(&tenant, "openid read:orders", Some(API)).await;
    let token = verified(&tenant, &text(&tokens, "access_token")).await;
    assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(
        token.claims["aud"],
        json!([API, format!("{}userinfo", tenant.issuer())])
    );
    let claims = masked(token.claims, &["iss", "iat", "exp", "jti", "aud"]);
    insta::assert_snapshot!(claims, @r#"{"aud":"[aud]","client_id":"dev-website","exp":"[exp]","iat":"[iat]","iss":"[iss]","jti":"[jti]","permissions":["read:orders","write:orders"],"scope":"openid profile email address phone read:orders","sub":"auth0|64b0c0ffee0000000000a001"}"#);

    let again = password_tokens(&tenant, "openid read:orders", Some(API)).await;
    assert_ne!(again["access_token"], tokens["access_token"]);
}

#[tokio::test]
async fn without_openid_the_audience_is_one_text_and_there_is_no_id_token() {
    let tenant = tenant().await;
    let tokens = password_tokens(&tenant, "read:orders", Some(API)).await;
    assert_eq!(tokens["scope"], "read:orders");
    assert!(tokens.get("id_token").is_none());
    let claims = verified(&tenant, &text(&tokens, "access_token"))
        .await
        .claims;
    assert_eq!(claims["aud"], API);
}

#[tokio::test]
async fn auth0s_own_dialect_has_no_jti_and_two_of_one_second_are_the_same() {
    let mut seed = Seed::example();
    seed.apis[0].token_dialect = TokenDialect::AccessToken;
    seed.apis[0].token_lifetime = Some(60);
    seed.tenant.default_audience = Some(API.to_owned());
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();

    // Two calls in a row share a second, unless the machine is very busy.
    let mut tokens = vec![password_tokens(&tenant, "openid", None).await];
    let alike = |tokens: &[serde_json::Value]| {
        tokens
            .windows(2)
            .any(|two| two[0]["access_token"] == two[1]["access_token"])
    };
    while !alike(&tokens) {
        assert!(tokens.len() < 20, "no two tokens are the same");
        tokens.push(password_tokens(&tenant, "openid", None).await);
    }
    assert_eq!(tokens[0]["expires_in"], 60);

    let token = verified(&tenant, &text(&tokens[0], "access_token")).await;
    assert_eq!(token.header.typ.as_deref(), Some("JWT"));
    let claims = masked(token.claims, &["iss", "iat", "exp", "aud"]);
    insta::assert_snapshot!(claims, @r#"{"aud":"[aud]","azp":"dev-website","exp":"[exp]","gty":"password","iat":"[iat]","iss":"[iss]","permissions":["read:orders","write:orders"],"scope":"openid profile email address phone","sub":"auth0|64b0c0ffee0000000000a001"}"#);
}

#[tokio::test]
async fn an_organization_is_named_in_both_tokens() {
    let tenant = tenant().await;
    let code = Browser::new(&tenant)
        .code(&[("organization", "org_shop"), ("audience", API)])
        .await;
    let tokens = exchange(&tenant, &code, &[]).await.json();
    for name in ["id_token", "access_token"] {
        let claims = verified(&tenant, &text(&tokens, name)).await.claims;
        assert_eq!(claims["org_id"], "org_shop");
    }
}

#[tokio::test]
async fn nobody_gets_scopes_of_the_management_api_by_signing_in() {
    let tenant = tenant().await;
    let management = format!("{}api/v2/", tenant.issuer());
    let tokens = password_tokens(&tenant, "openid read:users", Some(&management)).await;
    assert_eq!(tokens["scope"], "openid profile email address phone");
}

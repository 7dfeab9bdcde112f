//! `/authorize`, the login page and the code.

use reqwest::StatusCode;

use crate::support::*;

#[tokio::test]
async fn a_person_signs_in_and_the_code_gives_tokens() {
    let tenant = tenant().await;
    let mut browser = Browser::new(&tenant);
    let page = browser
        .authorize(&[("nonce", "the-nonce"), ("audience", API)])
        .await;
    let done = browser
        .log_in(&page, "Mia@Example.org", "Correct-Horse-1")
        .await
        .location();
    assert!(done.as_str().starts_with(CALLBACK));
    assert_eq!(parameter(&done, "state").as_deref(), Some("the-state"));
    let code = parameter(&done, "code").unwrap();

    let answer = exchange(&tenant, &code, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let tokens = answer.json();
    assert_eq!(tokens["scope"], "openid profile email offline_access");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 86_400);

    let id = verified(&tenant, &text(&tokens, "id_token")).await;
    assert_eq!(id.header.typ.as_deref(), Some("JWT"));
    let claims = masked(id.claims, &["iss", "iat", "exp", "sid", "updated_at"]);
    insta::assert_json_snapshot!(claims, @r#"
    {
      "aud": "dev-website",
      "email": "mia@example.org",
      "email_verified": true,
      "exp": "[exp]",
      "family_name": "Rossi",
      "given_name": "Mia",
      "https://mia-platform.eu/app_metadata": {
        "groups": [
          "users",
          "admin"
        ]
      },
      "https://mia-platform.eu/user_metadata": {
        "lang": "it"
      },
      "iat": "[iat]",
      "iss": "[iss]",
      "name": "Mia Rossi",
      "nickname": "mia",
      "nonce": "the-nonce",
      "picture": "https://s.gravatar.com/avatar/2185f8d9db3e25555b813ec60e4873cc5452aa80dc94ef6fd231b751c8c8dd25",
      "sid": "[sid]",
      "sub": "auth0|64b0c0ffee0000000000a001",
      "updated_at": "[updated_at]"
    }
    "#);
}

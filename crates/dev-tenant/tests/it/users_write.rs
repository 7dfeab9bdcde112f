//! Creation, changes and deletion of people by the Management API.

use dev_tenant::{Connection, DevTenant, Seed, SeedUser, TenantSettings};
use serde_json::json;

use crate::support::*;

const DATABASE: &str = "Username-Password-Authentication";

#[tokio::test]
async fn a_new_user_gets_defaults_and_can_sign_in() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let answer = api
        .post(
            "/users",
            &json!({
                "connection": DATABASE, "email": "New@Example.org", "password": "Correct-Horse-7",
                "user_id": "my-own", "blocked": false, "user_metadata": {}, "verify_email": false,
            }),
        )
        .await;
    assert_eq!(answer.status, 201);
    let user = masked(answer.json(), &["created_at", "updated_at", "picture"]);
    insta::assert_snapshot!(user, @r#"{"blocked":false,"created_at":"[created_at]","email":"new@example.org","email_verified":false,"identities":[{"connection":"Username-Password-Authentication","isSocial":false,"provider":"auth0","user_id":"my-own"}],"name":"new@example.org","nickname":"new","picture":"[picture]","updated_at":"[updated_at]","user_id":"auth0|my-own","user_metadata":{}}"#);
    let tokens = token(
        &tenant,
        &[
            ("grant_type", "password"),
            ("username", "new@example.org"),
            ("password", "Correct-Horse-7"),
        ],
    )
    .await;
    assert_eq!(tokens.status, 200, "{}", tokens.text);
    let random = api
        .post("/users", &json!({ "connection": DATABASE, "email": "b@example.org", "password": "Correct-Horse-7" }))
        .await
        .json();
    assert_eq!(text(&random, "user_id").len(), "auth0|".len() + 24);
    assert_eq!(tenant.user_count(), 7);
    assert_eq!(tenant.users().len(), 7);
}

#[tokio::test]
async fn what_a_new_user_must_be() {
    let mut seed = Seed::example();
    seed.connections.push(Connection {
        strategy: "samlp".to_owned(),
        ..Connection::new("company")
    });
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    let base = json!({ "connection": DATABASE, "email": "new@example.org", "password": "Correct-Horse-7" });
    let mut lines = String::new();
    for (key, value) in [
        ("connection", None),
        ("connection", Some(json!(""))),
        ("connection", Some(json!("nowhere"))),
        ("connection", Some(json!("company"))),
        ("connection", Some(json!("employees"))),
        ("email", None),
        ("email", Some(json!("abc"))),
        ("email", Some(json!(7))),
        ("email", Some(json!("MIA@example.org"))),
        ("password", None),
        ("password", Some(json!("short"))),
        ("username", Some(json!("new"))),
        ("user_id", Some(json!("a b"))),
        ("user_id", Some(json!("64b0c0ffee0000000000a001"))),
        ("name", Some(json!("x".repeat(301)))),
        ("given_name", Some(json!(""))),
        ("phone_number", Some(json!("123"))),
        ("picture", Some(json!("not a url"))),
        ("blocked", Some(json!("yes"))),
        ("app_metadata", Some(json!([]))),
        ("app_metadata", Some(json!({ "user_id": 1 }))),
        ("user_metadata", Some(json!({ "a.b": 1 }))),
        ("groups", Some(json!([]))),
    ] {
        let mut body = base.clone();
        match value {
            Some(value) => body[key] = value,
            None => drop(body.as_object_mut().unwrap().remove(key)),
        }
        lines.push_str(&api.post("/users", &body).await.line());
        lines.push('\n');
    }
    insta::assert_snapshot!(lines, @r#"
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Missing required property: connection'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String is too short (0 chars), minimum 1' on property connection (Name of the connection this user should be created in).","statusCode":400}
    400 {"error":"Bad Request","message":"Connection does not exist.","statusCode":400}
    400 {"error":"Bad Request","message":"Connection does not support user creation through the API. It must either be a database or passwordless connection.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Missing required property: username'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Missing required property: email'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Object didn't pass validation for format email: abc' on property email (The user's email).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Expected type string but found type integer' on property email (The user's email).","statusCode":400}
    409 {"error":"Conflict","errorCode":"auth0_idp_error","message":"The user already exists.","statusCode":409}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Missing required property: password'.","statusCode":400}
    400 {"error":"Bad Request","message":"PasswordStrengthError: Password is too weak","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot set username for connection without requires_username.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String does not match pattern ^\\S*$: a b' on property user_id (The external user's id provided by the identity provider).","statusCode":400}
    409 {"error":"Conflict","errorCode":"auth0_idp_error","message":"The user already exists.","statusCode":409}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String is too long (301 chars), maximum 300' on property name (The user's full name).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String is too short (0 chars), minimum 1' on property given_name (The user's given name(s)).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String does not match pattern ^\\+[0-9]{1,15}$: 123' on property phone_number (The user's phone number (following the E.164 recommendation)).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Object didn't pass validation for format strict-uri: not a url' on property picture (A URI pointing to the user's picture).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Expected type boolean but found type string' on property blocked (Whether this user was blocked by an administrator).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Expected type object but found type array' on property app_metadata (Data the user has read-only access to).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Invalid metadata key: user_id'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Invalid metadata key: a.b'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Additional properties not allowed: groups'.","statusCode":400}
    "#);
    assert_eq!(tenant.user_count(), 5);
    let elsewhere = json!({
        "connection": "employees", "email": "mia@example.org", "username": "mia", "password": "Correct-Horse-7",
    });
    assert_eq!(
        api.post("/users", &elsewhere).await.status,
        201,
        "another connection"
    );
    insta::assert_snapshot!(api.send("POST", "/users", None).await.line(), @r#"400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Missing required property: connection'.","statusCode":400}"#);
}

#[tokio::test]
async fn metadata_merges_at_the_first_level() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let patch = async |body: serde_json::Value| {
        let answer = api.patch(MIA, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let user = answer.json();
        (user["app_metadata"].clone(), user["user_metadata"].clone())
    };
    let (app, user) = patch(json!({
        "app_metadata": { "plan": { "name": "gold", "since": 2020 } }, "user_metadata": { "size": 1 },
    }))
    .await;
    assert_eq!(
        app,
        json!({ "groups": ["users", "admin"], "plan": { "name": "gold", "since": 2020 } })
    );
    assert_eq!(user, json!({ "lang": "it", "size": 1 }));
    let (app, user) = patch(json!({
        "app_metadata": { "plan": { "name": "free" }, "groups": null }, "user_metadata": { "lang": null },
    }))
    .await;
    assert_eq!(app, json!({ "plan": { "name": "free" } }));
    assert_eq!(user, json!({ "size": 1 }));
    let (app, user) = patch(json!({ "app_metadata": {}, "user_metadata": {} })).await;
    assert!(app.is_null());
    assert_eq!(user, json!({}));
}

#[tokio::test]
async fn attributes_are_set_and_unset() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let user = api
        .patch(
            MIA,
            &json!({
                "name": "Mia R.", "family_name": null, "phone_number": "+391234", "connection": DATABASE,
                "email": "Mia.Rossi@example.org", "verify_email": false,
            }),
        )
        .await
        .json();
    assert_eq!(user["name"], "Mia R.");
    assert!(user.get("family_name").is_none());
    assert_eq!(
        (&user["email"], &user["email_verified"]),
        (&json!("mia.rossi@example.org"), &json!(false))
    );
    assert!(text(&user, "updated_at") > text(&user, "created_at"));
    assert_eq!(tenant.user_id("+391234").as_deref(), Some(MIA));
    assert_eq!(tenant.user_id("mia@example.org"), None);
    let verified = api
        .patch(
            MIA,
            &json!({ "email": "mia@example.org", "email_verified": true }),
        )
        .await;
    assert_eq!(verified.json()["email_verified"], true);
    assert_eq!(api.patch(MIA, &json!({})).await.status, 200);
}

#[tokio::test]
async fn what_a_change_must_not_be() {
    let mut seed = Seed::example();
    seed.connections.push(Connection {
        strategy: "samlp".to_owned(),
        ..Connection::new("company")
    });
    seed.users.push(SeedUser {
        user_id: Some("samlp|company|zoe".to_owned()),
        connection: "company".to_owned(),
        ..SeedUser::new("zoe@example.org", "")
    });
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    let mut lines = String::new();
    for (id, body) in [
        (
            MIA,
            json!({ "password": "Correct-Horse-8", "email": "x@example.org" }),
        ),
        (
            MIA,
            json!({ "password": "Correct-Horse-8", "email_verified": true }),
        ),
        (MIA, json!({ "username": "mia", "email": "x@example.org" })),
        (MIA, json!({ "username": "mia", "email_verified": true })),
        (
            MIA,
            json!({ "username": "mia", "password": "Correct-Horse-8" }),
        ),
        (MIA, json!({ "username": "mia" })),
        (MIA, json!({ "user_id": "auth0|x", "identities": [] })),
        (MIA, json!({ "connection": "" })),
        (MIA, json!({ "connection": "employees" })),
        (MIA, json!({ "email": "alice@example.org" })),
        (MIA, json!({ "email": null })),
        (MIA, json!({ "email": "nothing" })),
        (MIA, json!({ "password": "short" })),
        (MIA, json!({ "app_metadata": { "email": 1 } })),
        (MIA, json!([])),
        ("samlp|company|zoe", json!({ "email": "x@example.org" })),
        (
            "samlp|company|zoe",
            json!({ "password": "Correct-Horse-8" }),
        ),
        (
            "samlp|company|zoe",
            json!({ "name": "Zoe", "picture": "https://example.org/z" }),
        ),
        ("samlp|company|zoe", json!({ "verify_email": true })),
        ("auth0|nobody", json!({ "name": "x" })),
        ("nobody", json!({ "name": "x" })),
    ] {
        lines.push_str(&api.patch(id, &body).await.line());
        lines.push('\n');
    }
    insta::assert_snapshot!(lines, @r#"
    400 {"error":"Bad Request","message":"Cannot update password and email simultaneously.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot update password and email_verified simultaneously.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot update username and email simultaneously.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot update username and email_verified simultaneously.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot update username and password simultaneously.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot set username for connection without requires_username.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Additional properties not allowed: identities,user_id'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'String is too short (0 chars), minimum 1' on property connection (Name of the connection to target for this user update).","statusCode":400}
    400 {"error":"Bad Request","message":"Connection does not exist.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"auth0_idp_error","message":"The specified new email already exists","statusCode":400}
    400 {"error":"Bad Request","message":"The following user attributes cannot be removed: email. The connection must either be a database connection (using the Auth0 store), a passwordless connection (email or sms) or has disabled 'Sync user profile attributes at each login'. For more information, see https://auth0.com/docs/dashboard/guides/connections/configure-connection-sync","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Object didn't pass validation for format email: nothing' on property email (The user's email).","statusCode":400}
    400 {"error":"Bad Request","message":"PasswordStrengthError: Password is too weak","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Invalid metadata key: email'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_body","message":"Payload validation error: 'Expected type object but found type array'.","statusCode":400}
    400 {"error":"Bad Request","message":"Cannot update email for non-database user.","statusCode":400}
    400 {"error":"Bad Request","message":"Connection is not supported for this operation.","statusCode":400}
    400 {"error":"Bad Request","message":"The following user attributes cannot be updated: name, picture. The connection must either be a database connection (using the Auth0 store), a passwordless connection (email or sms) or has disabled 'Sync user profile attributes at each login'. For more information, see https://auth0.com/docs/dashboard/guides/connections/configure-connection-sync","statusCode":400}
    400 {"error":"Bad Request","message":"Email verification is not supported for enterprise users.","statusCode":400}
    404 {"error":"Not Found","errorCode":"inexistent_user","message":"The user does not exist.","statusCode":404}
    400 {"error":"Bad Request","errorCode":"invalid_uri","message":"Path validation error: 'String does not match pattern ^.+\\|.+$: nobody' on property id (The user_id of the user to retrieve).","statusCode":400}
    "#);
    assert_eq!(
        api.patch(
            "samlp|company|zoe",
            &json!({ "app_metadata": { "x": 1 }, "blocked": true })
        )
        .await
        .status,
        200
    );
    let metadata_only = Management::with_scope(&tenant, Some("update:users_app_metadata")).await;
    assert_eq!(
        metadata_only
            .patch(MIA, &json!({ "app_metadata": { "x": 1 } }))
            .await
            .status,
        200
    );
    assert_eq!(
        metadata_only
            .patch(MIA, &json!({ "name": "x" }))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_new_password_ends_sessions_and_lifts_a_block() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    let refresh_token = text(
        &password_tokens(&tenant, "openid offline_access", Some(API)).await,
        "refresh_token",
    );
    assert_eq!(
        api.patch(MIA, &json!({ "blocked": true })).await.json()["blocked"],
        true
    );
    assert_eq!(refresh(&tenant, &refresh_token).await.status, 403);
    let user = api
        .patch(MIA, &json!({ "password": "Correct-Horse-8" }))
        .await
        .json();
    assert!(user.get("blocked").is_none());
    assert!(user["last_password_reset"].is_string());
    assert_eq!(browser.authorize(&[]).await.location().path(), "/u/login");
    assert_eq!(refresh(&tenant, &refresh_token).await.status, 200);
    let log_in = async |password: &str| {
        let pairs = [
            ("grant_type", "password"),
            ("username", "mia@example.org"),
            ("password", password),
        ];
        token(&tenant, &pairs).await.status
    };
    assert_eq!(log_in("Correct-Horse-1").await, 403);
    assert_eq!(log_in("Correct-Horse-8").await, 200);
}

#[tokio::test]
async fn accounts_are_linked_and_taken_apart() {
    let mut seed = Seed::example();
    seed.connections.push(Connection {
        strategy: "google-oauth2".to_owned(),
        ..Connection::new("google-oauth2")
    });
    seed.users.push(SeedUser {
        user_id: Some("google-oauth2|1234".to_owned()),
        connection: "google-oauth2".to_owned(),
        ..SeedUser::new("mia@gmail.example", "")
    });
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    let path = format!("{}/identities", user_path(MIA));
    let second = json!({ "provider": "google-oauth2", "user_id": "1234" });
    let linked = api.post(&path, &second).await;
    insta::assert_snapshot!(linked.line(), @r#"201 [{"connection":"Username-Password-Authentication","isSocial":false,"provider":"auth0","user_id":"64b0c0ffee0000000000a001"},{"connection":"google-oauth2","isSocial":true,"profileData":{"email":"mia@gmail.example","email_verified":true,"name":"mia@gmail.example","nickname":"mia"},"provider":"google-oauth2","user_id":"1234"}]"#);
    assert_eq!(api.post(&path, &second).await.status, 409);
    let own = json!({ "provider": "auth0", "user_id": "64b0c0ffee0000000000a001" });
    assert_eq!(api.post(&path, &own).await.status, 400);
    assert_eq!(api.get("/users/google-oauth2%7C1234").await.status, 404);
    let found = api.search("identities.connection:\"google-oauth2\"").await;
    assert_eq!(found, ["mia@example.org"]);
    let main = format!("{path}/auth0/64b0c0ffee0000000000a001");
    assert_eq!(api.delete(&main).await.status, 400);
    let left = api.delete(&format!("{path}/google-oauth2/1234")).await;
    assert_eq!(
        (left.status.as_u16(), left.json().as_array().unwrap().len()),
        (200, 1)
    );
    let again = api.get("/users/google-oauth2%7C1234").await.json();
    assert_eq!(again["email"], "mia@gmail.example");
}

#[tokio::test]
async fn a_deletion_takes_sessions_and_refresh_tokens_along() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let mut browser = Browser::new(&tenant);
    browser.code(&[]).await;
    let refresh_token = text(
        &password_tokens(&tenant, "openid offline_access", Some(API)).await,
        "refresh_token",
    );
    for _ in 0..2 {
        let answer = api.delete(&user_path(MIA)).await;
        assert_eq!(answer.line(), "204 ");
    }
    assert_eq!(api.get(&user_path(MIA)).await.status, 404);
    assert_eq!(browser.authorize(&[]).await.location().path(), "/u/login");
    let dead = refresh(&tenant, &refresh_token).await;
    assert!(dead.text.contains("exist anymore"), "{}", dead.text);
    let same_id = json!({
        "connection": DATABASE, "email": "new@example.org", "password": "Correct-Horse-7",
        "user_id": "64b0c0ffee0000000000a001",
    });
    assert_eq!(api.post("/users", &same_id).await.status, 201);
    let dead = refresh(&tenant, &refresh_token).await;
    assert!(dead.text.contains("exist anymore"), "{}", dead.text);
    api.delete(&user_path(MIA)).await;
    for path in ["/users", "/users/"] {
        assert_eq!(api.delete(path).await.status, 405);
    }
    assert_eq!(api.delete("/users/nobody").await.status, 400);
    assert_eq!(tenant.user_count(), 4);
}

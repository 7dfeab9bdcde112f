//! Reads of people by the Management API: lists, searches, by e-mail, by id.

use std::time::{Duration, Instant};

use dev_tenant::{
    Connection, DevTenant, Fault, FaultKind, Forgery, Seed, SeedUser, TenantSettings,
};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_user_has_only_keys_with_a_value() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let answer = api.get(&user_path("auth0|64b0c0ffee0000000000a002")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(answer.header("cache-control"), "no-cache");
    let user = masked(answer.json(), &["created_at", "updated_at", "picture"]);
    insta::assert_snapshot!(user, @r#"{"app_metadata":{"groups":["users"]},"created_at":"[created_at]","email":"alice@example.org","email_verified":true,"identities":[{"connection":"Username-Password-Authentication","isSocial":false,"provider":"auth0","user_id":"64b0c0ffee0000000000a002"}],"name":"Alice Ångström","nickname":"alice","picture":"[picture]","updated_at":"[updated_at]","user_id":"auth0|64b0c0ffee0000000000a002"}"#);
}

#[tokio::test]
async fn tokens_are_asked_for_and_their_scopes_count() {
    let tenant = tenant().await;
    let with = |header: Option<String>| {
        let mut request = client().get(format!("{}/api/v2/users", tenant.url()));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        async move { Answer::of(request.send().await.unwrap()).await.line() }
    };
    insta::assert_snapshot!(with(None).await, @r#"401 {"error":"Unauthorized","message":"Missing authentication","statusCode":401}"#);
    for broken in [
        "Bearer opaque",
        "Bearer a.b",
        "Basic YTpi",
        "Bearer a.b.c.d",
    ] {
        let line = with(Some(broken.to_owned())).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(line, @r#"400 {"error":"Bad Request","errorCode":"Bearer","message":"Bad HTTP authentication header format","statusCode":400}"#);
        }
    }
    insta::assert_snapshot!(with(Some("Bearer a.b.c".to_owned())).await, @r#"401 {"error":"Unauthorized","message":"Invalid signature received for JSON Web Token validation","statusCode":401}"#);
    let other = password_tokens(&tenant, "openid read:orders", Some(API)).await;
    let other = format!("Bearer {}", text(&other, "access_token"));
    insta::assert_snapshot!(with(Some(other)).await, @r#"401 {"attributes":{"error":"Invalid token"},"error":"Unauthorized","message":"Invalid token","statusCode":401}"#);

    let weak = Management::with_scope(&tenant, Some("read:connections")).await;
    insta::assert_snapshot!(weak.get("/users").await.line(), @r#"403 {"error":"Forbidden","errorCode":"insufficient_scope","message":"Insufficient scope, expected any of: read:users","statusCode":403}"#);
    insta::assert_snapshot!(weak.get("/users-by-email?email=a").await.line(), @r#"403 {"error":"Forbidden","errorCode":"insufficient_scope","message":"Insufficient scope, expected any of: read:users","statusCode":403}"#);

    let good = Management::of(&tenant).await;
    let header = format!("Bearer {}", good.token());
    tenant.advance_clock(Duration::from_secs(86_400));
    insta::assert_snapshot!(with(Some(header)).await, @r#"401 {"error":"Unauthorized","message":"Expired token received for JSON Web Token validation","statusCode":401}"#);
}

#[tokio::test]
async fn a_forged_management_token_is_refused() {
    let tenant = tenant().await;
    // Signed well, for this API, by nobody's client: only ID tokens can be forged here.
    let forgery = Forgery::Claim {
        name: "aud".to_owned(),
        value: "x".into(),
    };
    tenant.inject(Fault::on("/oauth/token", FaultKind::Forge(forgery)).times(1));
    let token = text(&password_tokens(&tenant, "openid", None).await, "id_token");
    let answer = client()
        .get(format!("{}/api/v2/users", tenant.url()))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

async fn crowd(settings: TenantSettings, count: usize) -> DevTenant {
    let mut seed = Seed::example();
    seed.users.clear();
    for n in 0..count {
        let mut user = SeedUser::new(&format!("user{n:05}@example.org"), "Correct-Horse-9");
        user.user_id = Some(format!("auth0|{n:05}"));
        user.app_metadata.insert("n".to_owned(), json!(n));
        user.nickname = Some(format!("nick{}", n % 7));
        seed.users.push(user);
    }
    DevTenant::start(settings, seed).await.unwrap()
}

#[tokio::test]
async fn pages_end_at_a_thousand() {
    let tenant = crowd(TenantSettings::default(), 1234).await;
    let api = Management::of(&tenant).await;
    assert_eq!(api.get("/users").await.json().as_array().unwrap().len(), 50);
    let page = api
        .get("/users?page=9&per_page=100&include_totals=true")
        .await
        .json();
    assert_eq!(
        (
            &page["start"],
            &page["limit"],
            &page["length"],
            &page["total"]
        ),
        (&json!(900), &json!(100), &json!(100), &json!(1234))
    );
    assert_eq!(page["users"][0]["user_id"], "auth0|00900");
    let none = api
        .get("/users?per_page=0&include_totals=true")
        .await
        .json();
    assert_eq!((&none["total"], &none["length"]), (&json!(1234), &json!(0)));
    assert_eq!(api.get("/users?page=1000&per_page=0").await.text, "[]");
    insta::assert_snapshot!(api.get("/users?page=10&per_page=100").await.line(), @r#"400 {"error":"Bad Request","errorCode":"invalid_paging","message":"You can only page through the first 1000 records. See https://auth0.com/docs/users/search/v3/view-search-results-by-page#limitation","statusCode":400}"#);
    for (query, expected) in [
        ("q=name:%22nobody%22", json!([])),
        (
            "q=app_metadata.n:[1230%20TO%20*]&fields=user_id&per_page=2&page=1",
            json!([
                { "user_id": "auth0|01232" }, { "user_id": "auth0|01233" },
            ]),
        ),
        (
            "sort=email:-1&per_page=1&fields=email",
            json!([{ "email": "user01233@example.org" }]),
        ),
    ] {
        assert_eq!(
            api.get(&format!("/users?search_engine=v3&{query}"))
                .await
                .json(),
            expected,
            "{query}"
        );
    }
    let cut = api.get("/users?per_page=1&fields=app_metadata,identities,created_at,updated_at,picture&include_fields=false").await;
    insta::assert_snapshot!(cut.text, @r#"[{"email":"user00000@example.org","email_verified":true,"name":"user00000@example.org","nickname":"nick0","user_id":"auth0|00000"}]"#);
}

#[tokio::test]
async fn faulty_parameters_are_named() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let mut lines = String::new();
    for query in [
        "per_page=101",
        "per_page=-1",
        "per_page=ten",
        "page=1.5",
        "foo=1&bar=2",
        "email=mia@example.org",
        "fields=id",
        "sort=email",
        "sort=app_metadata.n:1",
        "include_totals=yes",
        "search_engine=v2&q=a",
        "search_engine=v1&q=a",
        "search_engine=v4",
        "connection=employees",
        "search_engine=v3&q=name:(a",
        "search_engine=v3&q=name:*sa",
        "search_engine=v3&q=user_metadata.lang:i*",
    ] {
        lines.push_str(&api.get(&format!("/users?{query}")).await.line());
        lines.push('\n');
    }
    insta::assert_snapshot!(lines, @r#"
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Value 101 is greater than maximum 100' on property per_page (Number of results per page).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Value -1 is less than minimum 0' on property per_page (Number of results per page).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Expected type integer but found type string' on property per_page (Number of results per page).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Expected type integer but found type string' on property page (Page index of the results to return. First page is 0).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Additional properties not allowed: foo,bar'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Additional properties not allowed: email'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'String 'id' does not match pattern. Must be a comma separated list of the following values: phone_number,email,email_verified,picture,username,user_id,name,nickname,created_at,identities,app_metadata,user_metadata,last_ip,last_login,logins_count,updated_at,blocked,family_name,given_name' on property fields (Comma-separated list of fields to include or exclude (based on value provided for include_fields) in the result. Leave empty to retrieve all fields).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'String does not match pattern ^(([a-zA-Z0-9_\\.]+)):(1|-1)$: email' on property sort (Field to sort by. Use field:order where order is 1 for ascending and -1 for descending).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Sorting by app_metadata.n is not allowed' on property sort (Field to sort by. Use field:order where order is 1 for ascending and -1 for descending).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Expected type boolean but found type string' on property include_totals (Return results inside an object that contains the total result count (true) or as a direct array of results (false, default)).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"You are not allowed to use search_engine=v2. Use search_engine=v3 instead.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"The 'q' parameter is available only if you specify 'search_engine=v2|v3'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'No enum match for: v4' on property search_engine (The version of the search engine).","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"The 'connection' parameter is available only if you specify 'search_engine=v1'.","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"The search query string has an error: a parenthesis is not closed at character 7","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"The search query string has an error: a wildcard needs at least three characters beside it: name","statusCode":400}
    400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"The search query string has an error: wildcards are not supported on this field: user_metadata.lang","statusCode":400}
    "#);
}

#[tokio::test]
async fn a_long_query_is_414() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let answer = api.get(&search_path(&"x".repeat(8200))).await;
    assert_eq!(answer.status, 414);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert_eq!(api.get(&search_path(&"x".repeat(7000))).await.status, 200);
}

#[tokio::test]
async fn searches_go_by_the_syntax() {
    let tenant = tenant().await;
    let api = Management::of(&tenant).await;
    let found = async |q: &str| api.search(q).await.join(" ");
    assert_eq!(found("email:\"MIA@example.org\"").await, "mia@example.org");
    assert_eq!(found("blocked:true").await, "blocked@example.org");
    assert_eq!(
        found("identities.connection:\"employees\"").await,
        "bob@example.org"
    );
    assert_eq!(
        found("username:bob OR name:\"mia rossi\"").await,
        "mia@example.org bob@example.org"
    );
    assert_eq!(
        found("app_metadata.groups:\"users\" AND NOT app_metadata.groups:\"admin\"").await,
        "alice@example.org"
    );
    assert_eq!(found("name:alice*").await, "alice@example.org");
    assert_eq!(found("connection:employees").await, "");
    password_tokens(&tenant, "openid", None).await;
    assert_eq!(found("_exists_:logins_count").await, "mia@example.org");
    assert_eq!(found("logins_count:[1 TO *]").await, "mia@example.org");
    assert_eq!(found("last_ip:127.0.0.1").await, "mia@example.org");
}

#[tokio::test]
async fn a_search_may_lag_and_other_reads_do_not() {
    let tenant = tenant_with(TenantSettings {
        search_lag: Duration::from_secs(5),
        ..TenantSettings::default()
    })
    .await;
    let api = Management::of(&tenant).await;
    assert_eq!(api.search("email:\"mia@example.org\"").await.len(), 1);
    let made = api
        .post(
            "/users",
            &json!({
                "connection": "Username-Password-Authentication", "email": "new@example.org",
                "password": "Correct-Horse-7",
            }),
        )
        .await
        .json();
    let id = text(&made, "user_id");
    assert_eq!(api.get(&user_path(&id)).await.status, 200);
    assert_eq!(
        api.get("/users-by-email?email=new@example.org")
            .await
            .json()[0]["user_id"],
        id
    );
    assert!(api.search("email:\"new@example.org\"").await.is_empty());
    api.delete(&user_path(MIA)).await;
    assert_eq!(
        api.search("email:\"mia@example.org\"").await.len(),
        1,
        "stale"
    );
    tenant.advance_clock(Duration::from_secs(6));
    assert_eq!(api.search("email:\"new@example.org\"").await.len(), 1);
    assert!(api.search("email:\"mia@example.org\"").await.is_empty());
}

#[tokio::test]
async fn by_email_is_to_the_letter_and_finds_every_connection() {
    let mut seed = Seed::example();
    seed.connections.push(Connection {
        strategy: "google-oauth2".to_owned(),
        ..Connection::new("google-oauth2")
    });
    seed.users.push(SeedUser {
        user_id: Some("google-oauth2|1".to_owned()),
        connection: "google-oauth2".to_owned(),
        extra: serde_json::from_value(json!({ "locale": "it" })).unwrap(),
        ..SeedUser::new("Mia@example.org", "")
    });
    seed.users.push(SeedUser {
        connection: "employees".to_owned(),
        ..SeedUser::new("mia@example.org", "x")
    });
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    let ids = async |email: &str| {
        let users = api
            .get(&format!("/users-by-email?fields=user_id&email={email}"))
            .await
            .json();
        users.as_array().unwrap().len()
    };
    assert_eq!(ids("mia@example.org").await, 2);
    assert_eq!(ids("Mia@example.org").await, 1);
    assert_eq!(ids("MIA@example.org").await, 0);
    assert_eq!(api.search("email:\"mia@example.org\"").await.len(), 3);
    let social = api.get(&user_path("google-oauth2|1")).await.json();
    assert_eq!(social["locale"], "it");
    assert_eq!(social["identities"][0]["isSocial"], true);
    insta::assert_snapshot!(api.get("/users-by-email").await.line(), @r#"400 {"error":"Bad Request","errorCode":"invalid_query_string","message":"Query validation error: 'Missing required property: email'.","statusCode":400}"#);
}

#[tokio::test]
async fn ids_of_every_form_are_decoded_once() {
    let ids = [
        "auth0|x",
        "samlp|a|b@c",
        "waad|a/b",
        "ad|employees|100%25 sure",
        "oauth2|x|Zoë 😀",
        "auth0|auth0|64b0",
        "auth0|a+b&c?d#e",
    ];
    let mut seed = Seed::example();
    for (n, id) in ids.iter().enumerate() {
        seed.users.push(SeedUser {
            user_id: Some((*id).to_owned()),
            ..SeedUser::new(&format!("form{n}@example.org"), "x")
        });
    }
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    let api = Management::of(&tenant).await;
    for id in ids {
        let answer = api.get(&user_path(id)).await;
        assert_eq!(answer.json()["user_id"], id, "{}", answer.text);
    }
    assert_eq!(api.get("/users/auth0|x").await.status, 200);
    assert_eq!(
        api.get("/users/auth0%257Cx").await.status,
        400,
        "encoded twice"
    );
    insta::assert_snapshot!(api.get("/users/auth0%7Cnobody").await.line(), @r#"404 {"error":"Not Found","errorCode":"inexistent_user","message":"The user does not exist.","statusCode":404}"#);
    insta::assert_snapshot!(api.get("/users/3241312").await.line(), @r#"400 {"error":"Bad Request","errorCode":"invalid_uri","message":"Path validation error: 'String does not match pattern ^.+\\|.+$: 3241312' on property id (The user_id of the user to retrieve).","statusCode":400}"#);
    let list = api.get("/users/").await.json();
    assert_eq!(
        list.as_array().unwrap().len(),
        12,
        "an empty id is the list"
    );
}

/// The server is not optimised here; a release build is some ten times as fast.
#[tokio::test]
async fn a_big_tenant_is_searched_in_no_time() {
    let tenant = crowd(TenantSettings::default(), 25_000).await;
    let api = Management::of(&tenant).await;
    api.get("/users?per_page=1").await;
    for q in [
        "email:\"user24999@example.org\"",
        "nickname:nick3 AND app_metadata.n:[100 TO 24900]",
        "name:*24999*",
    ] {
        let start = Instant::now();
        let answer: Value = api
            .get(&format!("{}&include_totals=true", search_path(q)))
            .await
            .json();
        println!("{q}: {:?}", start.elapsed());
        assert!(answer["total"].as_u64().unwrap() > 0);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{q}: {:?}",
            start.elapsed()
        );
    }
}

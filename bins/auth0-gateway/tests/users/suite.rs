//! What a back office does, all of it.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::world::{DATABASE, Plan, World, person};

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Every route, in the order in which a back office would use them.
pub(crate) async fn everything(world: &World) {
    // List, with both kinds of connections left out and asked for.
    let (status, all) = world.get("/users").await;
    assert_eq!(status, 200, "{all}");
    let emails: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["email"].as_str().unwrap())
        .collect();
    assert!(emails.contains(&"mia@example.org"));
    assert!(
        !emails.contains(&"bob@example.org"),
        "another connection's: {emails:?}"
    );
    assert_eq!(world.get("/users?connection=employees").await.1, json!([]));

    // Create: the default connection, Auth0's defaults, its refusals in its own words.
    let body = json!({"email": "zoe@example.org", "password": "Correct-Horse-7", "name": "Zo\u{eb} \"Q\" (1)",
        "app_metadata": {"groups": ["users", "a,b"], "plan": {"name": "gold"}}, "user_metadata": {"lang": "fr"}});
    let (status, zoe) = world.json("POST", "/users", &body).await;
    assert_eq!(status, 201, "{zoe}");
    assert_eq!(zoe["identities"][0]["connection"], DATABASE);
    assert_eq!(zoe["nickname"], "zoe");
    let (status, conflict) = world.json("POST", "/users", &body).await;
    assert_eq!(
        (status.as_u16(), &conflict["errorCode"]),
        (409, &json!("auth0_idp_error"))
    );
    assert_eq!(conflict["message"], "The user already exists.");
    let odd = json!({"email": "odd@example.org", "password": "Correct-Horse-7", "color": "red"});
    let (status, refused) = world.json("POST", "/users", &odd).await;
    assert_eq!(
        (status.as_u16(), &refused["errorCode"]),
        (400, &json!("invalid_body")),
        "{refused}"
    );

    // Search: each value in its own term.
    let id = zoe["user_id"].as_str().unwrap();
    for query in [
        "email=zoe@example.org".to_owned(),
        "email=ZOE@example.org".to_owned(),
        "email=zoe*".to_owned(),
        format!("name={}", encode("Zo\u{eb} \"Q\" (1)")),
        format!("user_id={}", encode(id)),
        format!("app_metadata.groups=users,{}", encode("a\\,b")),
        "app_metadata.plan.name=gold".to_owned(),
        "user_metadata.lang=fr".to_owned(),
        format!(
            "_q={}",
            encode(r#"{"app_metadata.groups":{"$all":["users","a,b"]},"email":{"$regex":"^zoe"}}"#)
        ),
        format!(
            "created_at={}&nickname=zoe",
            &zoe["created_at"].as_str().unwrap()[..10]
        ),
    ] {
        let (status, found) = world.get(&format!("/users?{query}")).await;
        assert_eq!(status, 200, "{query}: {found}");
        assert_eq!(found.as_array().unwrap().len(), 1, "{query}: {found}");
        assert_eq!(found[0]["user_id"], id);
        assert_eq!(
            world.get(&format!("/users/count?{query}")).await.1,
            json!(1),
            "{query}"
        );
    }
    for nobody in [
        "email=zoe",
        "name=zox*",
        "user_metadata.lang=de",
        "email=%22%20OR%20email:%5C*",
        "app_metadata.groups=a",
    ] {
        assert_eq!(
            world.get(&format!("/users?{nobody}")).await.1,
            json!([]),
            "{nobody}"
        );
    }
    let (_, sparse) = world.get("/users?email=zoe*&_p=email,app_metadata").await;
    let keys: HashSet<&String> = sparse[0].as_object().unwrap().keys().collect();
    assert!(
        keys.len() == 2 && keys.contains(&"email".to_owned()),
        "{sparse}"
    );
    let (_, sorted) = world.get("/users?_s=-email&_l=100").await;
    let emails: Vec<&str> = sorted
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["email"].as_str().unwrap())
        .collect();
    assert!(emails.is_sorted_by(|a, b| a >= b), "{emails:?}");
    let acl = [("acl_rows", r#"[{"app_metadata.groups":"nobody"},{}]"#)];
    assert_eq!(world.send("GET", "/users", &acl, b"").await.2, "[]");

    // One user: read, changed, a link for them.
    let path = format!("/users/{}", encode(id));
    assert_eq!(world.get(&path).await.1, zoe);
    let change = json!({"app_metadata": {"groups": ["admin"]}, "nickname": "zz"});
    let (status, changed) = world.json("PATCH", &path, &change).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        changed["app_metadata"],
        json!({"groups": ["admin"], "plan": {"name": "gold"}})
    );
    let (status, refused) = world
        .json(
            "PATCH",
            &path,
            &json!({"email": "x@example.org", "password": "Correct-Horse-8"}),
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(
        refused["message"],
        "Cannot update password and email simultaneously."
    );

    // Gone is gone.
    assert_eq!(world.json("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(world.json("DELETE", &path, &Value::Null).await.0, 404);
    let (status, body) = world.get(&path).await;
    assert_eq!(
        (status.as_u16(), &body["errorCode"]),
        (404, &json!("inexistent_user"))
    );
}

#[tokio::test]
async fn a_back_office_does_all_of_it() {
    let world = Plan::default().start().await;
    everything(&world).await;
    // One token for all of it.
    assert_eq!(world.calls("/oauth/token"), 1);
}

#[tokio::test]
async fn a_link_to_set_a_password() {
    let world = Plan::default().start().await;
    ticket(&world, world.tenant.url()).await;
}

pub(crate) async fn ticket(world: &World, issuer: &str) {
    let mia = world.tenant.user_id("mia@example.org").unwrap();
    let path = format!("/users/{}/change-password", encode(&mia));
    let (status, ticket) = world.json("POST", &path, &json!({"ttlSeconds": 60})).await;
    assert_eq!(status, 201, "{ticket}");
    assert!(
        ticket["ticket"].as_str().unwrap().starts_with(issuer),
        "{ticket}"
    );
}

#[tokio::test]
async fn ids_of_every_legal_form_are_found_changed_and_deleted() {
    every_id(&Plan::default().start().await).await;
}

pub(crate) async fn every_id(world: &World) {
    for id in [
        "auth0|x.y",
        "google-oauth2|1",
        "samlp|a|b@c",
        "auth0|a/b",
        "auth0|100%",
        "auth0|%2e%2e",
        "auth0|..",
        "ad|J\u{f6}rg M",
        "auth0|a+b&c=d;e?f#g",
    ] {
        let mut user = person(id.len());
        user.email = format!("{}@example.org", id.len());
        user.user_id = Some(id.to_owned());
        world.tenant.add_user(user);
        let path = format!("/users/{}", encode(id).replace('+', "%20"));
        let (status, found) = world.get(&path).await;
        assert_eq!(
            (status.as_u16(), &found["user_id"]),
            (200, &json!(id)),
            "{id}"
        );
        let (status, found) = world.get(&format!("/users?user_id={}", encode(id))).await;
        assert_eq!(
            (status.as_u16(), found.as_array().unwrap().len()),
            (200, 1),
            "{id}"
        );
        assert_eq!(
            world
                .json("PATCH", &path, &json!({"nickname": "n"}))
                .await
                .0,
            200,
            "{id}"
        );
        let before = world.tenant.user_count();
        assert_eq!(
            world.json("DELETE", &path, &Value::Null).await.0,
            204,
            "{id}"
        );
        assert_eq!(world.tenant.user_count(), before - 1, "{id}");
    }
}

#[tokio::test]
async fn a_blocked_or_deleted_person_is_signed_out() {
    let world = Plan::default().start().await;
    let mia = format!(
        "/users/{}",
        encode(&world.tenant.user_id("mia@example.org").unwrap())
    );
    let token = world.sign_in().await;
    let bearer = format!("Bearer {token}");
    let check = async || {
        world
            .send("GET", "/userinfo", &[("authorization", &bearer)], b"")
            .await
            .0
    };
    assert_eq!(check().await, 200);
    assert_eq!(
        world.json("PATCH", &mia, &json!({"blocked": true})).await.0,
        200
    );
    assert_eq!(check().await, 401);
    assert_eq!(
        world
            .json("PATCH", &mia, &json!({"blocked": false}))
            .await
            .0,
        200
    );
    tokio::time::sleep(crate::world::SECOND).await;
    let bearer = format!("Bearer {}", world.sign_in().await);
    assert_eq!(world.json("DELETE", &mia, &Value::Null).await.0, 204);
    let status = world
        .send("GET", "/userinfo", &[("authorization", &bearer)], b"")
        .await
        .0;
    assert_eq!(status, 401);
    assert_eq!(world.get("/users/active").await.1, json!([]));
}

#[tokio::test]
async fn thousands_are_exported_past_what_a_search_can_page() {
    let world = Plan::default().start().await;
    // All in one breath: most share an instant.
    for number in 0..2345 {
        world.tenant.add_user(person(number));
    }
    let (status, _, lines) = world
        .send("GET", "/users/export?email=person*", &[], b"")
        .await;
    assert_eq!(status, 200);
    let lines = String::from_utf8(lines.to_vec()).unwrap();
    let ids: HashSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["user_id"].to_string())
        .collect();
    assert_eq!((lines.lines().count(), ids.len()), (2345, 2345));
    let (_, count) = world.get("/users/count?email=person*").await;
    assert_eq!(count, json!(2345));
    let (_, page) = world.get("/users?email=person*&_l=1000").await;
    assert_eq!(page.as_array().unwrap().len(), 1000);
}

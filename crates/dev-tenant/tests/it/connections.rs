//! `/api/v2/connections`.

use dev_tenant::{Connection, DevTenant, Seed, TenantSettings};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn connections_are_found_by_name_and_id() {
    let mut seed = Seed::example();
    seed.connections.push(Connection {
        strategy: "samlp".to_owned(),
        fixed_id: Some("con_AbCdEfGh12345678".to_owned()),
        ..Connection::new("company")
    });
    let before = seed.connections[1].id();
    let tenant = DevTenant::start(TenantSettings::default(), seed)
        .await
        .unwrap();
    assert_eq!(tenant.connection_id("employees"), Some(before));
    assert_eq!(tenant.connection_id("nowhere"), None);
    let api = Management::of(&tenant).await;
    insta::assert_snapshot!(api.get("/connections?name=employees").await.line(), @r#"200 [{"id":"con_c49de3d265fb1d97","is_domain_connection":false,"name":"employees","realms":["employees"],"strategy":"auth0"}]"#);
    assert_eq!(api.get("/connections?name=nowhere").await.line(), "200 []");
    let ids = async |query: &str| {
        let all = api
            .get(&format!("/connections?fields=name&{query}"))
            .await
            .json();
        let list = all
            .get("connections")
            .unwrap_or(&all)
            .as_array()
            .unwrap()
            .clone();
        list.iter()
            .map(|one| text(one, "name"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        ids("strategy=auth0").await,
        "Username-Password-Authentication employees"
    );
    assert_eq!(
        ids("strategy=auth0&strategy=samlp").await,
        "Username-Password-Authentication employees company"
    );
    assert_eq!(ids("page=1&per_page=2").await, "company");
    assert_eq!(
        ids("take=2").await,
        "Username-Password-Authentication employees"
    );
    let totals = api
        .get("/connections?include_totals=true&per_page=1&page=1")
        .await
        .json();
    assert_eq!(
        (&totals["total"], &totals["start"], &totals["limit"]),
        (&json!(3), &json!(1), &json!(1))
    );
    let first = api.get("/connections?take=2").await.json();
    assert_eq!(first["next"], "con_AbCdEfGh12345678");
    let second = api
        .get("/connections?take=2&from=con_AbCdEfGh12345678")
        .await
        .json();
    assert_eq!(second["connections"][0]["name"], "company");
    assert!(second.get("next").is_none());
    assert_eq!(
        api.get("/connections/con_AbCdEfGh12345678").await.json()["strategy"],
        "samlp"
    );
    insta::assert_snapshot!(api.get("/connections/con_0000000000000000").await.line(), @r#"404 {"error":"Not Found","errorCode":"inexistent_connection","message":"The connection does not exist.","statusCode":404}"#);
    for bad in [
        "per_page=0",
        "take=101",
        "page=10&per_page=100",
        "fields=secret",
        "foo=1",
    ] {
        assert_eq!(
            api.get(&format!("/connections?{bad}")).await.status,
            400,
            "{bad}"
        );
    }
}

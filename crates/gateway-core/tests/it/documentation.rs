//! The document of the routes.

use std::collections::HashSet;

use gateway_core::http::Listener;
use serde_json::Value;

use crate::world::{World, world, world_with};

async fn document(world: &World, prefix: &str) -> Value {
    let path = format!("{prefix}/documentation/json");
    let answer = world.get(&path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap();
        methods
            .iter()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => found.push(target.clone()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_names_nothing_that_is_not_there() {
    let document = document(&world(), "").await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    let mut ids = HashSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{method} {path}"
        );
        let parameters = operation["parameters"].as_array();
        let mut named: Vec<&str> = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let mut wanted: Vec<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        named.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(named, wanted, "{method} {path}");
    }
}

/// How many operations there are; each is asked.
async fn all_answer_as_they_say(world: &World, document: &Value) -> usize {
    let mut asked = 0;
    for (path, method, operation) in operations(document) {
        assert_eq!(
            path.starts_with("/below/"),
            !path.starts_with("/-/"),
            "{path}"
        );
        let path = path.replace("{id}", "auth0%7C1").replace(['{', '}'], "");
        let answer = world.send(&method.to_uppercase(), &path, &[], "").await;
        let described = &operation["responses"][answer.status.as_str()];
        assert!(
            described.is_object(),
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        asked += 1;
    }
    asked
}

#[tokio::test]
async fn every_operation_is_a_route_and_answers_as_it_says() {
    let world = world_with(&[("SERVICE_PREFIX", "/below")]);
    let document = document(&world, "/below").await;
    assert_eq!(all_answer_as_they_say(&world, &document).await, 34);
}

#[tokio::test]
async fn each_listener_documents_what_it_serves() {
    let own = ("MANAGEMENT_HTTP_PORT", "9000");
    let mut world = world_with(&[("SERVICE_PREFIX", "/below"), own]);
    let main = world.service.clone();
    let mut tags = Vec::new();
    for (listener, operations) in [(Listener::Main, 19), (Listener::Management, 21)] {
        world.service = main.on(listener);
        let document = document(&world, "/below").await;
        let asked = all_answer_as_they_say(&world, &document).await;
        assert_eq!(asked, operations, "{listener:?}");
        for path in ["/below/documentation/json", "/-/ready"] {
            assert!(document["paths"][path].is_object(), "{listener:?}: {path}");
        }
        let yaml = world.get("/below/documentation/yaml", &[]).await;
        assert_eq!(yaml.status, 200);
        let management = listener == Listener::Management;
        assert_eq!(yaml.body.contains("/below/users:"), management);
        assert_eq!(yaml.body.contains("/below/userinfo:"), !management);
        let told = document["tags"].as_array().unwrap().iter();
        tags.push(told.map(|tag| tag["name"].clone()).collect::<Vec<_>>());
    }
    assert_eq!(tags[0], ["sign-in", "check", "status"]);
    assert_eq!(tags[1], ["users", "imports", "sessions", "status"]);
}

#[tokio::test]
async fn what_acl_rows_binds_and_what_a_failed_job_answers_is_told() {
    let document = document(&world(), "").await;
    let bound = |operation: &Value| {
        let parameters = operation["parameters"].as_array();
        let mut names = parameters.into_iter().flatten().map(|p| &p["name"]);
        names.any(|name| name == "acl_rows")
    };
    for (path, method, operation) in operations(&document) {
        let administers = ["/users", "/sessions"]
            .iter()
            .any(|start| path.starts_with(start));
        let wanted = administers && path != "/users/me";
        assert_eq!(bound(operation), wanted, "{method} {path}");
    }
    let errors = &document["paths"]["/users/import/status/{id}/errors"]["get"];
    let forms = &errors["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"];
    let names = ["RowErrors", "Job"];
    for (form, name) in forms.as_array().unwrap().iter().zip(names) {
        assert_eq!(form["$ref"], format!("#/components/schemas/{name}"));
    }
}

#[tokio::test]
async fn a_management_key_is_asked_for_where_there_are_keys() {
    let secured = |document: &Value| {
        let listing = &document["paths"]["/users"]["get"];
        (
            listing["security"].is_array(),
            listing["responses"]["401"].is_object(),
        )
    };
    assert_eq!(secured(&document(&world(), "").await), (false, false));
    let keys = world_with(&[("MANAGEMENT_API_KEYS", "0123456789abcdef0123456789abcdef")]);
    assert_eq!(secured(&document(&keys, "").await), (true, true));
}

#[tokio::test]
async fn the_document_in_yaml() {
    let answer = world().get("/documentation/yaml", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/yaml");
    insta::assert_snapshot!(answer.body);
}

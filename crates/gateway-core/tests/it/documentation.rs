//! The document of the routes.

use std::collections::HashSet;

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

#[tokio::test]
async fn every_operation_is_a_route_and_answers_as_it_says() {
    let world = world_with(&[("SERVICE_PREFIX", "/below")]);
    let document = document(&world, "/below").await;
    let mut asked = 0;
    for (path, method, operation) in operations(&document) {
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
    assert_eq!(asked, 34);
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

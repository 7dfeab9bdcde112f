//! The configuration: every fault at once, each with its place and the mend.

use std::collections::BTreeMap;

use gateway_core::config::{Clients, Faults, load, parse_clients};
use serde_json::{Value, json};

use crate::world::FakeEnvironment;

fn environment(variables: &[(&'static str, &'static str)], config: &Value) -> FakeEnvironment {
    FakeEnvironment {
        variables: variables.iter().copied().collect(),
        config: config.to_string(),
    }
}

fn good() -> Value {
    json!({"clients": {"web": {
        "auth0Url": "acme.eu.auth0.com", "clientId": "id", "clientSecret": "{{SECRET}}",
        "redirectUrl": "https://www.example.org/web-login/callback", "scopes": ["openid", "profile", "website", "profile_x"],
    }}})
}

fn parse(config: &Value) -> Result<Clients, Faults> {
    parse_clients(
        &config.to_string(),
        &environment(&[("SECRET", "quote\"{{SECRET}}")], &json!({})),
    )
    .map(|(clients, _)| clients)
}

#[test]
fn a_good_configuration_is_read() {
    let clients = parse(&good()).unwrap();
    let web = &clients.by_name["web"];
    assert_eq!(web.scope, "openid profile profile_x");
    assert!(web.website && web.revoke_on_logout && !web.web_login);
    // What comes in for a variable is not looked at again.
    assert_eq!(web.application.client_secret.expose(), "quote\"{{SECRET}}");
}

#[test]
fn every_fault_is_reported_at_once() {
    let config = json!({
        "clients": {
            "web": {
                "auth0Url": "http://acme.eu.auth0.com", "clientid": "id", "clientSecret": "{{MISSING}}",
                "redirectUrl": "/callback", "scopes": "openid", "sameSite": "lax", "webLogin": "yes",
                "supportedConnections": ["a", "a"], "defaultConnection": "b",
                "supportedSigningAlgs": ["none"], "allowedRedirectUrls": ["https://A.example/x?y"],
            },
            "a b": {},
        },
        "defaultClient": "nobody",
        "customClaimsNamespaces": ["https://a.example/x", "https://b.example/x"],
        "apiKeys": [{"sha256": "abc", "client": "web"}],
        "managementClient": {"auth0Url": "acme.eu.auth0.com", "clientId": "m", "clientSecret": "s",
            "supportedConnectionsMap": {"a": {}}, "supportedConnections": ["a"]},
        "unknown": 1,
    });
    let variables = [
        ("HTTP_PORT", "x"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("REDIS_MODE", "sentinel"),
        ("SESSION_STORE", "redis"),
        ("MANAGEMENT_API_KEYS", "canary-short"),
    ];
    let faults = load(&environment(&variables, &config)).unwrap_err();
    assert!(!faults.to_string().contains("canary"));
    insta::assert_snapshot!(faults);
}

#[test]
fn single_faults_have_their_place() {
    let set = |pointer: &str, value: Value| {
        let mut config = good();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value;
        config
    };
    for (pointer, value) in [
        (
            "/clients/web/auth0Url",
            json!("https://acme.eu.auth0.com/path"),
        ),
        ("/clients/web/clientId", json!("")),
        ("/clients/web/clientId", json!(1)),
        ("/clients/web/scopes/0", json!("two words")),
        ("/clients/web/sessionCookie", json!("jwt")),
        ("/clients/web/logoutMethod", json!("get")),
        ("/clients/web/typo~1", json!(true)),
        ("/defaultClient", json!("other")),
        ("/managementClient", json!([])),
    ] {
        let config = if pointer.ends_with("/0") {
            set("/clients/web/scopes", json!(["two words"]))
        } else {
            set(pointer, value)
        };
        let faults = parse(&config).unwrap_err();
        let expected = pointer.replace('~', "~0");
        assert!(
            faults.0.iter().any(|fault| fault.location == expected),
            "{pointer}: {faults}"
        );
    }
}

#[test]
fn a_map_of_connections_names_some_with_their_ids() {
    const MAP: &str = "/managementClient/supportedConnectionsMap";
    let parsed = |map: Value| {
        let mut config = good();
        config["managementClient"] = json!({
            "auth0Url": "acme.eu.auth0.com", "clientId": "m", "clientSecret": "s",
            "supportedConnectionsMap": map,
        });
        parse(&config)
    };
    let entry = |id: &str| json!({ "connectionId": id });
    let id = "con_AbCdEfGh12345678";
    let mut faulty = vec![
        // Everything would be cut to no connection at all.
        (json!({}), "", "leave it out"),
        (json!({"": entry(id)}), "/", "name"),
    ];
    for id in ["staff", "con_", "CON_x1", "con_a-b", " con_x1", "con_x1 "] {
        faulty.push((json!({"staff": entry(id)}), "/staff/connectionId", "con_"));
    }
    for (map, place, mend) in faulty {
        let faults = parsed(map).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert_eq!(faults.0[0].location, format!("{MAP}{place}"));
        assert!(faults.0[0].mend.contains(mend), "{faults}");
    }
    assert!(parsed(json!({"staff": entry(id)})).is_ok());
}

#[test]
fn a_missing_variable_is_one_fault() {
    let mut config = good();
    let web = &mut config["clients"]["web"];
    for key in [
        "auth0Url",
        "redirectUrl",
        "sameSite",
        "sessionCookie",
        "logoutMethod",
        "defaultConnection",
    ] {
        web[key] = json!("{{NOPE}}");
    }
    web["supportedConnections"] = json!(["a", "x-{{NOPE}}"]);
    web["supportedSigningAlgs"] = json!(["{{NOPE}}"]);
    web["allowedRedirectUrls"] = json!(["https://{{NOPE}}/x", "https://{{NOPE}}/y"]);
    web["scopes"] = json!(["{{NOPE}}"]);
    web["webLogin"] = json!(true);
    config["defaultClient"] = json!("{{NOPE}}");
    config["apiKeys"] = json!([{"sha256": "{{NOPE}}", "client": "{{NOPE}}"}]);
    config["customClaimsNamespaces"] = json!(["{{NOPE}}", "https://x/{{NOPE}}"]);
    config["managementClient"] = json!({
        "auth0Url": "{{NOPE}}", "clientId": "m", "clientSecret": "s",
        "supportedConnections": ["a"], "defaultCreateUserConnection": "{{NOPE}}",
    });
    let faults = parse(&config).unwrap_err();
    for fault in &faults.0 {
        assert!(fault.problem.contains("the variable NOPE"), "{faults}");
    }
    let mut places: Vec<_> = faults.0.iter().map(|fault| &fault.location).collect();
    let count = places.len();
    places.dedup();
    assert_eq!((places.len(), count), (18, 18), "{faults}");
}

#[test]
fn a_client_that_is_not_there_is_told_from_a_faulty_one_with_a_longer_name() {
    let mut config = good();
    config["clients"]["web2"] = json!({});
    config["clients"]["a/b"] = json!({});
    let is_told = |name: &str| {
        let mut config = config.clone();
        config["defaultClient"] = json!(name);
        let faults = parse(&config).unwrap_err();
        faults
            .0
            .iter()
            .any(|fault| fault.location == "/defaultClient")
    };
    assert!(is_told("we") && is_told("a"));
    assert!(!is_told("web2") && !is_told("a/b") && !is_told("web"));
}

#[test]
fn what_no_server_would_take_is_a_fault() {
    for (key, value) in [
        ("clientSecret", "{{NOPE"),
        ("clientSecret", "{{SECRET}} {{NOPE"),
        ("redirectUrl", "https://www.example.org/callback#top"),
        ("redirectUrl", "https://www.example.org/callback#"),
    ] {
        let mut config = good();
        config["clients"]["web"][key] = json!(value);
        let faults = parse(&config).unwrap_err();
        let places: Vec<_> = faults.0.iter().map(|fault| &fault.location).collect();
        assert_eq!(places, [&format!("/clients/web/{key}")], "{faults}");
    }
}

#[test]
fn what_the_store_would_refuse_is_a_fault_of_the_configuration() {
    const REDIS: (&str, &str) = ("REDIS_HOSTS", "r");
    for (name, variables) in [
        (
            "SESSION_ENCRYPTION_KEYS",
            &[("SESSION_ENCRYPTION_KEYS", "canary")][..],
        ),
        ("SESSION_SCOPE", &[REDIS, ("SESSION_SCOPE", "a{b}")]),
        ("REDIS_CA", &[REDIS, ("REDIS_CA", "canary")]),
        (
            "REDIS_CLIENT_CERT",
            &[
                REDIS,
                ("REDIS_CLIENT_CERT", "canary"),
                ("REDIS_CLIENT_KEY", "-----BEGIN PRIVATE KEY-----"),
            ],
        ),
        (
            "REDIS_CLIENT_KEY",
            &[
                REDIS,
                ("REDIS_CLIENT_CERT", "-----BEGIN CERTIFICATE-----"),
                ("REDIS_CLIENT_KEY", "canary"),
            ],
        ),
    ] {
        let loopback = [("SECRET", "s"), ("HTTP_HOST", "127.0.0.1")];
        let variables = [&loopback, variables].concat();
        let faults = load(&environment(&variables, &good())).unwrap_err();
        let places: Vec<_> = faults.0.iter().map(|fault| &fault.location).collect();
        assert_eq!(places, [name], "{faults}");
        assert!(!faults.to_string().contains("canary"));
    }
}

#[test]
fn a_key_twice_and_broken_json_are_faults() {
    let nothing = environment(&[], &json!({}));
    let faults = parse_clients(r#"{"clients": {}, "clients": {}}"#, &nothing).unwrap_err();
    assert!(
        faults.to_string().contains("/clients: is given twice"),
        "{faults}"
    );
    let faults = parse_clients("{\n \"clients\": canary", &nothing).unwrap_err();
    assert!(
        faults.to_string().contains("line 2") && !faults.to_string().contains("canary"),
        "{faults}"
    );
}

#[test]
fn a_non_loopback_address_needs_a_choice() {
    let faults = |variables: &[(&'static str, &'static str)]| {
        let variables = [&[("SECRET", "s")], variables].concat();
        load(&environment(&variables, &good())).err()
    };
    assert!(
        faults(&[])
            .unwrap()
            .to_string()
            .contains("MANAGEMENT_ACCESS")
    );
    for choice in [
        ("HTTP_HOST", "127.0.0.1"),
        ("HTTP_HOST", "::1"),
        ("MANAGEMENT_ACCESS", "open"),
        ("MANAGEMENT_HTTP_PORT", "9000"),
        ("MANAGEMENT_API_KEYS", "0123456789abcdef"),
    ] {
        assert_eq!(faults(&[choice]), None, "{choice:?}");
    }
}

/// Threat 25: keys that are none would leave the routes open.
#[test]
fn threat_25_a_list_that_is_set_has_an_entry() {
    let loaded = |variables: &[(&'static str, &'static str)]| {
        let variables = [&[("SECRET", "s"), ("HTTP_HOST", "127.0.0.1")], variables].concat();
        load(&environment(&variables, &good()))
    };
    for name in ["MANAGEMENT_API_KEYS", "REDIS_HOSTS", "TRUSTED_PROXIES"] {
        for value in [",", " ", " , ,"] {
            for host in ["127.0.0.1", "0.0.0.0"] {
                let mut more = vec![("HTTP_HOST", host), (name, value)];
                if name != "MANAGEMENT_API_KEYS" {
                    more.push(("MANAGEMENT_ACCESS", "open"));
                }
                let faults = loaded(&more).unwrap_err();
                let places: Vec<_> = faults.0.iter().map(|fault| &fault.location).collect();
                assert_eq!(places, [name], "{value:?}: {faults}");
                assert!(faults.0[0].mend.contains("remove it"), "{faults}");
            }
        }
        // As any variable.
        assert!(loaded(&[(name, "")]).is_ok());
    }
    let keys = "0123456789abcdef,, fedcba9876543210 ,";
    let settings = loaded(&[("MANAGEMENT_API_KEYS", keys)]).unwrap().settings;
    assert_eq!(settings.management_api_keys.len(), 2);
}

#[test]
fn two_listeners_have_two_ports() {
    let loaded = |variables: &[(&'static str, &'static str)]| {
        let variables = [&[("SECRET", "s")], variables].concat();
        load(&environment(&variables, &good()))
    };
    for variables in [
        &[("MANAGEMENT_HTTP_PORT", "8080")][..],
        &[("HTTP_PORT", "9000"), ("MANAGEMENT_HTTP_PORT", "9000")],
    ] {
        let faults = loaded(variables).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert_eq!(faults.0[0].location, "MANAGEMENT_HTTP_PORT");
        assert!(faults.0[0].problem.contains("HTTP_PORT"), "{faults}");
    }
    // 0 is another one each time.
    assert!(loaded(&[("HTTP_PORT", "0"), ("MANAGEMENT_HTTP_PORT", "0")]).is_ok());
}

#[test]
fn no_secret_is_shown() {
    let variables = [
        ("SECRET", "canary-1"),
        ("REDIS_HOSTS", "r"),
        ("REDIS_PASSWORD", "canary-2"),
        ("MANAGEMENT_API_KEYS", "canary-3-0123456789"),
    ];
    let loaded = load(&environment(&variables, &good())).unwrap();
    assert!(!format!("{loaded:?}").contains("canary"));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}|[{}\\[\\]\":,a-z0-9]{0,200}") {
        let nothing = FakeEnvironment { variables: BTreeMap::new(), config: String::new() };
        let _ = parse_clients(&text, &nothing);
    }
}

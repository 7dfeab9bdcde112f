//! Faults of a seed, all reported at once, each with its JSON pointer.

use std::collections::HashSet;
use std::fmt;

use url::Url;

use super::{MANAGEMENT_API, Seed, grant_type};
use crate::clock::from_iso;

/// Why a seed cannot be used; lists every fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SeedError {
    faults: Vec<String>,
}

impl SeedError {
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        Self {
            faults: vec![error.to_string()],
        }
    }

    /// One sentence for each fault.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the seed is faulty: {}", self.faults.join("; "))
    }
}

pub(super) fn check(seed: &Seed) -> Result<(), SeedError> {
    let mut faults = Faults(Vec::new());
    let connections = names(
        &mut faults,
        "/connections",
        seed.connections.iter().map(|c| c.name.as_str()),
    );
    for (index, connection) in seed.connections.iter().enumerate() {
        let id = connection.id();
        let digits = id.strip_prefix("con_").unwrap_or_default();
        faults.unless(
            digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            &format!("/connections/{index}/id"),
            "is not con_ and 16 letters or digits",
        );
    }
    let audiences = names(
        &mut faults,
        "/apis",
        seed.apis.iter().map(|api| api.identifier.as_str()),
    );
    names(
        &mut faults,
        "/applications",
        seed.applications.iter().map(|app| app.client_id.as_str()),
    );

    tenant(seed, &connections, &audiences, &mut faults);
    applications(seed, &connections, &audiences, &mut faults);
    users(seed, &connections, &mut faults);

    if faults.0.is_empty() {
        Ok(())
    } else {
        Err(SeedError { faults: faults.0 })
    }
}

fn tenant(
    seed: &Seed,
    connections: &HashSet<&str>,
    audiences: &HashSet<&str>,
    faults: &mut Faults,
) {
    if let Some(name) = &seed.tenant.default_directory {
        faults.unless(
            connections.contains(name.as_str()),
            "/tenant/default_directory",
            "is not a connection",
        );
    }
    if let Some(name) = &seed.tenant.default_audience {
        faults.unless(
            audiences.contains(name.as_str()),
            "/tenant/default_audience",
            "is not an API",
        );
    }
    if let Some(namespace) = &seed.tenant.custom_claims_namespace {
        faults.unless(
            Url::parse(namespace).is_ok_and(|url| matches!(url.scheme(), "http" | "https")),
            "/tenant/custom_claims_namespace",
            "must be an http or https URL",
        );
    }
    urls(
        "/tenant/allowed_logout_urls",
        &seed.tenant.allowed_logout_urls,
        faults,
    );
}

fn applications(
    seed: &Seed,
    connections: &HashSet<&str>,
    audiences: &HashSet<&str>,
    faults: &mut Faults,
) {
    for (index, app) in seed.applications.iter().enumerate() {
        let at = |rest: &str| format!("/applications/{index}/{rest}");
        for (n, grant) in app.grant_types.iter().enumerate() {
            faults.unless(
                grant_type::ALL.contains(&grant.as_str()),
                &at(&format!("grant_types/{n}")),
                "is not a grant type that the tenant knows",
            );
        }
        for (n, name) in app.connections.iter().enumerate() {
            faults.unless(
                connections.contains(name.as_str()),
                &at(&format!("connections/{n}")),
                "is not a connection",
            );
        }
        for (n, grant) in app.client_grants.iter().enumerate() {
            faults.unless(
                grant.audience == MANAGEMENT_API || audiences.contains(grant.audience.as_str()),
                &at(&format!("client_grants/{n}/audience")),
                "is neither an API nor \"management\"",
            );
        }
        urls(&at("callbacks"), &app.callbacks, faults);
        urls(&at("allowed_logout_urls"), &app.allowed_logout_urls, faults);
        urls(
            &at("backchannel_logout_urls"),
            &app.backchannel_logout_urls,
            faults,
        );
        faults.unless(
            app.client_secret
                .as_ref()
                .is_none_or(|s| !s.expose().is_empty()),
            &at("client_secret"),
            "must not be empty: leave it out for a public application",
        );
    }
}

fn users(seed: &Seed, connections: &HashSet<&str>, faults: &mut Faults) {
    let permissions: HashSet<&str> = seed
        .apis
        .iter()
        .flat_map(|api| api.scopes.iter().map(String::as_str))
        .collect();
    let mut ids = HashSet::new();
    let mut identifiers = HashSet::new();
    for (index, user) in seed.users.iter().enumerate() {
        let at = |rest: &str| format!("/users/{index}/{rest}");
        faults.unless(
            connections.contains(user.connection.as_str()),
            &at("connection"),
            "is not a connection",
        );
        faults.unless(
            user.email.split('@').count() == 2
                && !user.email.starts_with('@')
                && !user.email.ends_with('@')
                && !user.email.contains(char::is_whitespace),
            &at("email"),
            "is not an e-mail address",
        );
        let home = seed.connections.iter().find(|c| c.name == user.connection);
        faults.unless(
            !user.password.expose().is_empty() || home.is_some_and(|c| !c.is_database()),
            &at("password"),
            "must not be empty",
        );
        faults.unless(
            user.created_at
                .as_deref()
                .is_none_or(|text| from_iso(text).is_some()),
            &at("created_at"),
            "is not a date of RFC 3339",
        );
        if let Some(id) = &user.user_id {
            faults.unless(
                id.contains('|'),
                &at("user_id"),
                "needs a provider, as in auth0|64b0",
            );
            faults.unless(ids.insert(id.as_str()), &at("user_id"), "is there twice");
        }
        for (field, name) in [
            ("email", Some(&user.email)),
            ("username", user.username.as_ref()),
            ("phone_number", user.phone_number.as_ref()),
        ] {
            if let Some(name) = name {
                faults.unless(
                    identifiers.insert((user.connection.as_str(), name.to_lowercase())),
                    &at(field),
                    "is there twice in its connection",
                );
            }
        }
        for (n, permission) in user.permissions.iter().enumerate() {
            faults.unless(
                permissions.contains(permission.as_str()),
                &at(&format!("permissions/{n}")),
                "is not a scope of any API",
            );
        }
    }
}

/// The names of a list; an empty or repeated one is a fault.
fn names<'a>(
    faults: &mut Faults,
    place: &str,
    list: impl Iterator<Item = &'a str>,
) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for (index, name) in list.enumerate() {
        let at = format!("{place}/{index}");
        faults.unless(!name.is_empty(), &at, "needs a name");
        faults.unless(seen.insert(name), &at, "has a name that is there twice");
    }
    seen
}

fn urls(place: &str, list: &[String], faults: &mut Faults) {
    for (index, text) in list.iter().enumerate() {
        faults.unless(
            Url::parse(text).is_ok(),
            &format!("{place}/{index}"),
            "is not an absolute URL",
        );
    }
}

struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, place: &str, fault: &str) {
        if !holds {
            self.0.push(format!("{place} {fault}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_fits_together() {
        Seed::example().check().unwrap();
    }

    #[test]
    fn every_fault_is_named_at_once_with_its_place() {
        let error = Seed::from_json(
            r#"{
            "tenant": { "default_directory": "nowhere", "default_audience": "urn:none" },
            "connections": [{ "name": "a" }, { "name": "a" }],
            "applications": [{
                "client_id": "x", "grant_types": ["implicit"], "callbacks": ["/relative"],
                "connections": ["b"], "client_grants": [{ "audience": "urn:none" }]
            }],
            "users": [
                { "user_id": "no-pipe", "connection": "a", "email": "mia@example.org", "password": "x" },
                { "connection": "a", "email": "MIA@example.org", "password": "", "permissions": ["read:x"] }
            ]
        }"#,
        )
        .unwrap_err();
        insta::assert_snapshot!(error.faults().join("\n"), @r#"
        /connections/1 has a name that is there twice
        /tenant/default_directory is not a connection
        /tenant/default_audience is not an API
        /applications/0/grant_types/0 is not a grant type that the tenant knows
        /applications/0/connections/0 is not a connection
        /applications/0/client_grants/0/audience is neither an API nor "management"
        /applications/0/callbacks/0 is not an absolute URL
        /users/0/user_id needs a provider, as in auth0|64b0
        /users/1/password must not be empty
        /users/1/email is there twice in its connection
        /users/1/permissions/0 is not a scope of any API
        "#);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Seed::from_json("{\n \"aplications\": []\n}").unwrap_err();
        assert!(error.to_string().contains("aplications"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

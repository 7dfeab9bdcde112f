//! The built-in tenant.

use serde_json::{Map, Value, json};

use super::{
    Api, Application, ClientGrant, Connection, MANAGEMENT_API, Seed, SeedUser, TenantOptions,
    TokenDialect, grant_type,
};
use crate::management::MANAGEMENT_SCOPES;
use crate::secret::Secret;

const DATABASE: &str = "Username-Password-Authentication";
const EMPLOYEES: &str = "employees";

pub(super) fn example() -> Seed {
    Seed {
        tenant: TenantOptions {
            default_directory: Some(DATABASE.to_owned()),
            default_audience: None,
            custom_claims_namespace: Some("https://mia-platform.eu/".to_owned()),
            allowed_logout_urls: vec!["http://localhost:8080/".to_owned()],
        },
        connections: vec![
            Connection::new(DATABASE),
            Connection {
                requires_username: true,
                ..Connection::new(EMPLOYEES)
            },
        ],
        apis: vec![Api {
            identifier: "https://api.example.org/".to_owned(),
            scopes: texts(&["read:orders", "write:orders"]),
            token_dialect: TokenDialect::Rfc9068Profile,
            token_lifetime: None,
            allow_offline_access: true,
        }],
        applications: vec![website("dev-website"), website("dev-cms"), machine()],
        users: people(),
    }
}

/// An application that people sign in to, through a browser or with a password.
fn website(client_id: &str) -> Application {
    let at_8080 =
        |path: &str| ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:8080{path}"));
    Application {
        client_id: client_id.to_owned(),
        client_secret: Some(Secret::from(format!("{client_id}-secret"))),
        grant_types: texts(&[
            grant_type::AUTHORIZATION_CODE,
            grant_type::PASSWORD,
            grant_type::REFRESH_TOKEN,
            grant_type::MFA_OTP,
        ]),
        callbacks: at_8080("/web-login/callback").into(),
        any_loopback_callback: true,
        allowed_logout_urls: at_8080("/").into(),
        any_loopback_logout: true,
        is_token_endpoint_ip_header_trusted: true,
        ..Application::default()
    }
}

/// The application that administers the tenant.
fn machine() -> Application {
    Application {
        client_id: "dev-management".to_owned(),
        client_secret: Some(Secret::from("dev-management-secret")),
        grant_types: texts(&[grant_type::CLIENT_CREDENTIALS]),
        client_grants: vec![
            ClientGrant {
                audience: MANAGEMENT_API.to_owned(),
                scope: texts(&MANAGEMENT_SCOPES),
            },
            ClientGrant {
                audience: "https://api.example.org/".to_owned(),
                scope: texts(&["read:orders"]),
            },
        ],
        ..Application::default()
    }
}

fn people() -> Vec<SeedUser> {
    vec![
        SeedUser {
            user_id: Some("auth0|64b0c0ffee0000000000a001".to_owned()),
            given_name: Some("Mia".to_owned()),
            family_name: Some("Rossi".to_owned()),
            name: Some("Mia Rossi".to_owned()),
            app_metadata: object(json!({ "groups": ["users", "admin"] })),
            user_metadata: object(json!({ "lang": "it" })),
            permissions: texts(&["read:orders", "write:orders"]),
            ..SeedUser::new("mia@example.org", "Correct-Horse-1")
        },
        SeedUser {
            user_id: Some("auth0|64b0c0ffee0000000000a002".to_owned()),
            name: Some("Alice Ångström".to_owned()),
            app_metadata: object(json!({ "groups": ["users"] })),
            permissions: texts(&["read:orders"]),
            ..SeedUser::new("alice@example.org", "Correct-Horse-2")
        },
        SeedUser {
            user_id: Some("auth0|64b0c0ffee0000000000a003".to_owned()),
            connection: EMPLOYEES.to_owned(),
            username: Some("bob".to_owned()),
            name: Some("Bob Employee".to_owned()),
            app_metadata: object(json!({ "groups": ["employees"] })),
            ..SeedUser::new("bob@example.org", "Correct-Horse-3")
        },
        SeedUser {
            user_id: Some("auth0|64b0c0ffee0000000000a004".to_owned()),
            name: Some("Blocked Person".to_owned()),
            blocked: true,
            ..SeedUser::new("blocked@example.org", "Correct-Horse-4")
        },
        SeedUser {
            user_id: Some("auth0|64b0c0ffee0000000000a005".to_owned()),
            name: Some("Second Factor".to_owned()),
            otp: Some(Secret::from("123456")),
            ..SeedUser::new("mfa@example.org", "Correct-Horse-5")
        },
    ]
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

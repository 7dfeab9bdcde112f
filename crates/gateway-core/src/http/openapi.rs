//! The `OpenAPI` document: what the table of routes says, in words and schemas.

mod operation;
mod operations;
mod schemas;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use utoipa::openapi::path::{Paths, PathsBuilder};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApi,
    OpenApiBuilder, PathItem, Ref, ResponseBuilder, ServerBuilder,
};

use super::respond::{self, Answer};
use super::route::{Exposure, ROUTES};
use crate::Error;
use crate::config::{ManagementAccess, Settings};

/// Which sessions and which keys open what.
const BEARER: &str = "bearer";
const COOKIE: &str = "sid";
const MANAGEMENT_BEARER: &str = "managementBearer";
const MANAGEMENT_KEY: &str = "managementKey";

const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// The document in both forms, rendered once.
#[derive(Debug)]
pub(super) struct Documentation {
    json: bytes::Bytes,
    yaml: bytes::Bytes,
}

impl Documentation {
    /// Of a gateway with these settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let document = document(settings);
        let json = document.to_json();
        let yaml = document.to_yaml();
        Ok(Self {
            json: json
                .map_err(|error| Error::Internal(Box::new(error)))?
                .into(),
            yaml: yaml
                .map_err(|error| Error::Internal(Box::new(error)))?
                .into(),
        })
    }

    /// `GET /documentation/json`
    pub(super) fn json(&self) -> Answer {
        respond::json_bytes(StatusCode::OK, self.json.clone())
    }

    /// `GET /documentation/yaml` (RFC 9512).
    pub(super) fn yaml(&self) -> Answer {
        let mut answer = respond::json_bytes(StatusCode::OK, self.yaml.clone());
        answer.headers_mut().insert(CONTENT_TYPE, YAML);
        answer
    }
}

fn document(settings: &Settings) -> OpenApi {
    let info = InfoBuilder::new()
        .title("auth0-gateway")
        .version(&settings.service_version)
        .description(Some(
            "Signs people in with Auth0, keeps their tokens out of the page, answers who they are, and gives back \
             offices the tenant's users.\n\nA parameter that decides anything, given twice, is 400. Every answer has \
             `x-request-id` and `Cache-Control: no-store`.",
        ));
    let tags = [
        ("sign-in", "People sign in, stay signed in and sign out."),
        ("check", "Who is this? For the services behind."),
        ("users", management(settings)),
        ("imports", "Users in bulk, within Auth0's limits."),
        ("sessions", "Live sessions, listed and ended."),
        ("status", "For whoever watches the process."),
    ];
    let tags = tags.map(|(name, words)| {
        let tag = TagBuilder::new().name(name).description(Some(words));
        tag.build()
    });
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .tags(Some(tags))
        .paths(paths(settings))
        .components(Some(components()))
        .build()
}

fn management(settings: &Settings) -> &'static str {
    match settings.management_access {
        ManagementAccess::OwnListener(_) => {
            "The tenant's users. Served, as imports and sessions are, on the listener of MANAGEMENT_HTTP_PORT."
        }
        _ => "The tenant's users.",
    }
}

fn paths(settings: &Settings) -> Paths {
    let mut paths = PathsBuilder::new();
    for (route_path, route, allow, exposure) in ROUTES {
        let prefix = match exposure {
            Exposure::Status => "",
            _ => &settings.service_prefix,
        };
        // A catch-all is a parameter like another here.
        let path = format!("{prefix}{}", route_path.replace("{*", "{"));
        // One that takes every method answers them all alike.
        let methods = if allow.is_empty() { "GET" } else { allow };
        for (name, method) in METHODS {
            if methods.split(", ").any(|allowed| allowed == name) {
                let keys =
                    exposure == Exposure::Management && !settings.management_api_keys.is_empty();
                let operation =
                    operations::operation(route_path, route, name).secured(exposure, keys);
                paths = paths.path(&path, PathItem::new(method, operation));
            }
        }
    }
    paths.build()
}

/// HEAD is what GET says without its body, and needs no words of its own.
const METHODS: [(&str, HttpMethod); 4] = [
    ("GET", HttpMethod::Get),
    ("POST", HttpMethod::Post),
    ("PATCH", HttpMethod::Patch),
    ("DELETE", HttpMethod::Delete),
];

fn components() -> Components {
    let bearer = |words: &str| {
        let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        SecurityScheme::Http(http.description(Some(words)).build())
    };
    let mut components = ComponentsBuilder::new()
        .security_scheme(
            BEARER,
            bearer("The access token of a session. It wins over the cookie."),
        )
        .security_scheme(
            COOKIE,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                COOKIE,
                "The session's handle, as the sign-in has set it.",
            ))),
        )
        .security_scheme(MANAGEMENT_BEARER, bearer("One of MANAGEMENT_API_KEYS."))
        .security_scheme(
            MANAGEMENT_KEY,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "x-api-key",
                "One of MANAGEMENT_API_KEYS.",
            ))),
        );
    for (name, schema) in schemas::all() {
        components = components.schema(name, schema);
    }
    for (status, words) in operation::FAULTS {
        let error = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Error")))
            .build();
        let response = ResponseBuilder::new()
            .description(words)
            .content("application/json", error)
            .build();
        components = components.response(operation::fault_name(status), response);
    }
    components.build()
}

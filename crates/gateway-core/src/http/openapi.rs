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

use super::Listener;
use super::management::is_served;
use super::respond::{self, Answer};
use super::route::{Exposure, ROUTES};
use crate::Error;
use crate::config::Settings;

/// Which sessions and which keys open what.
const BEARER: &str = "bearer";
const COOKIE: &str = "sid";
const MANAGEMENT_BEARER: &str = "managementBearer";
const MANAGEMENT_KEY: &str = "managementKey";

const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// Each listener's document.
#[derive(Debug)]
pub(super) struct Documentation {
    main: Document,
    management: Document,
}

impl Documentation {
    /// Of a gateway with these settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            main: Document::new(settings, Listener::Main)?,
            management: Document::new(settings, Listener::Management)?,
        })
    }

    /// Of what a listener serves.
    pub(super) fn on(&self, listener: Listener) -> &Document {
        match listener {
            Listener::Main => &self.main,
            Listener::Management => &self.management,
        }
    }
}

/// A document in both forms, rendered once.
#[derive(Debug)]
pub(super) struct Document {
    json: bytes::Bytes,
    yaml: bytes::Bytes,
}

impl Document {
    fn new(settings: &Settings, listener: Listener) -> Result<Self, Error> {
        let document = document(settings, listener);
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

const ABOUT: &str = "Signs people in with Auth0, keeps their tokens out of the page, answers who they are, and gives back \
     offices the tenant's users.\n\nA parameter that decides anything, given twice, is 400. Every answer has \
     `x-request-id` and `Cache-Control: no-store`.";
const ELSEWHERE: &str = "\n\nThe tenant's users, imports and sessions are on the listener of `MANAGEMENT_HTTP_PORT`, which has a \
     document of its own.";

const TAGS: [(&str, Exposure, &str); 6] = [
    (
        "sign-in",
        Exposure::Public,
        "People sign in, stay signed in and sign out.",
    ),
    (
        "check",
        Exposure::Public,
        "Who is this? For the services behind.",
    ),
    ("users", Exposure::Management, "The tenant's users."),
    (
        "imports",
        Exposure::Management,
        "Users in bulk, within Auth0's limits.",
    ),
    (
        "sessions",
        Exposure::Management,
        "Live sessions, listed and ended.",
    ),
    (
        "status",
        Exposure::Status,
        "For whoever watches the process.",
    ),
];

fn document(settings: &Settings, listener: Listener) -> OpenApi {
    let mut about = ABOUT.to_owned();
    if listener == Listener::Main && !is_served(settings, listener, Exposure::Management) {
        about.push_str(ELSEWHERE);
    }
    let info = InfoBuilder::new()
        .title("auth0-gateway")
        .version(&settings.service_version)
        .description(Some(about));
    let tags = TAGS
        .into_iter()
        .filter(|(_, exposure, _)| is_served(settings, listener, *exposure));
    let tags = tags.map(|(name, _, words)| {
        let tag = TagBuilder::new().name(name).description(Some(words));
        tag.build()
    });
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .tags(Some(tags))
        .paths(paths(settings, listener))
        .components(Some(components()))
        .build()
}

fn paths(settings: &Settings, listener: Listener) -> Paths {
    let mut paths = PathsBuilder::new();
    for (route_path, route, allow, exposure) in ROUTES {
        if !is_served(settings, listener, exposure) {
            continue;
        }
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

//! One operation of the document, put together.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ContentBuilder, Deprecated, Ref, RefOr, Required, ResponseBuilder, Schema, SecurityRequirement,
};

use super::super::route::Exposure;
use super::{BEARER, COOKIE, MANAGEMENT_BEARER, MANAGEMENT_KEY, schemas};

/// What can go wrong. Each has the body `Error`.
pub(super) const FAULTS: [(u16, &str); 15] = [
    (
        400,
        "The request is at fault; the message names where, and the mend.",
    ),
    (
        401,
        "No session, an unknown client, a used or expired state, a refused code, or no management key.",
    ),
    (
        403,
        "Wrong credentials, a blocked person, or a second factor is wanted (`code` is `mfa_required`).",
    ),
    (
        404,
        "There is no such user, job or session, or the route is switched off.",
    ),
    (405, "Another method is wanted; `Allow` names it."),
    (408, "The body came too slowly."),
    (409, "There is such a user already."),
    (413, "The body is too large."),
    (415, "The body is of another media type than is taken here."),
    (
        429,
        "Auth0's attack protection or rate limit; `Retry-After` says how long to wait.",
    ),
    (
        500,
        "A fault of the gateway's own, or a cookie that would be too large.",
    ),
    (501, "The route needs `managementClient` in `config.json`."),
    (
        502,
        "Auth0 does not accept the gateway's client, or its Management API failed.",
    ),
    (
        503,
        "Auth0, the store or the disk for imports is away; the session stays. `Retry-After` says how long to wait.",
    ),
    (504, "The request's deadline has passed."),
];

/// Where the document describes a fault.
pub(super) fn fault_name(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    reason.unwrap_or_default().replace([' ', '-'], "")
}

/// An operation while it is described.
pub(super) struct Described(OperationBuilder);

impl Described {
    /// The id is what generated clients call it.
    pub(super) fn new(id: &str, tag: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().operation_id(Some(id)).tag(tag);
        Self(operation.summary(Some(summary)))
    }

    pub(super) fn description(self, words: &str) -> Self {
        Self(self.0.description(Some(words)))
    }

    pub(super) fn deprecated(self) -> Self {
        Self(self.0.deprecated(Some(Deprecated::True)))
    }

    fn parameter(
        self,
        name: &str,
        place: ParameterIn,
        schema: impl Into<RefOr<Schema>>,
        words: &str,
    ) -> Self {
        let required = match place {
            ParameterIn::Path => Required::True,
            _ => Required::False,
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .schema(Some(schema))
            .description(Some(words));
        Self(self.0.parameter(parameter))
    }

    pub(super) fn query(self, name: &str, schema: impl Into<RefOr<Schema>>, words: &str) -> Self {
        self.parameter(name, ParameterIn::Query, schema, words)
    }

    pub(super) fn header(self, name: &str, words: &str) -> Self {
        self.parameter(name, ParameterIn::Header, schemas::text(), words)
    }

    pub(super) fn path(self, name: &str, words: &str) -> Self {
        self.parameter(name, ParameterIn::Path, schemas::text(), words)
    }

    /// What back offices send to every collection.
    pub(super) fn ignored(self) -> Self {
        let this = self.query("_st", schemas::text(), "Taken and ignored.");
        this.query("_useEstimate", schemas::text(), "Taken and ignored.")
    }

    /// The headers that choose a client.
    pub(super) fn client(self) -> Self {
        self.header(
            "client-type",
            "Name of the client in `config.json`; the default client without it.",
        )
        .header(
            "secret",
            "The client's key, where `apiKeys` are configured. Its alias is `client-key`.",
        )
    }

    /// A body in any of these forms.
    pub(super) fn body(self, required: bool, forms: &[(&str, &str)]) -> Self {
        let required = if required {
            Required::True
        } else {
            Required::False
        };
        let mut body = RequestBodyBuilder::new().required(Some(required));
        for (media_type, schema) in forms {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(*schema)))
                .build();
            body = body.content(*media_type, content);
        }
        Self(self.0.request_body(Some(body.build()))).faults(&[400, 408, 413, 415])
    }

    /// An answer without a body, and the headers it has.
    pub(super) fn empty(self, status: u16, words: &str, headers: &[(&str, &str)]) -> Self {
        self.answer(status, words, headers, None::<(&str, Schema)>)
    }

    /// An answer of JSON.
    pub(super) fn json(self, status: u16, words: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.answer(status, words, &[], Some(("application/json", schema)))
    }

    pub(super) fn answer(
        self,
        status: u16,
        words: &str,
        headers: &[(&str, &str)],
        content: Option<(&str, impl Into<RefOr<Schema>>)>,
    ) -> Self {
        let mut response = ResponseBuilder::new().description(words);
        for (name, words) in headers {
            let header = HeaderBuilder::new()
                .schema(Some(schemas::text()))
                .description(Some(*words));
            response = response.header(*name, header.build());
        }
        if let Some((media_type, schema)) = content {
            let content = ContentBuilder::new().schema(Some(schema)).build();
            response = response.content(media_type, content);
        }
        Self(self.0.response(status.to_string(), response.build()))
    }

    /// What can go wrong besides.
    pub(super) fn faults(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let described = Ref::from_response_name(fault_name(*status));
            self.0 = self.0.response(status.to_string(), described);
        }
        self
    }

    /// By the session that the route is about.
    pub(super) fn session(self) -> Self {
        Self(self.0.security(by(BEARER)).security(by(COOKIE))).faults(&[401])
    }

    /// By a session or none.
    pub(super) fn any_session(self) -> Self {
        let this = self.session();
        Self(this.0.security(SecurityRequirement::default()))
    }

    /// With the key that a management route asks for, and the faults that every route may have.
    pub(super) fn secured(self, exposure: Exposure, keys: bool) -> Operation {
        let mut this = match exposure {
            Exposure::Status => return self.0.build(),
            Exposure::Public | Exposure::Everywhere => self.faults(&[500, 503, 504]),
            Exposure::Management => self.faults(&[400, 500, 503, 504]),
        };
        if keys {
            this = this.faults(&[401]);
            this.0 = this.0.security(by(MANAGEMENT_BEARER));
            this.0 = this.0.security(by(MANAGEMENT_KEY));
        }
        this.0.build()
    }
}

/// One way to be let in.
fn by(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, Vec::<String>::new())
}

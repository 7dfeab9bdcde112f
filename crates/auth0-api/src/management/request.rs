//! The calls, as HTTP puts them. Nothing here sends.

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    ExportUsers, ImportUsers, JobId, ListConnections, ListUsers, PasswordChangeTicket, UserId,
    multipart,
};
use crate::governor::Group;
use crate::{Error, Tenant};

/// Longest list that is read. A hundred users of some tenants are megabytes.
const MAX_LIST_BYTES: usize = 32 << 20;
/// Longest other answer: one user may have grown to a megabyte and more.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Everything that a query value need not encode. A space becomes `%20`, never `+`.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One call, ready to be sent as often as it may be.
pub(crate) struct ManagementRequest {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Content type and bytes.
    pub(crate) body: Option<(String, Bytes)>,
    pub(crate) max_answer_bytes: usize,
    /// With which other calls it is limited.
    pub(crate) group: Group,
    pub(super) starts_import: bool,
}

impl ManagementRequest {
    fn new(method: Method, tenant: &Tenant, path: &str) -> Self {
        let users = path.starts_with("users");
        Self {
            group: match method {
                Method::GET if users => Group::UsersRead,
                Method::POST | Method::PATCH if users => Group::UsersWrite,
                Method::DELETE if users => Group::UsersDelete,
                Method::GET if path == "connections" => Group::Connections,
                _ => Group::Other,
            },
            starts_import: false,
            method,
            // Ids arrive encoded and start with `provider%7C`: none is a dot segment, none is empty.
            url: tenant.endpoint(&format!("api/v2/{path}")),
            body: None,
            max_answer_bytes: MAX_ANSWER_BYTES,
        }
    }

    /// A list, with a query.
    fn list(tenant: &Tenant, path: &str, query: &[(&str, &str)]) -> Self {
        let mut request = Self::new(Method::GET, tenant, path);
        let pairs = query.iter().map(|(name, value)| {
            let value = utf8_percent_encode(value, VALUE);
            format!("{name}={value}")
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        request.url.set_query(Some(&query));
        request.max_answer_bytes = MAX_LIST_BYTES;
        request
    }

    fn with_json(mut self, body: &Value) -> Self {
        self.body = Some(("application/json".to_owned(), body.to_string().into()));
        self
    }

    pub(super) fn list_users(tenant: &Tenant, request: &ListUsers) -> Self {
        let (page, per_page) = (request.page.to_string(), request.per_page.to_string());
        let sort = request.sort.as_ref().map(ToString::to_string);
        let fields = request.fields.join(",");
        let mut query = vec![
            ("page", page.as_str()),
            ("per_page", &per_page),
            (
                "include_totals",
                if request.include_totals {
                    "true"
                } else {
                    "false"
                },
            ),
        ];
        query.extend(sort.as_deref().map(|sort| ("sort", sort)));
        if !fields.is_empty() {
            query.push(("fields", &fields));
            query.push(("include_fields", "true"));
        }
        query.extend(request.query.as_ref().map(|q| ("q", q.as_str())));
        // Without it, old tenants search with an engine that speaks another language.
        query.push(("search_engine", "v3"));
        Self::list(tenant, "users", &query)
    }

    pub(super) fn users_by_email(tenant: &Tenant, email: &str) -> Self {
        Self::list(tenant, "users-by-email", &[("email", email)])
    }

    pub(super) fn user(tenant: &Tenant, id: &UserId) -> Self {
        Self::new(Method::GET, tenant, &format!("users/{}", id.path_segment()))
    }

    pub(super) fn create_user(tenant: &Tenant, body: &Map<String, Value>) -> Self {
        Self::new(Method::POST, tenant, "users").with_json(&Value::Object(body.clone()))
    }

    pub(super) fn update_user(tenant: &Tenant, id: &UserId, body: &Map<String, Value>) -> Self {
        let path = format!("users/{}", id.path_segment());
        Self::new(Method::PATCH, tenant, &path).with_json(&Value::Object(body.clone()))
    }

    pub(super) fn delete_user(tenant: &Tenant, id: &UserId) -> Self {
        let path = format!("users/{}", id.path_segment());
        Self::new(Method::DELETE, tenant, &path)
    }

    pub(super) fn import_users(tenant: &Tenant, import: &ImportUsers) -> Result<Self, Error> {
        let mut request = Self::new(Method::POST, tenant, "jobs/users-imports");
        request.body = Some(multipart::encode(import)?);
        request.starts_import = true;
        Ok(request)
    }

    pub(super) fn export_users(tenant: &Tenant, export: &ExportUsers) -> Self {
        let mut body = json!({ "format": "json" });
        if let Some(connection_id) = &export.connection_id {
            body["connection_id"] = json!(connection_id);
        }
        if let Some(limit) = export.limit {
            body["limit"] = json!(limit);
        }
        if !export.fields.is_empty() {
            let field = |name| json!({ "name": name });
            body["fields"] = export.fields.iter().map(field).collect();
        }
        Self::new(Method::POST, tenant, "jobs/users-exports").with_json(&body)
    }

    pub(super) fn job(tenant: &Tenant, id: &JobId) -> Self {
        Self::new(Method::GET, tenant, &format!("jobs/{id}"))
    }

    pub(super) fn job_errors(tenant: &Tenant, id: &JobId) -> Self {
        let mut request = Self::new(Method::GET, tenant, &format!("jobs/{id}/errors"));
        request.max_answer_bytes = MAX_LIST_BYTES;
        request
    }

    pub(super) fn password_change_ticket(
        tenant: &Tenant,
        id: &UserId,
        ticket: &PasswordChangeTicket,
    ) -> Self {
        let mut body = json!({ "user_id": id.as_str() });
        if let Some(result_url) = &ticket.result_url {
            body["result_url"] = json!(result_url.as_str());
        }
        if let Some(seconds) = ticket.ttl_seconds {
            body["ttl_sec"] = json!(seconds);
        }
        Self::new(Method::POST, tenant, "tickets/password-change").with_json(&body)
    }

    pub(super) fn verification_email(tenant: &Tenant, id: &UserId) -> Self {
        Self::new(Method::POST, tenant, "jobs/verification-email")
            .with_json(&json!({ "user_id": id.as_str() }))
    }

    /// A page by cursor: unlike numbered pages, these go on past the thousandth connection.
    pub(super) fn connections(
        tenant: &Tenant,
        request: &ListConnections,
        from: Option<&str>,
    ) -> Self {
        // The options of a connection may be large, and hold secrets: they stay at Auth0.
        let mut query = vec![
            ("take", "100"),
            ("fields", "id,name,strategy"),
            ("include_fields", "true"),
        ];
        query.extend(request.name.as_deref().map(|name| ("name", name)));
        query.extend(request.strategy.as_deref().map(|kind| ("strategy", kind)));
        query.extend(from.map(|from| ("from", from)));
        Self::list(tenant, "connections", &query)
    }

    pub(super) fn delete_sessions(tenant: &Tenant, id: &UserId) -> Self {
        let path = format!("users/{}/sessions", id.path_segment());
        Self::new(Method::DELETE, tenant, &path)
    }

    pub(super) fn delete_refresh_tokens(tenant: &Tenant, id: &UserId) -> Self {
        let path = format!("users/{}/refresh-tokens", id.path_segment());
        Self::new(Method::DELETE, tenant, &path)
    }
}

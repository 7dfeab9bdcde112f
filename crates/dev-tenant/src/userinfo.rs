//! `/userinfo` (OpenID Connect Core section 5.3).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::grant::Scope;
use crate::jwt;
use crate::message::{Request, Response, json, set_header};
use crate::profile;
use crate::tenant::Tenant;
use crate::token::too_many_requests;

pub(crate) fn userinfo(tenant: &Arc<Tenant>, request: &Request) -> Response {
    let Some(token) = request.bearer() else {
        return unauthorized("The access token is missing");
    };
    let Some((user_id, scope)) = subject(tenant, token) else {
        return unauthorized("The access token is invalid or has expired");
    };
    let now = tenant.now();
    let user = {
        let mut state = tenant.state();
        let Some(user) = state.users.get(&user_id).cloned() else {
            return unauthorized("The user does not exist");
        };
        if let Some(limits) = &tenant.settings.rate_limits {
            let level = state
                .buckets
                .take("userinfo", user_id, limits.userinfo, now);
            if !level.allowed {
                return too_many_requests(level, limits.retry_after);
            }
        }
        user
    };
    let namespace = tenant.options.custom_claims_namespace.as_deref();
    let claims = profile::claims(&user, &scope, namespace);
    json(StatusCode::OK, &Value::Object(claims))
}

/// Whose token it is, if it is good for this: opaque, or signed and meant for
/// `/userinfo` too; not run out; with `openid`.
fn subject(tenant: &Tenant, token: &str) -> Option<(String, Scope)> {
    let now = tenant.now();
    let opaque = tenant
        .state()
        .opaque
        .get(token, now)
        .map(|opaque| (opaque.user_id.clone(), opaque.scope.clone()));
    let (user_id, scope) = match opaque {
        Some(known) => known,
        None => {
            let claims = jwt::read(token, &tenant.keys)?;
            let userinfo = format!("{}userinfo", tenant.issuer);
            let text = |name: &str| claims.get(name).and_then(Value::as_str);
            let meant = claims
                .get("aud")
                .and_then(Value::as_array)?
                .iter()
                .any(|audience| audience.as_str() == Some(&userinfo));
            let live = claims.get("exp").and_then(Value::as_i64)? > now.unix_timestamp();
            if !meant || !live {
                return None;
            }
            (
                text("sub")?.to_owned(),
                Scope::parse(text("scope").unwrap_or_default()),
            )
        }
    };
    scope.contains("openid").then_some((user_id, scope))
}

/// Plain text without a content type, as recorded.
fn unauthorized(description: &str) -> Response {
    let mut response = Response::new(Bytes::from_static(b"Unauthorized"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    set_header(
        &mut response,
        "www-authenticate",
        &format!(
            "Bearer realm=\"Users\", error=\"invalid_token\", error_description=\"{description}\""
        ),
    );
    response
}

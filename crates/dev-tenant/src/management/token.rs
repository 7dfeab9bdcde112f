//! Who calls the Management API.

use http::StatusCode;
use serde_json::Value;

use super::Problem;
use crate::grant::Scope;
use crate::jwt;
use crate::message::Request;
use crate::tenant::Tenant;

/// What the token of a call says.
#[derive(Debug)]
pub(crate) struct Caller {
    scope: Scope,
}

impl Caller {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scope.contains(scope)
    }

    /// 403 unless the token has one of them.
    pub(crate) fn needs_any_of(&self, scopes: &[&str]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.has(scope)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            Some("insufficient_scope"),
            format!("Insufficient scope, expected any of: {}", scopes.join(",")),
        ))
    }
}

/// A token of this tenant, for this API, that has not run out.
pub(super) fn check(tenant: &Tenant, request: &Request) -> Result<Caller, Problem> {
    if request.header("authorization").is_none() {
        return Err(Problem::unauthorized("Missing authentication"));
    }
    let token = request.bearer().filter(|token| looks_like_jwt(token));
    let token = token.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Some("Bearer"),
            "Bad HTTP authentication header format",
        )
    })?;
    let claims = jwt::read(token, &tenant.keys).ok_or_else(|| {
        Problem::unauthorized("Invalid signature received for JSON Web Token validation")
    })?;
    let is_audience = |value: &Value| value.as_str() == Some(&tenant.management_audience);
    let meant = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(is_audience),
        Some(audience) => is_audience(audience),
        None => false,
    };
    let own = claims.get("iss").and_then(Value::as_str) == Some(&tenant.issuer);
    if !meant || !own {
        return Err(Problem::invalid_token());
    }
    let expires_at = claims.get("exp").and_then(Value::as_i64);
    if expires_at.is_none_or(|at| at <= tenant.now().unix_timestamp()) {
        return Err(Problem::unauthorized(
            "Expired token received for JSON Web Token validation",
        ));
    }
    let scope = claims.get("scope").and_then(Value::as_str);
    Ok(Caller {
        scope: Scope::parse(scope.unwrap_or_default()),
    })
}

/// Three parts of base64url, the last of which may be empty.
fn looks_like_jwt(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let base64url = |part: &&str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    matches!(parts.as_slice(), [header, claims, _] if !header.is_empty() && !claims.is_empty())
        && parts.iter().all(base64url)
}

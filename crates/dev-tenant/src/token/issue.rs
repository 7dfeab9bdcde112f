//! Makes tokens of grants.

use http::header::PRAGMA;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::later;
use crate::forge::{Forgery, sign_forged};
use crate::grant::{Grant, Scope};
use crate::jwt::{self, Claims};
use crate::message::{Refusal, Response, json as json_response};
use crate::profile;
use crate::secret::{base64url, random_text};
use crate::seed::{Api, TokenDialect};
use crate::state::OpaqueToken;
use crate::tenant::Tenant;
use crate::users::User;

/// What one answer is made of.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) user: &'a User,
    /// Of the code flow.
    pub(crate) nonce: Option<&'a str>,
    pub(crate) refresh_token: Option<&'a str>,
    pub(crate) forgeries: &'a [Forgery],
}

/// 200 with the tokens.
pub(crate) fn answer(tenant: &Tenant, answer: &Answer<'_>) -> Result<Response, Refusal> {
    let now = tenant.now();
    let grant = answer.grant;
    let api = grant.audience.as_deref().and_then(|name| tenant.api(name));
    let (access_token, lifetime) = match api {
        Some(api) => {
            let claims = user_access_claims(tenant, api, grant, answer.user);
            access_token(tenant, api, claims, now)?
        }
        None => opaque_token(tenant, grant, now)?,
    };
    let mut body = json!({
        "access_token": access_token,
        "scope": grant.scope.to_string(),
        "expires_in": lifetime,
        "token_type": "Bearer",
    });
    if let Some(refresh_token) = answer.refresh_token {
        body["refresh_token"] = json!(refresh_token);
    }
    if grant.scope.contains("openid") {
        body["id_token"] = json!(id_token(tenant, answer, now)?);
    }
    Ok(tokens(&body))
}

/// The cache headers that were recorded on success.
pub(crate) fn tokens(body: &Value) -> Response {
    let mut response = json_response(StatusCode::OK, body);
    response
        .headers_mut()
        .insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// The ID token (OpenID Connect Core section 2). A refreshed one keeps `sid` and
/// `auth_time` and has no nonce: what Auth0 does is not documented, and this is what
/// OpenID Connect Core section 12.2 asks for.
fn id_token(tenant: &Tenant, answer: &Answer<'_>, now: OffsetDateTime) -> Result<String, Refusal> {
    let grant = answer.grant;
    let namespace = tenant.options.custom_claims_namespace.as_deref();
    let mut claims = profile::claims(answer.user, &grant.scope, namespace);
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    set("iss", json!(tenant.issuer));
    set("aud", json!(grant.client_id));
    set("iat", json!(now.unix_timestamp()));
    let expires_at = later(now, tenant.settings.id_token_lifetime);
    set("exp", json!(expires_at.unix_timestamp()));
    if let Some(nonce) = answer.nonce {
        set("nonce", json!(nonce));
    }
    if let Some(sid) = &grant.sid {
        set("sid", json!(sid));
    }
    if let Some(auth_time) = grant.auth_time {
        set("auth_time", json!(auth_time));
    }
    if let Some(organization) = &grant.organization {
        set("org_id", json!(organization));
    }
    if grant.mfa {
        set("amr", json!(["mfa"]));
        set(
            "acr",
            json!("http://schemas.openid.net/pape/policies/2007/06/multi-factor"),
        );
    }
    let key = tenant.keys.current()?;
    Ok(sign_forged("JWT", claims, &key, answer.forgeries)?)
}

/// What an access token of a person says besides issuer and times.
fn user_access_claims(tenant: &Tenant, api: &Api, grant: &Grant, user: &User) -> Claims {
    let audience = if grant.scope.contains("openid") {
        json!([api.identifier, format!("{}userinfo", tenant.issuer)])
    } else {
        json!(api.identifier)
    };
    let permissions: Vec<&String> = user
        .permissions
        .iter()
        .filter(|permission| api.scopes.contains(permission))
        .collect();
    let mut claims = access_claims(
        api,
        &user.user_id,
        &grant.client_id,
        &grant.scope,
        grant.gty,
    );
    claims.insert("aud".to_owned(), audience);
    if !permissions.is_empty() {
        claims.insert("permissions".to_owned(), json!(permissions));
    }
    if let Some(organization) = &grant.organization {
        claims.insert("org_id".to_owned(), json!(organization));
    }
    claims
}

/// The claims of both dialects but for issuer, audience and times.
pub(crate) fn access_claims(
    api: &Api,
    subject: &str,
    client_id: &str,
    scope: &Scope,
    gty: Option<&str>,
) -> Claims {
    let mut claims = Claims::new();
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    set("sub", json!(subject));
    set("aud", json!(api.identifier));
    if !scope.is_empty() {
        set("scope", json!(scope.to_string()));
    }
    match api.token_dialect {
        TokenDialect::AccessToken => {
            set("azp", json!(client_id));
            if let Some(gty) = gty {
                set("gty", json!(gty));
            }
        }
        TokenDialect::Rfc9068Profile => set("client_id", json!(client_id)),
    }
    claims
}

/// A signed access token and its life in seconds.
pub(crate) fn access_token(
    tenant: &Tenant,
    api: &Api,
    mut claims: Claims,
    now: OffsetDateTime,
) -> Result<(String, u64), Refusal> {
    let lifetime = api
        .token_lifetime
        .unwrap_or(tenant.settings.access_token_lifetime.as_secs());
    let expires_at = later(now, std::time::Duration::from_secs(lifetime));
    claims.insert("iss".to_owned(), json!(tenant.issuer));
    claims.insert("iat".to_owned(), json!(now.unix_timestamp()));
    claims.insert("exp".to_owned(), json!(expires_at.unix_timestamp()));
    let typ = match api.token_dialect {
        TokenDialect::AccessToken => "JWT",
        TokenDialect::Rfc9068Profile => {
            claims.insert("jti".to_owned(), json!(random_text(16)?));
            "at+jwt"
        }
    };
    let key = tenant.keys.current()?;
    Ok((jwt::sign(typ, &claims, &key)?, lifetime))
}

/// An access token that is only good for `/userinfo`: it looks like a JWE of five parts
/// with an empty second one, and its content is random.
fn opaque_token(
    tenant: &Tenant,
    grant: &Grant,
    now: OffsetDateTime,
) -> Result<(String, u64), Refusal> {
    let header = json!({ "alg": "dir", "enc": "A256GCM", "iss": tenant.issuer });
    let token = format!(
        "{}..{}.{}.{}",
        base64url(header.to_string().as_bytes()),
        random_text(12)?,
        random_text(120)?,
        random_text(16)?
    );
    let lifetime = tenant.settings.access_token_lifetime;
    let content = OpaqueToken {
        user_id: grant.user_id.clone(),
        scope: grant.scope.clone(),
    };
    tenant
        .state()
        .opaque
        .insert(token.clone(), content, later(now, lifetime), now);
    Ok((token, lifetime.as_secs()))
}

/// Text of a new refresh token.
pub(crate) fn refresh_token() -> Result<String, Refusal> {
    Ok(format!("v1.M{}", random_text(48)?))
}

//! `/.well-known/*`: OpenID Connect Discovery 1.0 and the key set.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use crate::message::{Refusal, Request, Response, json as json_response, set_header};
use crate::tenant::Tenant;

pub(crate) fn configuration(tenant: &Arc<Tenant>, _: &Request) -> Response {
    let at = |path: &str| format!("{}{path}", tenant.issuer);
    let mut response = json_response(
        StatusCode::OK,
        &json!({
            "issuer": tenant.issuer,
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("oauth/token"),
            "userinfo_endpoint": at("userinfo"),
            "jwks_uri": at(".well-known/jwks.json"),
            "revocation_endpoint": at("oauth/revoke"),
            "end_session_endpoint": at("oidc/logout"),
            "scopes_supported": ["openid", "profile", "offline_access", "name", "given_name",
                "family_name", "nickname", "email", "email_verified", "picture", "created_at",
                "identities", "phone", "address"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": crate::seed::grant_type::ALL,
            "code_challenge_methods_supported": ["S256", "plain"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post",
                "none"],
            "claims_supported": ["aud", "auth_time", "created_at", "email", "email_verified",
                "exp", "family_name", "given_name", "iat", "identities", "iss", "name",
                "nickname", "phone_number", "picture", "sub"],
            "request_uri_parameter_supported": false,
            "request_parameter_supported": false,
            "backchannel_logout_supported": true,
            "backchannel_logout_session_supported": true,
        }),
    );
    public(&mut response);
    response
}

pub(crate) fn jwks(tenant: &Arc<Tenant>, _: &Request) -> Response {
    match tenant.keys.jwks() {
        Ok(keys) => {
            let mut response = json_response(StatusCode::OK, &keys);
            public(&mut response);
            response
        }
        Err(error) => Refusal::from(error).response(),
    }
}

/// Scripts of any origin may read these.
fn public(response: &mut Response) {
    set_header(response, "access-control-allow-origin", "*");
}

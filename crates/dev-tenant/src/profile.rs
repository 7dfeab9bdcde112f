//! The claims about a person that scopes open up.

use serde_json::json;

use crate::clock::iso;
use crate::grant::Scope;
use crate::jwt::Claims;
use crate::users::User;

/// Claims for the ID token and for `/userinfo`: standard ones by scope, and the custom
/// ones that an Action would set.
pub(crate) fn claims(user: &User, scope: &Scope, namespace: Option<&str>) -> Claims {
    let mut claims = Claims::new();
    let mut set = |name: &str, value: serde_json::Value| {
        claims.insert(name.to_owned(), value);
    };
    set("sub", json!(user.user_id));
    if scope.contains("profile") {
        // A string, against OpenID Connect Core section 5.1: so it was recorded.
        set("updated_at", json!(iso(user.updated_at)));
        for (name, value) in [
            ("name", &user.name),
            ("nickname", &user.nickname),
            ("picture", &user.picture),
            ("given_name", &user.given_name),
            ("family_name", &user.family_name),
        ] {
            if let Some(value) = value {
                set(name, json!(value));
            }
        }
    }
    if scope.contains("email") {
        set("email", json!(user.email));
        set("email_verified", json!(user.email_verified));
    }
    if let Some(namespace) = namespace {
        set(
            &format!("{namespace}app_metadata"),
            json!(user.app_metadata),
        );
        set(
            &format!("{namespace}user_metadata"),
            json!(user.user_metadata.clone().unwrap_or_default()),
        );
    }
    claims
}

//! What a person or machine has been granted, and how scopes are granted.

use std::fmt;

use crate::seed::{Api, Application, grant_type};

/// Scopes of OpenID Connect that every login may ask for.
const STANDARD: [&str; 5] = ["openid", "profile", "email", "address", "phone"];

/// A list of scopes, each once, in the order asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    pub(crate) fn parse(text: &str) -> Self {
        text.split(' ').filter(|part| !part.is_empty()).collect()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|scope| scope == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for Scope {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut scope = Self::default();
        for name in names {
            if !scope.contains(name) {
                scope.0.push(name.to_owned());
            }
        }
        scope
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// What one sign-in gave: carried by codes, MFA challenges and refresh tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) scope: Scope,
    /// API of the access token; none gives an opaque one.
    pub(crate) audience: Option<String>,
    /// `org_…`, copied into the tokens.
    pub(crate) organization: Option<String>,
    /// Of a browser login.
    pub(crate) sid: Option<String>,
    /// Of a login with `max_age` or `prompt=login`, in seconds since the epoch.
    pub(crate) auth_time: Option<i64>,
    /// Whether a second factor was used.
    pub(crate) mfa: bool,
    /// The `gty` claim of Auth0's access token profile.
    pub(crate) gty: Option<&'static str>,
}

#[cfg(test)]
impl Grant {
    pub(crate) fn of(user_id: &str, client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            user_id: user_id.to_owned(),
            ..Self::default()
        }
    }
}

/// Which scopes of an API a person may be granted: those of the Management API are for
/// machines.
fn of_api(api: Option<&Api>, is_management: bool) -> impl Iterator<Item = &str> {
    api.into_iter()
        .filter(move |_| !is_management)
        .flat_map(|api| api.scopes.iter().map(String::as_str))
}

/// The API that a grant is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) api: Option<&'a Api>,
    pub(crate) is_management: bool,
}

/// Scopes of a browser login: of those asked for, the ones that exist.
pub(crate) fn browser_scope(asked: &str, app: &Application, target: Target<'_>) -> Scope {
    let known = |name: &str| {
        STANDARD.contains(&name)
            || (name == "offline_access" && offline_allowed(app, target.api))
            || of_api(target.api, target.is_management).any(|scope| scope == name)
    };
    Scope::parse(asked)
        .iter()
        .filter(|name| known(name))
        .collect()
}

/// Scopes of the password grants. Without `scope`, all of the API's are granted; `openid`
/// brings all standard ones, as recorded.
pub(crate) fn password_scope(asked: Option<&str>, app: &Application, target: Target<'_>) -> Scope {
    let Some(asked) = asked else {
        return STANDARD
            .into_iter()
            .chain(of_api(target.api, target.is_management))
            .collect();
    };
    let granted = browser_scope(asked, app, target);
    if granted.contains("openid") {
        STANDARD.into_iter().chain(granted.iter()).collect()
    } else {
        granted
    }
}

/// A refresh token needs an API that allows offline access (the user information that
/// is served without an audience does) and an application with the grant.
fn offline_allowed(app: &Application, api: Option<&Api>) -> bool {
    app.allows_grant(grant_type::REFRESH_TOKEN) && api.is_none_or(|api| api.allow_offline_access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn check(asked: Option<&str>, password: bool, with_api: bool, expected: &str) {
        let seed = Seed::example();
        let app = &seed.applications[0];
        let target = Target {
            api: with_api.then(|| &seed.apis[0]),
            is_management: false,
        };
        let scope = if password {
            password_scope(asked, app, target)
        } else {
            browser_scope(asked.unwrap_or_default(), app, target)
        };
        assert_eq!(scope.to_string(), expected);
    }

    #[test]
    fn a_browser_login_gets_what_exists_of_what_it_asks_for() {
        check(
            Some("openid  read:orders openid admin offline_access"),
            false,
            true,
            "openid read:orders offline_access",
        );
        check(Some("openid read:orders"), false, false, "openid");
        check(None, false, true, "");
    }

    #[test]
    fn a_password_grant_gets_the_standard_scopes_with_openid() {
        check(
            Some("openid"),
            true,
            false,
            "openid profile email address phone",
        );
        check(Some("read:orders"), true, true, "read:orders");
        check(
            None,
            true,
            true,
            "openid profile email address phone read:orders write:orders",
        );
    }

    #[test]
    fn offline_access_needs_the_api_and_the_application() {
        let mut seed = Seed::example();
        seed.apis[0].allow_offline_access = false;
        let target = Target {
            api: Some(&seed.apis[0]),
            is_management: false,
        };
        let scope = browser_scope("openid offline_access", &seed.applications[0], target);
        assert_eq!(scope.to_string(), "openid");
    }
}

//! Which paths there are, and what they take.

use http::Method;
use percent_encoding::percent_decode;

use crate::Error;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Authorize,
    Token,
    Refresh,
    UserInfo,
    Auth,
    AuthBelow,
    WebLogin,
    WebLoginCallback,
    Logout,
    ChangePassword,
    BackchannelLogout,
    ActiveUsers,
    Users,
    CountUsers,
    Import,
    ImportStatus,
    ImportErrors,
    ExportUsers,
    User,
    UserPassword,
    Sessions,
    UserSessions,
    UserSession,
    Health,
    Ready,
    CheckUp,
    Metrics,
    Documentation,
    DocumentationYaml,
}

/// Where a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposure {
    /// For people's browsers and the services behind.
    Public,
    /// Administers the tenant: protected.
    Management,
    /// About the listener itself; on every one.
    Everywhere,
    /// For whoever watches the process; on every listener, outside of the prefix.
    Status,
}

const READ: &str = "GET, HEAD";

/// Path, route, the `Allow` header, and where it is served.
pub(super) const ROUTES: [(&str, Route, &str, Exposure); 30] = [
    ("/authorize", Route::Authorize, "GET", Exposure::Public),
    ("/oauth/token", Route::Token, "POST", Exposure::Public),
    ("/refreshtoken", Route::Refresh, "POST", Exposure::Public),
    ("/userinfo", Route::UserInfo, READ, Exposure::Public),
    ("/users/me", Route::UserInfo, READ, Exposure::Public),
    ("/auth", Route::Auth, READ, Exposure::Public),
    // Envoy appends the judged request's path, and keeps its method.
    ("/auth/{*path}", Route::AuthBelow, "", Exposure::Public),
    ("/web-login", Route::WebLogin, "GET", Exposure::Public),
    (
        "/web-login/callback",
        Route::WebLoginCallback,
        "GET",
        Exposure::Public,
    ),
    ("/logout", Route::Logout, "GET, POST", Exposure::Public),
    (
        "/changepassword",
        Route::ChangePassword,
        "POST",
        Exposure::Public,
    ),
    (
        "/backchannel-logout",
        Route::BackchannelLogout,
        "POST",
        Exposure::Public,
    ),
    (
        "/users/active",
        Route::ActiveUsers,
        READ,
        Exposure::Management,
    ),
    (
        "/users",
        Route::Users,
        "GET, HEAD, POST",
        Exposure::Management,
    ),
    ("/users/import", Route::Import, "POST", Exposure::Management),
    (
        "/users/import/status/{id}",
        Route::ImportStatus,
        READ,
        Exposure::Management,
    ),
    (
        "/users/import/status/{id}/errors",
        Route::ImportErrors,
        READ,
        Exposure::Management,
    ),
    (
        "/users/count",
        Route::CountUsers,
        READ,
        Exposure::Management,
    ),
    (
        "/users/export",
        Route::ExportUsers,
        READ,
        Exposure::Management,
    ),
    (
        "/users/{id}",
        Route::User,
        "GET, HEAD, PATCH, DELETE",
        Exposure::Management,
    ),
    (
        "/users/{id}/change-password",
        Route::UserPassword,
        "POST",
        Exposure::Management,
    ),
    ("/sessions", Route::Sessions, READ, Exposure::Management),
    (
        "/sessions/{id}",
        Route::UserSessions,
        "DELETE",
        Exposure::Management,
    ),
    (
        "/sessions/{id}/{session}",
        Route::UserSession,
        "DELETE",
        Exposure::Management,
    ),
    (
        "/documentation/json",
        Route::Documentation,
        READ,
        Exposure::Everywhere,
    ),
    (
        "/documentation/yaml",
        Route::DocumentationYaml,
        READ,
        Exposure::Everywhere,
    ),
    ("/-/healthz", Route::Health, READ, Exposure::Status),
    ("/-/ready", Route::Ready, READ, Exposure::Status),
    ("/-/check-up", Route::CheckUp, READ, Exposure::Status),
    ("/-/metrics", Route::Metrics, READ, Exposure::Status),
];

/// A route that a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) route: Route,
    pub(super) allow: &'static str,
    pub(super) exposure: Exposure,
}

impl Found {
    /// Does the route take this method?
    pub(super) fn takes(&self, method: &Method) -> bool {
        self.allow.is_empty()
            || self
                .allow
                .split(',')
                .any(|allowed| allowed.trim_start() == method.as_str())
    }
}

/// The table of routes.
#[derive(Debug)]
pub(super) struct Router(matchit::Router<Found>);

impl Router {
    /// All routes, below `prefix` but for the status ones.
    pub(super) fn new(prefix: &str) -> Result<Self, matchit::InsertError> {
        let mut router = matchit::Router::new();
        for (path, route, allow, exposure) in ROUTES {
            let path = match exposure {
                Exposure::Status => path.to_owned(),
                _ => format!("{prefix}{path}"),
            };
            router.insert(
                path,
                Found {
                    route,
                    allow,
                    exposure,
                },
            )?;
        }
        // `{*path}` does not stand for nothing, and Envoy sends `/auth/` for `/`.
        let (allow, exposure) = ("", Exposure::Public);
        router.insert(
            format!("{prefix}/auth/"),
            Found {
                route: Route::AuthBelow,
                allow,
                exposure,
            },
        )?;
        Ok(Self(router))
    }

    /// The route of a path, compared byte by byte as it came: no decoding, no tidying.
    pub(super) fn find(&self, path: &str) -> Option<Found> {
        self.0.at(path).ok().map(|found| *found.value)
    }

    /// What stands in a path in the place of `{name}`, percent-decoded once.
    pub(super) fn parameter(&self, path: &str, name: &str) -> Result<String, Error> {
        let found = self.0.at(path).ok();
        let raw = found.and_then(|found| found.params.get(name).map(str::to_owned));
        let raw = raw.ok_or(Error::NotFound)?;
        let bytes = raw.as_bytes();
        let whole = |at: usize| matches!(bytes.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = (0..bytes.len()).all(|at| bytes[at] != b'%' || whole(at));
        let decoded = percent_decode(bytes).decode_utf8().ok();
        decoded
            .filter(|_| escaped)
            .map(String::from)
            .ok_or_else(|| {
                Error::BadRequest(format!(
                    "the {name} in the path is not properly percent-encoded UTF-8"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_4_and_27_only_the_exact_path_is_the_route() {
        let router = Router::new("/api").unwrap();
        let route = |path| router.find(path).map(|found| found.route);
        assert_eq!(route("/api/userinfo"), Some(Route::UserInfo));
        assert_eq!(route("/-/healthz"), Some(Route::Health));
        assert_eq!(route("/api/auth/"), Some(Route::AuthBelow));
        assert_eq!(route("/api/auth/orders/1"), Some(Route::AuthBelow));
        for path in [
            "/userinfo",
            "/api/-/healthz",
            "/api/userinfo/",
            "/api//userinfo",
            "//api/userinfo",
            "/api/./userinfo",
            "/api/x/../userinfo",
            "/api/%75serinfo",
            "/API/userinfo",
            "/api/userinfo%23",
            "/api/userinfo;x",
            "/api/users/active/",
            "",
            "/",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}

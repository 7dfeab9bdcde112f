//! Path and method to a route; faults and the journal around it.

use std::sync::Arc;

use http::{Method, StatusCode};
use matchit::Router;

use crate::clock::iso;
use crate::fault::{FaultKind, Hit};
use crate::journal::Call;
use crate::limits::Level;
use crate::management::{self, Problem, blocks, connections, jobs, sessions, tickets, users};
use crate::message::{Request, Response, method_not_allowed, set_header, with_body};
use crate::tenant::Tenant;
use crate::token::{self, too_many_requests};
use crate::{authorize, dbconnections, dev_routes, discovery, login, logout, revoke, userinfo};

const MANAGEMENT_PATH: &str = "/api/v2/";

/// A route that does not wait: none can hold a lock across an await.
type Plain = fn(&Arc<Tenant>, &Request) -> Response;

#[derive(Clone, Copy)]
enum Handler {
    Plain(Plain),
    /// A call of the Management API with the scopes of which it needs one.
    Managed(&'static [&'static str], management::Route),
    ImportUsers,
    RotateKeys,
    BackchannelLogout,
}

/// Handlers of one path by method.
type Methods = &'static [(&'static str, Handler)];

const fn plain(route: Plain) -> Handler {
    Handler::Plain(route)
}

const fn managed(scopes: &'static [&'static str], route: management::Route) -> Handler {
    Handler::Managed(scopes, route)
}

const LIST_USERS: Methods = &[
    ("GET", managed(&["read:users"], users::list)),
    ("POST", managed(&["create:users"], users::create)),
];

const ROUTES: &[(&str, Methods)] = &[
    ("/api/v2/users", LIST_USERS),
    // An empty id: what Auth0 makes of it, but for a deletion.
    ("/api/v2/users/", LIST_USERS),
    (
        "/api/v2/users/{id}",
        &[
            (
                "GET",
                managed(
                    &["read:users", "read:current_user", "read:user_idp_tokens"],
                    users::by_id,
                ),
            ),
            (
                "PATCH",
                managed(
                    &["update:users", "update:users_app_metadata"],
                    users::update,
                ),
            ),
            (
                "DELETE",
                managed(&["delete:users", "delete:current_user"], users::remove),
            ),
        ],
    ),
    (
        "/api/v2/users-by-email",
        &[("GET", managed(&["read:users"], users::by_email))],
    ),
    (
        "/api/v2/users/{id}/identities",
        &[("POST", managed(&["update:users"], users::link))],
    ),
    (
        "/api/v2/users/{id}/identities/{provider}/{account}",
        &[("DELETE", managed(&["update:users"], users::unlink))],
    ),
    (
        "/api/v2/users/{id}/sessions",
        &[
            ("GET", managed(&["read:sessions"], sessions::of_user)),
            (
                "DELETE",
                managed(&["delete:sessions"], sessions::end_of_user),
            ),
        ],
    ),
    (
        "/api/v2/users/{id}/refresh-tokens",
        &[
            (
                "GET",
                managed(&["read:refresh_tokens"], sessions::refresh_tokens_of_user),
            ),
            (
                "DELETE",
                managed(
                    &["delete:refresh_tokens"],
                    sessions::revoke_refresh_tokens_of_user,
                ),
            ),
        ],
    ),
    (
        "/api/v2/users/{id}/revoke-access",
        &[(
            "POST",
            managed(
                &["delete:sessions", "delete:refresh_tokens"],
                sessions::revoke_access,
            ),
        )],
    ),
    (
        "/api/v2/sessions/{id}",
        &[
            ("GET", managed(&["read:sessions"], sessions::by_id)),
            ("DELETE", managed(&["delete:sessions"], sessions::end)),
        ],
    ),
    (
        "/api/v2/sessions/{id}/revoke",
        &[(
            "POST",
            managed(
                &["delete:sessions", "delete:refresh_tokens"],
                sessions::revoke,
            ),
        )],
    ),
    (
        "/api/v2/refresh-tokens/{id}",
        &[
            (
                "GET",
                managed(&["read:refresh_tokens"], sessions::refresh_token),
            ),
            (
                "DELETE",
                managed(&["delete:refresh_tokens"], sessions::revoke_refresh_token),
            ),
        ],
    ),
    (
        "/api/v2/user-blocks",
        &[
            ("GET", managed(&["read:users"], blocks::of_identifier)),
            ("DELETE", managed(&["update:users"], blocks::of_identifier)),
        ],
    ),
    (
        "/api/v2/user-blocks/{id}",
        &[
            ("GET", managed(&["read:users"], blocks::of_user)),
            ("DELETE", managed(&["update:users"], blocks::of_user)),
        ],
    ),
    (
        "/api/v2/tickets/password-change",
        &[(
            "POST",
            managed(&["create:user_tickets"], tickets::password_change),
        )],
    ),
    (
        "/api/v2/tickets/email-verification",
        &[(
            "POST",
            managed(&["create:user_tickets"], tickets::email_verification),
        )],
    ),
    (
        "/api/v2/jobs/users-imports",
        &[("POST", Handler::ImportUsers)],
    ),
    (
        "/api/v2/jobs/users-exports",
        &[("POST", managed(&["read:users"], jobs::users_exports))],
    ),
    (
        "/api/v2/jobs/verification-email",
        &[("POST", managed(&["update:users"], jobs::verification_email))],
    ),
    (
        "/api/v2/jobs/{id}",
        &[("GET", managed(&["create:users", "read:users"], jobs::by_id))],
    ),
    (
        "/api/v2/jobs/{id}/errors",
        &[(
            "GET",
            managed(&["create:users", "read:users"], jobs::errors),
        )],
    ),
    ("/exports/{id}", &[("GET", plain(jobs::download))]),
    (
        "/api/v2/connections",
        &[("GET", managed(&["read:connections"], connections::list))],
    ),
    (
        "/api/v2/connections/{id}",
        &[("GET", managed(&["read:connections"], connections::by_id))],
    ),
    (
        "/authorize",
        &[
            ("GET", plain(authorize::authorize)),
            ("POST", plain(authorize::authorize)),
        ],
    ),
    (
        "/u/login",
        &[
            ("GET", plain(login::login_page)),
            ("POST", plain(login::log_in)),
        ],
    ),
    (
        "/u/mfa-otp-challenge",
        &[
            ("GET", plain(login::otp_page)),
            ("POST", plain(login::verify_otp)),
        ],
    ),
    ("/oauth/token", &[("POST", plain(token::token))]),
    ("/oauth/revoke", &[("POST", plain(revoke::revoke))]),
    (
        "/userinfo",
        &[
            ("GET", plain(userinfo::userinfo)),
            ("POST", plain(userinfo::userinfo)),
        ],
    ),
    ("/v2/logout", &[("GET", plain(logout::v2_logout))]),
    (
        "/oidc/logout",
        &[
            ("GET", plain(logout::oidc_logout)),
            ("POST", plain(logout::oidc_logout)),
        ],
    ),
    (
        "/dbconnections/change_password",
        &[("POST", plain(dbconnections::change_password))],
    ),
    (
        "/dbconnections/signup",
        &[("POST", plain(dbconnections::signup))],
    ),
    (
        "/.well-known/openid-configuration",
        &[("GET", plain(discovery::configuration))],
    ),
    (
        "/.well-known/oauth-authorization-server",
        &[("GET", plain(discovery::configuration))],
    ),
    ("/.well-known/jwks.json", &[("GET", plain(discovery::jwks))]),
    (
        "/_dev/faults",
        &[
            ("POST", plain(dev_routes::faults)),
            ("DELETE", plain(dev_routes::faults)),
        ],
    ),
    ("/_dev/keys/rotate", &[("POST", Handler::RotateKeys)]),
    (
        "/_dev/keys/revoke",
        &[("POST", plain(dev_routes::revoke_keys))],
    ),
    (
        "/_dev/clock/advance",
        &[("POST", plain(dev_routes::advance_clock))],
    ),
    (
        "/_dev/calls",
        &[
            ("GET", plain(dev_routes::calls)),
            ("DELETE", plain(dev_routes::calls)),
        ],
    ),
    ("/_dev/users", &[("GET", plain(dev_routes::users))]),
    (
        "/_dev/users/{id}",
        &[
            ("GET", plain(dev_routes::user)),
            ("PATCH", plain(dev_routes::user)),
            ("DELETE", plain(dev_routes::user)),
        ],
    ),
    (
        "/_dev/search/parse",
        &[("POST", plain(dev_routes::parse_searches))],
    ),
    (
        "/_dev/backchannel-logout",
        &[("POST", Handler::BackchannelLogout)],
    ),
];

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer.
    Answer(Response),
    /// An answer whose body breaks off in the middle.
    Truncated(Response),
    /// The connection is closed without an answer.
    Cut,
}

/// All routes of a tenant.
pub(crate) struct Routes {
    tenant: Arc<Tenant>,
    paths: Router<Methods>,
}

impl Routes {
    /// # Errors
    /// Only if two routes of the table clash.
    pub(crate) fn new(tenant: Arc<Tenant>) -> Result<Self, matchit::InsertError> {
        let mut paths = Router::new();
        for (path, methods) in ROUTES {
            paths.insert(*path, *methods)?;
        }
        Ok(Self { tenant, paths })
    }

    /// Answers one request, or has it hit by the faults that wait for it.
    pub(crate) async fn answer(&self, mut request: Request) -> Outcome {
        let own = request.path.starts_with("/_dev/");
        let hit = if own {
            Hit::default()
        } else {
            let call = self.call(&request);
            let grant_type = call.grant_type.clone();
            self.tenant.journal().record(call);
            self.tenant.faults().hit(
                request.method.as_str(),
                &request.path,
                grant_type.as_deref(),
            )
        };
        if !hit.delay.is_zero() {
            tokio::time::sleep(hit.delay).await;
        }
        request.forgeries = hit.forgeries;
        request.fails_job = hit.fails_job;
        let mut response = match &hit.instead {
            Some(FaultKind::CutBefore) => return Outcome::Cut,
            Some(FaultKind::RateLimited {
                retry_after,
                reset_in,
            }) => self.rate_limited(&request, *retry_after, *reset_in),
            Some(FaultKind::Status { status, body }) => replaced(*status, body),
            _ => self.limited(request).await,
        };
        if !own {
            self.standard_headers(&mut response);
        }
        match hit.instead {
            Some(FaultKind::CutAfter) => Outcome::Cut,
            Some(FaultKind::Truncated) => Outcome::Truncated(response),
            _ => Outcome::Answer(response),
        }
    }

    /// The route, unless a bucket of the whole tenant or of the Management API is empty.
    async fn limited(&self, request: Request) -> Response {
        let managed = request.path.starts_with(MANAGEMENT_PATH);
        let levels = self.levels(&request, managed);
        let mut tightest = levels.into_iter().min_by_key(|level| level.remaining);
        if let Some(level) = tightest.take_if(|level| !level.allowed) {
            return self.too_many(level, managed);
        }
        let mut response = self.route(request).await;
        if let Some(level) = tightest
            && managed
        {
            level.set_headers(&mut response);
        }
        response
    }

    /// What is left in the buckets that the request draws from.
    fn levels(&self, request: &Request, managed: bool) -> Vec<Level> {
        let free = request.path.starts_with("/_dev/") || request.path.starts_with("/.well-known/");
        let Some(limits) = self.tenant.settings.rate_limits.as_ref().filter(|_| !free) else {
            return Vec::new();
        };
        let own = managed.then_some(("management", limits.management));
        let global = limits.global.map(|bucket| ("global", bucket));
        let now = self.tenant.now();
        let mut state = self.tenant.state();
        own.into_iter()
            .chain(global)
            .map(|(kind, bucket)| state.buckets.take(kind, String::new(), bucket, now))
            .collect()
    }

    fn too_many(&self, level: Level, managed: bool) -> Response {
        let limits = self.tenant.settings.rate_limits.as_ref();
        let retry_after = limits.is_some_and(|limits| limits.retry_after);
        refused(level, retry_after, managed)
    }

    async fn route(&self, mut request: Request) -> Response {
        let path = request.path.clone();
        let Ok(matched) = self.paths.at(&path) else {
            return dev_routes::problem(StatusCode::NOT_FOUND, "There is nothing at this path.");
        };
        let mut parameters = matched.params.iter().map(|(_, text)| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
            decoded.into_owned()
        });
        request.id = parameters.next().unwrap_or_default();
        request.more = parameters.collect();
        // The server leaves the body of a HEAD away by itself.
        let method = match request.method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        let handler = matched.value.iter().find(|(name, _)| *name == method);
        let Some((_, handler)) = handler else {
            let allowed: Vec<&str> = matched.value.iter().map(|(name, _)| *name).collect();
            return method_not_allowed(&allowed.join(", "));
        };
        // Only the first requests after a start have to wait here.
        self.tenant.keys.ready().await;
        match handler {
            Handler::Plain(route) => route(&self.tenant, &request),
            Handler::Managed(scopes, route) => {
                management::answer(&self.tenant, &request, scopes, *route)
            }
            Handler::ImportUsers => jobs::users_imports(Arc::clone(&self.tenant), request).await,
            Handler::RotateKeys => dev_routes::rotate_keys(Arc::clone(&self.tenant)).await,
            Handler::BackchannelLogout => {
                dev_routes::backchannel_logout(Arc::clone(&self.tenant), request).await
            }
        }
    }

    /// The request as the journal keeps it. Faulty parameters are left out here; the
    /// route complains about them.
    fn call(&self, request: &Request) -> Call {
        let query = request.query().unwrap_or_default();
        let form = if request.method == Method::POST {
            request.form().unwrap_or_default()
        } else {
            crate::params::Params::default()
        };
        let mut parameters: Vec<String> = query
            .names()
            .chain(form.names())
            .map(str::to_owned)
            .collect();
        parameters.sort();
        let of = |name: &str| form.get(name).or(query.get(name)).map(str::to_owned);
        Call {
            method: request.method.to_string(),
            path: request.path.clone(),
            grant_type: of("grant_type"),
            client_id: of("client_id").or_else(|| request.basic().flatten().map(|(id, _)| id)),
            parameters,
            forwarded_for: request.header("auth0-forwarded-for").map(str::to_owned),
            at: iso(self.tenant.now()),
        }
    }

    fn rate_limited(&self, request: &Request, retry_after: Option<u64>, reset_in: u64) -> Response {
        let reset = i64::try_from(reset_in).unwrap_or(i64::MAX);
        let level = Level {
            limit: 100,
            remaining: 0,
            reset: self.tenant.now().unix_timestamp().saturating_add(reset),
            wait: retry_after.unwrap_or_default(),
            allowed: false,
        };
        let managed = request.path.starts_with(MANAGEMENT_PATH);
        refused(level, retry_after.is_some(), managed)
    }

    /// Headers that nearly every answer of Auth0 was recorded with.
    fn standard_headers(&self, response: &mut Response) {
        if let Ok(id) = crate::secret::random_text(12) {
            set_header(response, "x-auth0-requestid", &id);
        }
        if !response.headers().contains_key("x-ratelimit-limit") {
            let reset = self.tenant.now().unix_timestamp() + 1;
            set_header(response, "x-ratelimit-limit", "100");
            set_header(response, "x-ratelimit-remaining", "99");
            set_header(response, "x-ratelimit-reset", &reset.to_string());
        }
        set_header(response, "vary", "Accept-Encoding, Origin");
        if self.tenant.is_https() {
            set_header(response, "strict-transport-security", "max-age=31536000");
        }
    }
}

/// 429 in the shape of the API that was called.
fn refused(level: Level, retry_after: bool, managed: bool) -> Response {
    if !managed {
        return too_many_requests(level, retry_after);
    }
    let mut response = Problem::too_many_requests().response();
    level.set_headers(&mut response);
    if retry_after {
        set_header(&mut response, "retry-after", &level.wait.to_string());
    }
    response
}

fn replaced(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if body.starts_with('{') {
        "application/json"
    } else {
        "text/html; charset=utf-8"
    };
    with_body(status, content_type, body.to_owned())
}

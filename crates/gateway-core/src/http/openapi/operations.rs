//! What each route does.

use super::super::route::Route;
use super::operation::Described;
use super::schemas::{anything, boolean, either, integer, named, text};
use crate::query::PLAIN_FIELDS;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The headers of the answer that begins or ends a sign-in.
const LOCATION: (&str, &str) = ("Location", "Where the browser goes.");
const SET_COOKIE: (&str, &str) = ("Set-Cookie", "The cookie `sid`.");

/// Describes what a route does for a method that it takes.
pub(super) fn operation(path: &str, route: Route, method: &str) -> Described {
    match route {
        Route::Authorize => login_parameters(Described::new(
            "authorize",
            "sign-in",
            "Sends the browser to Auth0's login",
        ))
        .client()
        .empty(302, "To Auth0.", &[LOCATION])
        .faults(&[400, 401]),
        Route::WebLogin => login_parameters(Described::new(
            "webLogin",
            "sign-in",
            "The built-in login page: as /authorize, with a state that is bound to the browser",
        ))
        .client()
        .empty(302, "To Auth0.", &[LOCATION, ("Set-Cookie", "What the state is bound to.")])
        .faults(&[400, 401, 404]),
        Route::WebLoginCallback => Described::new(
            "webLoginCallback",
            "sign-in",
            "Where Auth0 sends the browser back to the built-in login page",
        )
        .query("state", text(), "As it was sent.")
        .query("code", text(), "What the tokens are bought with.")
        .query("error", text(), "Why there is no code.")
        .empty(302, "Signed in, and on to the target.", &[LOCATION, SET_COOKIE])
        .faults(&[400, 401, 403, 404, 429, 502]),
        Route::Token => Described::new("token", "sign-in", "Signs in, by password or by code")
            .description(
                "A client with `website` among its scopes gets an empty 200 and the cookie; any other the tokens. \
                 Grants: `password`, password-realm, `authorization_code`, `refresh_token`.",
            )
            .client()
            .body(true, &[(FORM, "TokenRequest"), (JSON, "TokenRequest")])
            .answer(
                200,
                "Signed in.",
                &[SET_COOKIE, ("Location", "The target that was asked for at /authorize.")],
                Some((JSON, named("Tokens"))),
            )
            .faults(&[401, 403, 429, 502]),
        Route::Refresh => Described::new("refresh", "sign-in", "Buys new tokens")
            .description("By cookie the answer is a new cookie, by bearer the new tokens.")
            .client()
            .session()
            .body(false, &[(JSON, "RefreshRequest"), (FORM, "RefreshRequest")])
            .answer(200, "Refreshed.", &[SET_COOKIE], Some((JSON, named("Tokens"))))
            .faults(&[403, 429, 502]),
        Route::UserInfo if path == "/users/me" => {
            user_info("me", "The same under its old name").deprecated()
        }
        Route::UserInfo => user_info("userInfo", "Who is this?"),
        Route::Auth => auth("auth", "Who is this, in headers (forward authentication)"),
        Route::AuthBelow => auth("authBelow", "The same with any path below and any method, as Envoy asks")
            .path("path", "Of the request that is judged; it changes nothing."),
        Route::Logout => Described::new(
            if method == "GET" { "logoutByLink" } else { "logout" },
            "sign-in",
            "Ends the session, and sends the browser to Auth0's logout",
        )
        .any_session()
        .client()
        .query("redirect", text(), "Where to, afterwards: a path of this host, or an allowed URL.")
        .query("redirectUri", text(), "Alias of `redirect`.")
        .empty(302, "To Auth0.", &[LOCATION, SET_COOKIE])
        .faults(&[400, 405]),
        Route::ChangePassword => Described::new("changePassword", "sign-in", "Mails a link for a new password")
            .description("Always the same answer, so that nobody learns who exists.")
            .client()
            .body(true, &[(JSON, "ChangePasswordRequest"), (FORM, "ChangePasswordRequest")])
            .json(200, "Taken.", named("Message"))
            .faults(&[401, 429, 502]),
        Route::BackchannelLogout => Described::new(
            "backchannelLogout",
            "sign-in",
            "Auth0 says that somebody has left (OpenID Connect Back-Channel Logout)",
        )
        .body(true, &[(FORM, "LogoutToken"), (JSON, "LogoutToken")])
        .empty(200, "Ended.", &[]),
        Route::ActiveUsers => Described::new("listActiveUsers", "sessions", "Who has a live session")
            .description("Each once, sorted by id, streamed.")
            .header(
                "acl_rows",
                "One that hides nobody. Any other is 400: only Auth0 knows what it asks of them.",
            )
            .query("_l", integer(1), "At most so many; all without it.")
            .query("_sk", integer(0), "Leaves out the first.")
            .ignored()
            .json(200, "The ids.", named("ActiveUsers")),
        Route::Users if method == "POST" => Described::new("createUser", "users", "Creates a user")
            .header("acl_rows", ACL)
            .body(true, &[(JSON, "NewUser")])
            .json(201, "Created.", named("User"))
            .faults(&AUTH0)
            .faults(&[404, 409]),
        Route::Users => filters(Described::new("listUsers", "users", "Lists and searches users"))
            .query("_l", integer(1).maximum(Some(1000)).default(Some(25.into())), "At most so many.")
            .query("_sk", integer(0).default(Some(0.into())), "Leaves out exactly so many; `_sk` + `_l` up to 1000.")
            .query("_s", text(), "The field to sort by, with `-` downwards.")
            .query("_p", text(), "The fields to answer with, separated by commas.")
            .query("_explain", boolean(), "Answers with what would be sent to Auth0.")
            .json(200, "The users, or the explanation.", either(&["Users", "Explanation"])),
        Route::CountUsers => filters(Described::new("countUsers", "users", "How many match"))
            .json(200, "A number.", integer(0)),
        Route::ExportUsers => filters(Described::new("exportUsers", "users", "Every match, however many"))
            .query("_p", text(), "The fields to answer with, separated by commas.")
            .answer(
                200,
                "A line of JSON for each user. A fault breaks the connection, so that a short list never looks whole.",
                &[],
                Some(("application/x-ndjson", text())),
            ),
        Route::User => {
            let (id, summary) = match method {
                "PATCH" => ("updateUser", "Changes a user"),
                "DELETE" => ("deleteUser", "Deletes a user, and ends its sessions"),
                _ => ("getUser", "One user"),
            };
            let described = one_user(Described::new(id, "users", summary));
            match method {
                "PATCH" => described
                    .description("Blocking a user ends its sessions.")
                    .body(true, &[(JSON, "UserChange")])
                    .json(200, "Changed.", named("User"))
                    .faults(&[409]),
                "DELETE" => described.empty(204, "Deleted, or never there.", &[]),
                _ => described.json(200, "The user.", named("User")),
            }
        }
        Route::UserPassword => one_user(Described::new(
            "createPasswordChangeTicket",
            "users",
            "A link with which the user chooses a new password",
        ))
        .body(false, &[(JSON, "TicketRequest")])
        .json(201, "The link.", named("Ticket")),
        Route::Import => Described::new("importUsers", "imports", "Imports users in bulk")
            .description("Bad rows are reported and do not stop the others. For a bare array the options are in the query.")
            .header(
                "acl_rows",
                "A filter in JSON as in `_q`, or a list of them. 400 beside `upsert`, which would change users that it hides.",
            )
            .query("dryRun", boolean(), "Only checks, and answers with every fault.")
            .query("connection", text(), "A key of `supportedConnectionsMap`.")
            .query("upsert", boolean(), "Changes users that are there already.")
            .query("external_id", text(), "A name for the job.")
            .query("send_completion_email", boolean(), "Mails the tenant's administrators when it is done.")
            .body(true, &[("multipart/form-data", "ImportForm"), (JSON, "ImportBody")])
            .json(202, "The job.", named("Job"))
            .json(200, "What `dryRun` has found.", named("DryRun"))
            .faults(&AUTH0),
        Route::ImportStatus => Described::new("getImport", "imports", "How far a job is")
            .path("id", "The job's.")
            .header("acl_rows", "Only its form is looked at: a job's rows are the caller's own.")
            .json(200, "The job.", named("Job"))
            .faults(&AUTH0)
            .faults(&[404]),
        Route::ImportErrors => Described::new("getImportErrors", "imports", "The rows that failed")
            .path("id", "The job's.")
            .header("acl_rows", "Only its form is looked at: a job's rows are the caller's own.")
            .json(
                200,
                "Each with its row; or the job, as Auth0 answers about one of its own that failed as a whole.",
                either(&["RowErrors", "Job"]),
            )
            .faults(&AUTH0)
            .faults(&[404]),
        Route::Sessions => Described::new("listSessions", "sessions", "Live sessions")
            .header(
                "acl_rows",
                "A filter in JSON as in `_q`, or a list of them, that the user has to match. 400 without `userId`.",
            )
            .query("userId", text(), "Of one user; of all without it.")
            .query("_l", integer(1).maximum(Some(1000)).default(Some(25.into())), "At most so many.")
            .query("_sk", integer(0).default(Some(0.into())), "Leaves out the first.")
            .ignored()
            .json(200, "Never a token.", named("Sessions"))
            .faults(&AUTH0),
        Route::UserSessions => Described::new("endSessions", "sessions", "Ends all sessions of a user")
            .path("id", USER_ID)
            .header("acl_rows", ACL)
            .json(200, "How many.", named("Ended"))
            .faults(&AUTH0),
        Route::UserSession => Described::new("endSession", "sessions", "Ends one session")
            .path("id", USER_ID)
            .path("session", "Its `sessionId`.")
            .header("acl_rows", ACL)
            .empty(204, "Ended.", &[])
            .faults(&AUTH0)
            .faults(&[404]),
        Route::Health => status("isUp", "Is the process up?"),
        Route::Ready => status("isReady", "Should requests be sent here?"),
        Route::CheckUp => status("checkUp", "Do the store and Auth0 answer?"),
        Route::Metrics => Described::new("metrics", "status", "Figures, in the text format of OpenMetrics")
            .answer(200, "The figures.", &[], Some(("application/openmetrics-text", text())))
.faults(&[404]),
        Route::Documentation => Described::new("documentation", "status", "This document")
            .json(200, "OpenAPI 3.1.", anything()),
        Route::DocumentationYaml => {
            Described::new("documentationInYaml", "status", "This document, in YAML").answer(
                200,
                "OpenAPI 3.1.",
                &[],
                Some(("application/yaml", anything())),
            )
        }
    }
}

const ACL: &str =
    "A filter in JSON as in `_q`, or a list of them, that users have to match besides.";
const USER_ID: &str = "The user's id at Auth0, percent-encoded: `auth0%7C5f…`.";
/// What comes of a call to the Management API.
const AUTH0: [u16; 3] = [429, 501, 502];

fn login_parameters(described: Described) -> Described {
    let mut described = described
        .query(
            "redirect",
            text(),
            "Where to, once signed in: a path of this host, or an allowed URL.",
        )
        .query("redirectUri", text(), "Alias of `redirect`.")
        .query(
            "state",
            text().min_length(Some(8)).max_length(Some(512)),
            "Where the client has `authorizeStateRequired`.",
        )
        .query("connection", text(), "A supported connection.")
        .query(
            "max_age",
            integer(0),
            "Seconds since the person showed a password, at most.",
        );
    for name in [
        "prompt",
        "login_hint",
        "screen_hint",
        "ui_locales",
        "organization",
        "invitation",
    ] {
        described = described.query(name, text(), "Passed on to Auth0.");
    }
    described
}

fn user_info(id: &str, summary: &str) -> Described {
    Described::new(id, "check", summary)
        .description(
            "By cookie, a run-out access token is refreshed first and the cookie stays; by bearer it is 401.",
        )
        .client()
        .session()
        .json(200, "The profile: the ID token's claims without the protocol's own.", named("Profile"))
        .faults(&[400])
}

fn auth(id: &str, summary: &str) -> Described {
    Described::new(id, "check", summary)
        .client()
        .session()
        .empty(
            200,
            "Signed in.",
            &[
                ("miauserid", "The user's id."),
                ("miausergroups", "The groups, separated by commas."),
                ("miauserproperties", "The profile, in JSON of ASCII."),
            ],
        )
        .faults(&[400])
}

/// The query dialect's own.
fn filters(described: Described) -> Described {
    let mut described = described
        .header("acl_rows", ACL)
        .header("json-query-params-encoding", "`base64` where `_q` is.")
        .query("_q", text(), "A filter in JSON, MongoDB style.")
        .query(
            "connection",
            text(),
            "Connections, separated by commas or repeated.",
        )
        .query(
            "app_metadata.groups",
            text(),
            "One of any `app_metadata.*`: all the values must hold.",
        )
        .query(
            "user_metadata.lang",
            text(),
            "One of any `user_metadata.*`.",
        )
        .ignored();
    for name in PLAIN_FIELDS {
        described = described.query(
            name,
            text(),
            "A condition; `*` stands for anything where Auth0 allows it.",
        );
    }
    described.faults(&AUTH0)
}

fn one_user(described: Described) -> Described {
    let described = described.path("id", USER_ID).header("acl_rows", ACL);
    described.faults(&AUTH0).faults(&[404])
}

fn status(id: &str, summary: &str) -> Described {
    Described::new(id, "status", summary)
        .json(200, "It is.", named("Status"))
        .json(503, "It is not.", named("Status"))
}

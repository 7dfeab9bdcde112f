//! The bodies that the document names.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{ArrayBuilder, Ref, RefOr, Schema};

/// A text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one_of_texts(values: &[&str]) -> ObjectBuilder {
    text().enum_values(Some(values.iter().copied().map(Value::from)))
}

fn instant() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// True or false.
pub(super) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// A whole number from `least`.
pub(super) fn integer(least: u32) -> ObjectBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    number.minimum(Some(least))
}

/// A named one.
pub(super) fn named(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// A list of them.
pub(super) fn list(of: impl Into<RefOr<Schema>>) -> ArrayBuilder {
    ArrayBuilder::new().items(of.into())
}

/// One or the other.
pub(super) fn either(names: &[&str]) -> Schema {
    let mut either = OneOfBuilder::new();
    for name in names {
        either = either.item(named(name));
    }
    either.build().into()
}

/// An object with these fields and, when `open`, others.
fn object<const N: usize>(
    open: bool,
    required: &[&str],
    fields: [(&str, RefOr<Schema>); N],
) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, schema) in fields {
        object = object.property(name, schema);
    }
    for name in required {
        object = object.required(*name);
    }
    object
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(open)))
        .build()
        .into()
}

/// Any object.
pub(super) fn anything() -> Schema {
    object(true, &[], [])
}

/// All of them, by name.
pub(super) fn all() -> Vec<(&'static str, Schema)> {
    let mut all = vec![("Error", error())];
    all.extend(sign_in());
    all.extend(users());
    all.extend(imports());
    all.extend(sessions());
    all
}

fn error() -> Schema {
    object(
        true,
        &["statusCode", "error", "message"],
        [
            ("statusCode", integer(400).into()),
            (
                "error",
                text().description(Some("The status in words.")).into(),
            ),
            (
                "message",
                text()
                    .description(Some("One sentence: what is wrong, and the mend."))
                    .into(),
            ),
            (
                "errorCode",
                text()
                    .description(Some("Auth0's own, of its Management API."))
                    .into(),
            ),
            (
                "code",
                text()
                    .description(Some(
                        "Auth0's own, of a sign-in: `invalid_grant`, `mfa_required`, …",
                    ))
                    .into(),
            ),
            ("error_description", text().into()),
            (
                "mfa_token",
                text()
                    .description(Some(
                        "With `mfa_required`: what the second factor is shown with.",
                    ))
                    .into(),
            ),
            ("mfa_requirements", anything().into()),
        ],
    )
}

fn sign_in() -> Vec<(&'static str, Schema)> {
    let grants = [
        "password",
        auth0_api::grant::PASSWORD_REALM,
        "authorization_code",
        "refresh_token",
    ];
    let status = [
        ("name", text().into()),
        ("status", one_of_texts(&["OK", "KO"]).into()),
        ("version", text().into()),
    ];
    vec![
        (
            "TokenRequest",
            object(
                true,
                &[],
                [
                    ("grant_type", one_of_texts(&grants).description(Some("May be left out where `code` and `state` are there.")).into()),
                    ("username", text().into()),
                    ("password", text().into()),
                    ("connection", text().description(Some("A supported connection. Its alias is `realm`.")).into()),
                    ("realm", text().into()),
                    ("code", text().into()),
                    ("state", text().into()),
                    ("refresh_token", text().description(Some("Its alias is `refreshToken`.")).into()),
                    ("refreshToken", text().into()),
                ],
            ),
        ),
        (
            "RefreshRequest",
            object(
                true,
                &[],
                [
                    ("refresh_token", text().description(Some("May be left out by a caller with the cookie. Its alias is `refreshToken`.")).into()),
                    ("refreshToken", text().into()),
                ],
            ),
        ),
        (
            "Tokens",
            object(
                false,
                &["accessToken", "expireAt"],
                [
                    ("accessToken", text().into()),
                    ("refreshToken", text().into()),
                    ("idToken", text().into()),
                    ("expireAt", instant().description(Some("When the access token runs out.")).into()),
                ],
            ),
        ),
        (
            "Profile",
            object(
                true,
                &["sub"],
                [
                    ("sub", text().description(Some("The user's id.")).into()),
                    ("email", text().into()),
                    ("name", text().into()),
                    ("groups", list(text()).into()),
                    ("permissions", list(text()).into()),
                ],
            ),
        ),
        (
            "ChangePasswordRequest",
            object(true, &["email"], [("email", text().into()), ("connection", text().into())]),
        ),
        ("Message", object(false, &["message"], [("message", text().into())])),
        ("LogoutToken", object(true, &["logout_token"], [("logout_token", text().into())])),
        ("Status", object(false, &["name", "status", "version"], status)),
    ]
}

fn users() -> Vec<(&'static str, Schema)> {
    let identity = object(
        true,
        &[],
        [
            ("connection", text().into()),
            ("provider", text().into()),
            (
                "user_id",
                ObjectBuilder::new()
                    .schema_type(SchemaType::AnyValue)
                    .into(),
            ),
            ("isSocial", boolean().into()),
        ],
    );
    let page = object(
        false,
        &["page", "per_page"],
        [("page", integer(0).into()), ("per_page", integer(1).into())],
    );
    vec![
        (
            "User",
            object(
                true,
                &[],
                [
                    ("user_id", text().into()),
                    ("email", text().into()),
                    ("email_verified", boolean().into()),
                    ("username", text().into()),
                    ("phone_number", text().into()),
                    ("name", text().into()),
                    ("nickname", text().into()),
                    ("given_name", text().into()),
                    ("family_name", text().into()),
                    ("picture", text().into()),
                    ("blocked", boolean().into()),
                    ("created_at", instant().into()),
                    ("updated_at", instant().into()),
                    ("last_login", instant().into()),
                    ("last_ip", text().into()),
                    ("logins_count", integer(0).into()),
                    ("identities", list(identity).into()),
                    ("app_metadata", anything().into()),
                    ("user_metadata", anything().into()),
                ],
            ),
        ),
        ("Users", list(named("User")).into()),
        (
            "NewUser",
            object(
                true,
                &[],
                [
                    (
                        "connection",
                        text()
                            .description(Some(
                                "A supported connection; the default one without it.",
                            ))
                            .into(),
                    ),
                    ("email", text().into()),
                    ("password", text().into()),
                    ("app_metadata", anything().into()),
                    ("user_metadata", anything().into()),
                ],
            ),
        ),
        ("UserChange", anything()),
        (
            "Explanation",
            object(
                false,
                &["q", "pages", "sort", "fields"],
                [
                    ("q", nullable_text().into()),
                    ("pages", list(page).into()),
                    ("sort", nullable_text().into()),
                    ("fields", list(text()).into()),
                ],
            ),
        ),
        (
            "TicketRequest",
            object(
                false,
                &[],
                [
                    (
                        "resultUrl",
                        text()
                            .description(Some("Where the browser goes afterwards, http or https."))
                            .into(),
                    ),
                    ("ttlSeconds", integer(1).maximum(Some(2_592_000)).into()),
                ],
            ),
        ),
        (
            "Ticket",
            object(false, &["ticket"], [("ticket", text().into())]),
        ),
    ]
}

fn nullable_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]))
}

fn imports() -> Vec<(&'static str, Schema)> {
    let options = || {
        [
            (
                "connection",
                RefOr::from(text().description(Some(
                    "A key of `supportedConnectionsMap`; the default one without it.",
                ))),
            ),
            ("upsert", boolean().into()),
            ("external_id", text().into()),
            ("send_completion_email", boolean().into()),
        ]
    };
    let [connection, upsert, external_id, mail] = options();
    let form = object(
        false,
        &["users"],
        [
            (
                "users",
                text()
                    .content_media_type("application/json")
                    .description(Some("A file with an array of users."))
                    .into(),
            ),
            connection,
            upsert,
            external_id,
            mail,
        ],
    );
    let [connection, upsert, external_id, mail] = options();
    let whole = object(
        false,
        &["users"],
        [
            ("users", list(anything()).into()),
            connection,
            upsert,
            external_id,
            mail,
        ],
    );
    let summary = object(
        true,
        &[],
        ["failed", "updated", "inserted", "total"].map(|name| (name, RefOr::from(integer(0)))),
    );
    let fault = object(
        true,
        &[],
        [
            ("code", text().into()),
            ("message", text().into()),
            ("path", text().into()),
        ],
    );
    vec![
        ("ImportForm", form),
        (
            "ImportBody",
            OneOfBuilder::new()
                .item(whole)
                .item(list(anything()).build())
                .build()
                .into(),
        ),
        (
            "Job",
            object(
                true,
                &["id", "type", "status"],
                [
                    ("id", text().into()),
                    ("type", text().into()),
                    (
                        "status",
                        one_of_texts(&["pending", "processing", "completed", "failed"]).into(),
                    ),
                    ("created_at", text().into()),
                    ("connection_id", text().into()),
                    ("connection", text().into()),
                    ("percentage_done", integer(0).maximum(Some(100)).into()),
                    ("external_id", text().into()),
                    ("summary", summary.into()),
                    ("status_details", text().into()),
                ],
            ),
        ),
        (
            "RowErrors",
            list(object(
                true,
                &["user", "errors"],
                [
                    (
                        "row",
                        integer(0)
                            .description(Some(
                                "In the caller's file, from 1; 0 where Auth0 does not tell.",
                            ))
                            .into(),
                    ),
                    (
                        "user",
                        RefOr::from(ObjectBuilder::new().schema_type(SchemaType::AnyValue)),
                    ),
                    ("errors", list(fault).into()),
                ],
            ))
            .into(),
        ),
        (
            "DryRun",
            object(
                false,
                &["rows", "errors"],
                [
                    ("rows", integer(0).into()),
                    ("errors", named("RowErrors").into()),
                ],
            ),
        ),
    ]
}

fn sessions() -> Vec<(&'static str, Schema)> {
    let session = object(
        false,
        &[
            "sessionId",
            "userId",
            "client",
            "createdAt",
            "lastSeenAt",
            "expiresAt",
        ],
        [
            (
                "sessionId",
                text()
                    .description(Some("A public handle; it opens nothing."))
                    .into(),
            ),
            ("userId", text().into()),
            ("client", text().into()),
            ("createdAt", instant().into()),
            ("lastSeenAt", instant().into()),
            ("expiresAt", instant().into()),
            ("ipAddress", text().into()),
            ("userAgent", text().into()),
        ],
    );
    let active = object(false, &["userId"], [("userId", text().into())]);
    vec![
        ("Sessions", list(session).into()),
        ("ActiveUsers", list(active).into()),
        (
            "Ended",
            object(false, &["count"], [("count", integer(0).into())]),
        ),
    ]
}

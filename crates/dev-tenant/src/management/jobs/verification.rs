//! `POST /api/v2/jobs/verification-email`. No mail is sent.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::schema::{Format, Kind as Type, Property, object};
use super::super::users::{other, text};
use super::super::{Call, Problem};
use super::{accepted, finish_later, job};
use crate::jobs::{Kind, Status};
use crate::message::Response;

pub(crate) fn verification_email(call: &Call<'_>) -> Result<Response, Problem> {
    const PROPERTIES: &[Property] = &[
        text(
            "user_id",
            "user_id of the user to send the verification email to",
            (1, 500, Format::Any),
            false,
        ),
        text(
            "client_id",
            "client_id of the client (application)",
            (0, 500, Format::Any),
            false,
        ),
        text(
            "organization_id",
            "organization_id of the organization",
            (0, 500, Format::Any),
            false,
        ),
        other("identity", "The identity to verify", Type::Object),
    ];
    let body = object(call.request, PROPERTIES, &["user_id"])?;
    let id = body
        .get("user_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let verified = {
        let state = call.tenant.state();
        let user = state.users.get(id).ok_or_else(Problem::no_such_user)?;
        let home = call.tenant.pool(&user.connection);
        if !home.is_some_and(|home| home.is_database()) {
            return Err(Problem::bad_request(
                "Connection must be a database connection.",
            ));
        }
        user.email_verified
    };
    let job = job(call.tenant, Kind::VerificationEmail, json!({}))?;
    let id = job.id.clone();
    let response = accepted(call.tenant, job, StatusCode::CREATED)?;
    finish_later(call.tenant, &id, move |tenant, id| {
        let status = if verified {
            Status::Failed(None)
        } else {
            Status::Completed
        };
        super::end(tenant, id, status, None);
    });
    Ok(response)
}

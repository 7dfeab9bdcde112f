//! `DELETE /api/v2/users/{id}`.

use http::StatusCode;

use super::super::{Call, Problem};
use super::path_id;
use crate::dev_routes::remove_user;
use crate::message::{Response, empty};

/// 204 also when there is nobody: it is no test for existence.
pub(crate) fn remove(call: &Call<'_>) -> Result<Response, Problem> {
    let id = path_id(call)?;
    remove_user(call.tenant, id);
    Ok(empty(StatusCode::NO_CONTENT))
}

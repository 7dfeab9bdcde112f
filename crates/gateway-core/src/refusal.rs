//! What a refusal of Auth0 means for the grant that met it. Decided by code, never by text.

use auth0_api::{Error as Auth0Error, ErrorCode, Refusal};

use crate::Error;
use crate::error::{Refused, RefusedKind};

/// True when it is the application that Auth0 does not accept, not the person: a wrong client secret
/// (401 `access_denied` on the wire, `invalid_client` in the documentation).
fn is_about_the_application(refusal: &Refusal) -> bool {
    matches!(
        (&refusal.code, refusal.status),
        (ErrorCode::InvalidClient, _) | (ErrorCode::AccessDenied, 401)
    )
}

/// A refusal of the password grants.
pub(crate) fn of_password(error: Auth0Error) -> Error {
    of_sign_in(error, RefusedKind::Forbidden)
}

/// A refusal of the authorization code grant: a code that is not good is 401.
pub(crate) fn of_code(error: Auth0Error) -> Error {
    of_sign_in(error, RefusedKind::Unauthorized)
}

fn of_sign_in(error: Auth0Error, invalid_grant: RefusedKind) -> Error {
    let Auth0Error::Refused(refusal) = error else {
        return error.into();
    };
    if is_about_the_application(&refusal) {
        return Error::Misconfigured(Auth0Error::Refused(refusal));
    }
    let kind = match refusal.code {
        ErrorCode::InvalidGrant => invalid_grant,
        ErrorCode::InvalidRequest | ErrorCode::InvalidScope | ErrorCode::UnsupportedGrantType => {
            RefusedKind::BadRequest
        }
        _ => RefusedKind::Forbidden,
    };
    Error::Refused(Refused { kind, refusal })
}

/// True when a refresh was refused for good: the session ends. What is about the application, or not
/// understood, keeps the session.
pub(crate) fn ends_the_session(error: &Auth0Error) -> bool {
    let Auth0Error::Refused(refusal) = error else {
        return false;
    };
    !is_about_the_application(refusal)
        && matches!(
            refusal.code,
            ErrorCode::InvalidGrant
                | ErrorCode::AccessDenied
                | ErrorCode::Unauthorized
                | ErrorCode::MfaRequired
        )
}

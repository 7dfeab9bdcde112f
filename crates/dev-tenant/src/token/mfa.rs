//! Auth0's `mfa-otp` grant: the second step after `mfa_required`.

use http::StatusCode;

use super::{TokenCall, password};
use crate::grant::Grant;
use crate::message::{Refusal, Response};
use crate::state::OTP_TRIES;

pub(super) fn exchange(call: &TokenCall<'_>) -> Result<Response, Refusal> {
    let token = call.required("mfa_token")?;
    let otp = call.required("otp")?;
    let now = call.tenant.now();

    let (grant, user) = {
        let mut state = call.tenant.state();
        if state.challenges.has_ended(token, now) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "expired_token",
                "mfa_token is expired",
            ));
        }
        let malformed = || Refusal::invalid_grant("Malformed mfa_token");
        let user_id = state
            .challenges
            .get(token, now)
            .filter(|challenge| challenge.grant.client_id == call.client.application.client_id)
            .map(|challenge| challenge.grant.user_id.clone())
            .ok_or_else(malformed)?;
        let user = state.users.get(&user_id).cloned().ok_or_else(malformed)?;
        let challenge = state.challenges.get_mut(token, now).ok_or_else(malformed)?;
        if challenge.wrong_otps >= OTP_TRIES {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "Too many attempts with a wrong one-time password.",
            ));
        }
        if !user.otp.as_ref().is_some_and(|own| own.matches(otp)) {
            challenge.wrong_otps += 1;
            return Err(Refusal::invalid_grant("Invalid otp_code."));
        }
        let challenge = state.challenges.take(token, now).ok_or_else(malformed)?;
        (challenge.grant, user)
    };
    let grant = Grant { mfa: true, ..grant };
    password::finish(call, &grant, &user)
}

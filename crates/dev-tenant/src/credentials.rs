//! Checks identifier and password, and counts the failures.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::settings::TenantSettings;
use crate::state::State;
use crate::users::{User, canonical};

/// Why somebody may not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginRefused {
    WrongCredentials,
    TooManyAttempts,
    Blocked,
}

impl LoginRefused {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::WrongCredentials => "Wrong email or password.",
            Self::TooManyAttempts => {
                "Your account has been blocked after multiple consecutive login attempts."
            }
            Self::Blocked => "user is blocked",
        }
    }
}

/// Whoever this identifier and password belong to, in one of the connections. An
/// unknown identifier and a wrong password look the same.
pub(crate) fn check(
    state: &mut State,
    settings: &TenantSettings,
    identifier: &str,
    password: &str,
    connections: &[String],
    address: IpAddr,
    now: OffsetDateTime,
) -> Result<User, LoginRefused> {
    let counted = canonical(identifier);
    if let Some(limit) = settings.brute_force_attempts
        && state.failures.count(&counted, address) >= limit
    {
        return Err(LoginRefused::TooManyAttempts);
    }
    let found = state
        .users
        .find(identifier, connections)
        .find(|user| {
            user.password
                .as_ref()
                .is_some_and(|own| own.matches(password))
        })
        .cloned();
    let Some(user) = found else {
        state.failures.add(&counted, address);
        return Err(LoginRefused::WrongCredentials);
    };
    if user.is_blocked() {
        return Err(LoginRefused::Blocked);
    }
    state.failures.forget(&counted, address);
    let signed_in = state.users.update(&user.user_id, now, |user| {
        user.logins_count += 1;
        user.last_login = Some(now);
        user.last_ip = Some(address.to_string());
        user.clone()
    });
    Ok(signed_in.unwrap_or(user))
}

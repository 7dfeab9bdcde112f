//! Who may reach the routes that administer the tenant.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use subtle::{Choice, ConstantTimeEq};

use super::Listener;
use super::head::{bearer, twice};
use super::route::Exposure;
use crate::Error;
use crate::config::{ManagementAccess, Settings};

/// Is a route of this kind served on this listener?
pub(super) fn is_served(settings: &Settings, listener: Listener, exposure: Exposure) -> bool {
    let own = matches!(settings.management_access, ManagementAccess::OwnListener(_));
    match (listener, exposure) {
        (_, Exposure::Status | Exposure::Everywhere) => true,
        (Listener::Main, Exposure::Public) => true,
        (Listener::Management, Exposure::Public) => false,
        (Listener::Main, Exposure::Management) => !own,
        (Listener::Management, Exposure::Management) => own,
    }
}

/// Asks for one of the keys, where there are any: `Authorization: Bearer` or `x-api-key`.
pub(super) fn authorize(settings: &Settings, headers: &HeaderMap) -> Result<(), Error> {
    let keys = &settings.management_api_keys;
    if keys.is_empty() {
        // Open by configuration: loopback, a listener of its own, or something in front.
        return Ok(());
    }
    let mut given = headers
        .get_all("x-api-key")
        .into_iter()
        .map(|value| value.as_bytes())
        .chain(
            headers
                .get_all(AUTHORIZATION)
                .into_iter()
                .filter_map(|value| bearer(value.as_bytes())),
        );
    let key = given.next().ok_or(Error::ManagementKeyRequired)?;
    if given.next().is_some() {
        return Err(twice("the management key"));
    }
    // All of them, so that the time does not tell which one is near.
    let known = keys
        .iter()
        .map(|known| known.expose_secret().as_bytes().ct_eq(key))
        .fold(Choice::from(0), |any, this| any | this);
    if bool::from(known) {
        Ok(())
    } else {
        Err(Error::ManagementKeyRequired)
    }
}

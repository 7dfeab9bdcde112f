//! Which connection a sign-in uses.

use crate::Error;
use crate::config::Client;

/// Chooses the connection of a sign-in: the requested one if supported, else the default one, else
/// the only supported one. `None` leaves it to the tenant's default.
///
/// # Errors
/// [`Error::BadRequest`] when the requested one is not supported, or one has to be named.
pub fn choose<'a>(
    client: &'a Client,
    requested: Option<&'a str>,
) -> Result<Option<&'a str>, Error> {
    let supported = &client.supported_connections;
    if let Some(requested) = requested.filter(|name| !name.is_empty()) {
        if supported.is_empty() || supported.iter().any(|name| name == requested) {
            return Ok(Some(requested));
        }
        return Err(Error::BadRequest(
            "connection is not supported: name one of this client's supportedConnections"
                .to_owned(),
        ));
    }
    match (&client.default_connection, supported.as_slice()) {
        (Some(default), _) => Ok(Some(default)),
        (None, [only]) => Ok(Some(only)),
        (None, []) => Ok(None),
        (None, _) => Err(Error::BadRequest("connection is required".to_owned())),
    }
}

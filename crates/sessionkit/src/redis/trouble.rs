//! What Redis's errors mean, in words that hold no secret, and whether to look for another server.

use std::error::Error as _;

use redis::{ErrorKind, RedisError};

use crate::StoreError;

const BROKE: &str = "the connection to Redis broke";
/// The library judges certificates at the first connection only.
const UNUSABLE: &str = "our certificate for Redis cannot be used";

/// An error, judged.
#[derive(Debug)]
pub(super) struct Trouble {
    /// For people.
    pub(super) text: String,
    /// The connection is of no more use: it is broken, or to the wrong server.
    pub(super) reconnect: bool,
}

impl Trouble {
    pub(super) fn of(error: &RedisError) -> Self {
        let (text, reconnect) = match error.code() {
            Some("READONLY") => ("Redis is a replica now (READONLY)", true),
            Some("LOADING") => ("Redis is loading its data (LOADING)", true),
            Some("MASTERDOWN") => ("Redis is cut off from its primary (MASTERDOWN)", true),
            Some("CLUSTERDOWN") => ("the Redis cluster is down (CLUSTERDOWN)", false),
            Some("NOAUTH") => ("Redis asks for a password (NOAUTH)", true),
            Some("WRONGPASS") => ("Redis refuses the user or password (WRONGPASS)", true),
            Some("NOPERM") => ("Redis denies the user a command or key (NOPERM)", false),
            Some("OOM") => ("Redis is full (OOM)", false),
            Some("MISCONF") => (
                "Redis cannot save its data and takes no writes (MISCONF)",
                false,
            ),
            Some("NOREPLICAS") => (
                "Redis has too few replicas to take writes (NOREPLICAS)",
                false,
            ),
            Some("BUSY") => ("Redis is busy with a script (BUSY)", false),
            Some("TRYAGAIN") => ("the Redis cluster is moving keys (TRYAGAIN)", false),
            Some("MOVED" | "ASK") => ("this Redis is part of a cluster: set the mode", false),
            // What the server says may quote a command, and with it a key.
            Some(_) => ("Redis refuses a command", false),
            None if error.is_timeout() => ("Redis does not answer in time", false),
            None if error.is_connection_refusal() => ("Redis refuses connections", true),
            None if error.is_io_error() || error.is_unrecoverable_error() => (BROKE, true),
            None if error.kind() == ErrorKind::InvalidClientConfig => (UNUSABLE, true),
            None => ("Redis gave an answer that cannot be read", true),
        };
        let code = error.code().filter(|_| text == "Redis refuses a command");
        // The system's or TLS's own words, which quote nothing of ours: a name that is not known, a
        // certificate that nobody vouches for.
        let cause = error.source().filter(|_| error.is_io_error());
        let text = match (code, cause) {
            (Some(code), _) => format!("{text} ({code})"),
            (None, Some(cause)) if text == BROKE => format!("{text}: {cause}"),
            (None, _) if text == UNUSABLE => {
                format!("{text}: {}", error.detail().unwrap_or("settings of TLS"))
            }
            (None, _) => text.to_owned(),
        };
        Self { text, reconnect }
    }

    pub(super) fn new(text: &str, reconnect: bool) -> Self {
        Self {
            text: text.to_owned(),
            reconnect,
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.text.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_connection_that_does_not_come_about_says_why() {
        let cause = "invalid peer certificate: UnknownIssuer";
        let error = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, cause));
        let trouble = Trouble::of(&error);
        assert_eq!(
            trouble.text,
            format!("the connection to Redis broke: {cause}")
        );
        assert!(trouble.reconnect);
    }

    #[test]
    fn a_certificate_of_ours_that_tls_refuses_is_named() {
        let cause = "invalid peer certificate: Other(UnsupportedCertVersion)".to_owned();
        let error = ErrorKind::InvalidClientConfig;
        let trouble = Trouble::of(&RedisError::from((error, "TLS", cause.clone())));
        assert_eq!(
            trouble.text,
            format!("our certificate for Redis cannot be used: {cause}")
        );
    }

    #[test]
    fn words_of_the_server_are_not_repeated() {
        let refused = "canary is no key of yours".to_owned();
        let error = ErrorKind::Extension;
        let trouble = Trouble::of(&RedisError::from((error, "canary", refused)));
        assert!(!trouble.text.contains("canary"), "{}", trouble.text);
    }
}

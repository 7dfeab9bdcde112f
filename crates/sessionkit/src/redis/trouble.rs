//! What Redis's errors mean, in words that hold no secret, and whether to look for another server.

use redis::RedisError;

use crate::StoreError;

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
            None if error.is_io_error() || error.is_unrecoverable_error() => {
                ("the connection to Redis broke", true)
            }
            None => ("Redis gave an answer that cannot be read", true),
        };
        let code = error.code().filter(|_| text == "Redis refuses a command");
        Self {
            text: code.map_or_else(|| text.to_owned(), |code| format!("{text} ({code})")),
            reconnect,
        }
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

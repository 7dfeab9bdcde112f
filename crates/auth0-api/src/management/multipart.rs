//! The form of a bulk import (RFC 7578). Built by hand, so that its length is known to the byte
//! before it is built.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, json};

use super::ImportUsers;
use crate::answer::bare;
use crate::{Error, ErrorCode, random_urlsafe};

/// 256 random bits in base64url. What cannot be guessed cannot be put into a value.
const BOUNDARY_BYTES: usize = 43;

impl ImportUsers {
    /// Length of the request body in bytes, which may be [`Self::MAX_BYTES`] at most: the file and
    /// everything around it.
    #[must_use]
    pub fn multipart_len(&self) -> usize {
        self.overhead() + self.users.len()
    }

    /// Bytes of the request body that are not the file. They do not depend on the file, so a list of
    /// users can be cut into files of just the right size.
    #[must_use]
    pub fn overhead(&self) -> usize {
        let boundary = "-".repeat(BOUNDARY_BYTES);
        self.before_file(&boundary).len() + after_file(&boundary).len()
    }

    fn before_file(&self, boundary: &str) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            text += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        };
        let flag = |on| if on { "true" } else { "false" };
        field("connection_id", &self.connection_id);
        field("upsert", flag(self.upsert));
        // Auth0's default is to mail every administrator.
        field("send_completion_email", flag(self.send_completion_email));
        if let Some(external_id) = &self.external_id {
            field("external_id", external_id);
        }
        text += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"users\"; \
             filename=\"users.json\"\r\nContent-Type: application/json\r\n\r\n"
        );
        text
    }
}

fn after_file(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// Content type and body. What is too long is refused here as Auth0 would.
pub(super) fn encode(import: &ImportUsers) -> Result<(String, Bytes), Error> {
    if import.multipart_len() > ImportUsers::MAX_BYTES {
        return Err(too_large());
    }
    let boundary = random_urlsafe().map_err(|error| Error::Transport(error.into()))?;
    let mut body = Vec::with_capacity(import.multipart_len());
    body.extend_from_slice(import.before_file(&boundary).as_bytes());
    body.extend_from_slice(&import.users);
    body.extend_from_slice(after_file(&boundary).as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    Ok((content_type, body.into()))
}

fn too_large() -> Error {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    let message = format!(
        "Payload content length greater than maximum allowed: {}.",
        ImportUsers::MAX_BYTES
    );
    let mut refusal = bare(status, ErrorCode::Other("payload_too_large".to_owned()));
    refusal.body = Some(Box::new(Map::from_iter([
        ("statusCode".to_owned(), json!(status.as_u16())),
        ("error".to_owned(), json!("Payload Too Large")),
        ("message".to_owned(), json!(message)),
    ])));
    refusal.description = Some(message);
    Error::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(users: usize, external_id: Option<&str>) -> ImportUsers {
        ImportUsers {
            users: Bytes::from(vec![b' '; users]),
            connection_id: "con_AbCdEfGh12345678".to_owned(),
            upsert: true,
            external_id: external_id.map(str::to_owned),
            send_completion_email: false,
        }
    }

    #[test]
    fn the_length_is_known_to_the_byte() {
        for external_id in [None, Some(""), Some("batch-7 \u{fc}")] {
            let largest = ImportUsers::MAX_BYTES - import(0, external_id).overhead();
            for users in [0, 1, largest] {
                let import = import(users, external_id);
                assert_eq!(encode(&import).unwrap().1.len(), import.multipart_len());
            }
            assert!(
                matches!(encode(&import(largest + 1, external_id)), Err(Error::Refused(r)) if r.status == 413)
            );
        }
    }
}

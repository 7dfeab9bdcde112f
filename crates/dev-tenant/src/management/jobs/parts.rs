//! The multipart body of an import.

use std::convert::Infallible;

use bytes::Bytes;
use multer::Multipart;

use super::super::Problem;
use super::super::schema::Format;
use crate::message::Request;

/// What an import is made of, each part checked by itself.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) users: Bytes,
    pub(super) connection_id: String,
    pub(super) upsert: bool,
    pub(super) external_id: Option<String>,
}

/// Longest text of a part that is no file.
const MAX_TEXT: usize = 1024;

pub(super) async fn read(request: &Request) -> Result<Parts, Problem> {
    let malformed = || Problem::body("Invalid multipart payload format", "", "");
    let content_type = request.header("content-type").unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(|_| malformed())?;
    let body = request.body.clone();
    let stream = futures_util::stream::once(async move { Ok::<_, Infallible>(body) });
    let mut multipart = Multipart::new(stream, boundary);

    let (mut users, mut connection_id, mut upsert, mut external_id) = (None, None, None, None);
    while let Some(field) = multipart.next_field().await.map_err(|_| malformed())? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let content = field.bytes().await.map_err(|_| malformed())?;
        let text = || {
            let text = std::str::from_utf8(&content).ok();
            text.filter(|text| text.len() <= MAX_TEXT)
                .map(str::to_owned)
                .ok_or_else(malformed)
        };
        match name.as_str() {
            "users" if is_file => users = Some(content),
            "connection_id" => connection_id = Some(text()?),
            "upsert" => upsert = Some(flag(&name, &text()?)?),
            "external_id" => external_id = Some(text()?),
            "send_completion_email" => {
                flag(&name, &text()?)?;
            }
            _ => {}
        }
    }
    let plain =
        |text: &str| Problem::new(http::StatusCode::BAD_REQUEST, Some("invalid_body"), text);
    let users = users.ok_or_else(|| plain("Must provide 'users' file as multipart part."))?;
    if users.is_empty() {
        return Err(plain("Users file must not be empty."));
    }
    let connection_id =
        connection_id.ok_or_else(|| plain("Must provide 'connection_id' as multipart part."))?;
    if let Some(fault) = Format::ConnectionId.fault(&connection_id) {
        return Err(Problem::body(&fault, "connection_id", ""));
    }
    Ok(Parts {
        users,
        connection_id,
        upsert: upsert.unwrap_or(false),
        external_id: external_id.filter(|id| !id.is_empty()),
    })
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(Problem::body(
            "Expected type boolean but found type string",
            name,
            "",
        )),
    }
}

//! `/users/import…`: bulk imports.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::StatusCode;
use http::request::Parts;
use http_body_util::{BodyStream, LengthLimitError, Limited};
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::body::Body;
use super::content_type;
use super::context::Context;
use super::params::unknown;
use super::respond::{self, Answer};
use crate::Error;
use crate::error::BoxError;
use crate::gateway::Gateway;
use crate::imports::{Checked, ErrorList, MAX_EXTERNAL_ID, Options};
use crate::query::{Selection, printable};

/// Names that go with the file, in whatever form it comes.
const NAMES: [&str; 5] = [
    "connection",
    "connection_id",
    "upsert",
    "external_id",
    "send_completion_email",
];
/// Longest field of a form that is no file, in bytes.
const MAX_FIELD: u64 = 4096;

/// `POST /users/import`
pub(super) async fn submit<B>(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    parts: &Parts,
    body: B,
) -> Result<Answer, Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let imports = gateway.imports()?;
    let query = context.query()?;
    let acl = super::users::acl(context)?;
    let mut given = Given::default();
    // An empty value is one that got lost, and not as good as none: it decides what is done.
    let mut dry_run = None;
    for (name, value) in query.pairs() {
        let value = Value::from(value);
        match name {
            "_st" | "_useEstimate" => {}
            "dryRun" => {
                if dry_run.replace(boolean(name, &value)?).is_some() {
                    return Err(super::head::twice(name));
                }
            }
            name => given.add(name, value)?,
        }
    }
    let dry_run = dry_run.unwrap_or(false);
    // Said before a large file is read for nothing.
    gateway.may_import()?;
    let file = spool(gateway, parts, body, &mut given).await?;
    let checked = imports.read(file, !dry_run).await?;
    for (name, value) in checked.fields() {
        given.add(name, value.clone())?;
    }
    let (connection, options) = given.options()?;
    // Rows that may be seen say nothing about a row that is not there yet; but upsert changes those
    // that are, whatever they are.
    if options.upsert && acl != Selection::Everybody {
        return Err(Error::BadRequest(
            "upsert would change users that acl_rows hides: leave one of the two out".to_owned(),
        ));
    }
    let connection = gateway
        .import_connection(connection.as_deref(), context.deadline)
        .await?;
    if dry_run {
        return Ok(report(checked));
    }
    let options = Options {
        connection,
        ..options
    };
    let job = imports.submit(checked, options).await?;
    Ok(respond::json(StatusCode::ACCEPTED, &job))
}

/// `GET /users/import/status/{jobID}`
pub(super) async fn status(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    id: &str,
) -> Result<Answer, Error> {
    context.query()?.only(&[])?;
    // Its rows are the caller's own, whatever may be seen of the tenant's.
    super::users::acl(context)?;
    gateway.may_import()?;
    let job = gateway
        .imports()?
        .status(id, &gateway.scope(), context.deadline)
        .await?;
    Ok(respond::json(StatusCode::OK, &job))
}

/// `GET /users/import/status/{jobID}/errors`
pub(super) async fn errors(
    gateway: &Arc<Gateway>,
    context: &Context<'_>,
    id: &str,
) -> Result<Answer, Error> {
    context.query()?.only(&[])?;
    super::users::acl(context)?;
    gateway.may_import()?;
    let errors = gateway
        .imports()?
        .errors(id, &gateway.scope(), context.deadline)
        .await?;
    if let Some(job) = errors.as_whole() {
        return Ok(respond::json_bytes(StatusCode::OK, job.to_owned()));
    }
    let mut answer = respond::json_bytes(StatusCode::OK, Bytes::new());
    *answer.body_mut() = Body::stream(Box::pin(list("[".to_owned(), errors, "]", ())));
    Ok(answer)
}

/// The answer to a dry run.
fn report(checked: Checked) -> Answer {
    let before = format!("{{\"rows\":{},\"errors\":[", checked.rows());
    let errors = checked.errors();
    let mut answer = respond::json_bytes(StatusCode::OK, Bytes::new());
    *answer.body_mut() = Body::stream(Box::pin(list(before, errors, "]}", checked)));
    answer
}

/// Errors as a JSON list between two texts. `kept` lives as long as the list.
fn list<K: Send + 'static>(
    before: String,
    errors: ErrorList,
    after: &'static str,
    kept: K,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let state = Some((errors, before, true, kept));
    stream::try_unfold(state, move |state| async move {
        let Some((mut errors, mut text, first, kept)) = state else {
            return Ok::<_, BoxError>(None);
        };
        let rows = errors.next().await?;
        if rows.is_empty() {
            text.push_str(after);
            return Ok(Some((Bytes::from(text), None)));
        }
        if !first {
            text.push(',');
        }
        text.push_str(&rows.join(","));
        let next = Some((errors, String::new(), false, kept));
        Ok(Some((Bytes::from(text), next)))
    })
}

/// Writes a body to disk as it comes: the file of a form, or the whole of a JSON body. The form's other
/// fields are added to `given`.
async fn spool<B>(
    gateway: &Gateway,
    parts: &Parts,
    body: B,
    given: &mut Given,
) -> Result<File, Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let settings = &gateway.settings;
    let limit = usize::try_from(settings.import_max_bytes).unwrap_or(usize::MAX);
    let pause = settings.header_timeout;
    let body = Box::pin(BodyStream::new(Limited::new(body, limit)));
    // Trailers are nothing to us. A client that falls silent is not waited for.
    let chunks = Box::pin(stream::unfold(body, move |mut body| async move {
        loop {
            return match timeout(pause, body.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => {
                        let length = bytes::Buf::remaining(&data);
                        let bytes = bytes::Buf::copy_to_bytes(&mut data, length);
                        Some((Ok(bytes), body))
                    }
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => Some((Err(error), body)),
                Err(_) => Some((Err(BoxError::from(Silent)), body)),
            };
        }
    }));
    let fault = move |error: BoxError| {
        if error.is::<LengthLimitError>() {
            Error::BodyTooLarge(limit)
        } else if error.is::<Silent>() {
            Error::BodyTimeout
        } else {
            Error::BadRequest("the body was cut off".to_owned())
        }
    };
    let file = tempfile::tempfile().map_err(disk)?;
    let mut out = tokio::fs::File::from_std(file.try_clone().map_err(disk)?);
    match content_type(&parts.headers).as_str() {
        "application/json" => write(&mut out, chunks, fault).await?,
        "multipart/form-data" => {
            let header = parts.headers.get(http::header::CONTENT_TYPE);
            let header = header.and_then(|value| value.to_str().ok());
            let boundary = multer::parse_boundary(header.unwrap_or_default()).map_err(|_| {
                Error::BadRequest("multipart/form-data needs a boundary".to_owned())
            })?;
            let size = SizeLimit::new()
                .for_field("users", settings.import_max_bytes)
                .per_field(MAX_FIELD);
            let constraints = Constraints::new().size_limit(size);
            let mut form = Multipart::with_constraints(chunks, boundary, constraints);
            let mut found = false;
            while let Some(field) = form.next_field().await.map_err(|e| broken_form(e, fault))? {
                let name = field.name().unwrap_or_default().to_owned();
                if name == "users" {
                    if std::mem::replace(&mut found, true) {
                        return Err(super::head::twice("users"));
                    }
                    let field = field.map(|chunk| chunk.map_err(BoxError::from));
                    let fault = |error: BoxError| match error.downcast::<multer::Error>() {
                        Ok(error) => broken_form(*error, fault),
                        Err(error) => fault(error),
                    };
                    write(&mut out, Box::pin(field), fault).await?;
                } else {
                    // Before it is read: a form of nothing else would be kept whole in memory.
                    given.expects(&name)?;
                    let value = field.bytes().await.map_err(|e| broken_form(e, fault))?;
                    let value = std::str::from_utf8(&value).map_err(|_| {
                        Error::BadRequest(format!("{} must be UTF-8", printable(&name)))
                    })?;
                    given.add(&name, Value::from(value))?;
                }
            }
            if !found {
                return Err(Error::BadRequest(
                    "the form needs a part named users with the file".to_owned(),
                ));
            }
        }
        _ => return Err(Error::ImportTypeWanted),
    }
    out.flush().await.map_err(disk)?;
    Ok(file)
}

async fn write<E>(
    out: &mut tokio::fs::File,
    mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    fault: impl Fn(E) -> Error,
) -> Result<(), Error> {
    while let Some(chunk) = chunks.next().await {
        out.write_all(&chunk.map_err(&fault)?).await.map_err(disk)?;
    }
    Ok(())
}

/// A form that cannot be read. What came from below it is sorted as there.
fn broken_form(error: multer::Error, fault: impl Fn(BoxError) -> Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(error) => fault(error),
        multer::Error::FieldSizeExceeded { field_name, .. } => Error::BadRequest(format!(
            "{} is too long",
            printable(&field_name.unwrap_or_default())
        )),
        _ => Error::BadRequest("the body is no proper multipart/form-data".to_owned()),
    }
}

fn disk(error: std::io::Error) -> Error {
    crate::error::NoImportRoom::spooled(error).into()
}

/// The client sent nothing for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client fell silent")]
struct Silent;

/// What was given beside the file, each name once.
#[derive(Default)]
struct Given(Vec<(String, Value)>);

impl Given {
    fn add(&mut self, name: &str, value: Value) -> Result<(), Error> {
        self.expects(name)?;
        self.0.push((name.to_owned(), value));
        Ok(())
    }

    /// May this name be given, and was it not yet?
    fn expects(&self, name: &str) -> Result<(), Error> {
        if name == "dryRun" {
            return Err(Error::BadRequest(
                "dryRun goes into the query: /users/import?dryRun=true".to_owned(),
            ));
        }
        if !NAMES.contains(&name) {
            return Err(unknown(name));
        }
        if name == "connection_id" {
            return Err(Error::BadRequest(
                "connection_id is not taken: send connection, the name of the connection"
                    .to_owned(),
            ));
        }
        if self.0.iter().any(|(before, _)| before == name) {
            return Err(super::head::twice(name));
        }
        Ok(())
    }

    /// The connection's name, and the rest.
    fn options(self) -> Result<(Option<String>, Options), Error> {
        let mut connection = None;
        let mut options = Options {
            // As at Auth0.
            send_completion_email: true,
            ..Options::default()
        };
        for (name, value) in self.0 {
            match name.as_str() {
                "upsert" => options.upsert = boolean(&name, &value)?,
                "send_completion_email" => options.send_completion_email = boolean(&name, &value)?,
                "connection" => connection = text(&name, &value)?,
                _ => {
                    options.external_id = text(&name, &value)?;
                    let length = options.external_id.as_ref().map_or(0, String::len);
                    if length > MAX_EXTERNAL_ID {
                        return Err(Error::BadRequest(format!(
                            "external_id must not be longer than {MAX_EXTERNAL_ID} bytes"
                        )));
                    }
                }
            }
        }
        Ok((connection, options))
    }
}

fn boolean(name: &str, value: &Value) -> Result<bool, Error> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err(Error::BadRequest(format!("{name} must be true or false"))),
    }
}

fn text(name: &str, value: &Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(Error::BadRequest(format!("{name} must be a string"))),
    }
}

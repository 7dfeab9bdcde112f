//! The `users import` command: a file of users into a running gateway.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use auth0_api::tenant::is_loopback;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::serve::{BoxError, runtime, with_causes};

/// Pause between two looks at a running job.
const POLL: Duration = Duration::from_millis(500);
/// Failed looks in a row after which the command gives up; the job goes on.
const PATIENCE: u32 = 20;
/// What files from spreadsheets begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most faults that are printed.
const SHOWN: usize = 20;

/// What to import, and where to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// JSON file: an array of users, or an object with one under "users".
    file: PathBuf,
    /// The gateway (its management listener, where there is one), with its prefix.
    #[arg(
        long,
        env = "AUTH0_GATEWAY_URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = http_url
    )]
    url: Url,
    /// One of the gateway's management keys (its variable `MANAGEMENT_API_KEYS`).
    #[arg(long, env = "AUTH0_GATEWAY_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Name of the connection; without it the configured default.
    #[arg(long)]
    connection: Option<String>,
    /// Change users that are there already.
    #[arg(long)]
    upsert: bool,
    /// Free text that is given back with the job.
    #[arg(long)]
    external_id: Option<String>,
    /// Let Auth0 mail all administrators of the tenant when it is done.
    #[arg(long)]
    send_completion_email: bool,
    /// Check the file and import nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where the failed rows are written; by default FILE with ".failed.json" in place of ".json".
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
}

impl Arguments {
    fn failed(&self) -> PathBuf {
        let beside = || self.file.with_extension("failed.json");
        self.failed.clone().unwrap_or_else(beside)
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "a URL begins with http:// or https://".to_owned())
}

/// A row that failed.
#[derive(Debug, Deserialize)]
struct Failure {
    row: Option<usize>,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    path: Option<String>,
}

/// Imports a file. Exit status 0 when every row arrived, 1 when some failed, 2 when nothing was done.
#[expect(clippy::print_stderr, reason = "a command speaks to a person")]
pub(crate) fn import(arguments: &Arguments) -> ExitCode {
    match runtime().and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            // A connection's error says where it was going to, and only its causes say what is wrong.
            eprintln!("{}", with_causes(&*error));
            ExitCode::from(2)
        }
    }
}

/// Gives the number of rows that failed.
#[expect(clippy::print_stdout, reason = "a command speaks to a person")]
async fn run(arguments: &Arguments) -> Result<usize, BoxError> {
    let failed = arguments.failed();
    // Said before anything is imported: which rows failed would be lost.
    if failed
        .parent()
        .is_some_and(|folder| folder != Path::new("") && !folder.is_dir())
    {
        return Err(format!(
            "{} cannot be written: there is no such folder",
            failed.display()
        )
        .into());
    }
    let gateway = Gateway::new(arguments)?;
    let answer = gateway.submit(arguments).await?;
    if arguments.dry_run {
        let failures: Vec<Failure> = serde_json::from_value(answer["errors"].clone())?;
        let rows = answer["rows"].as_u64().unwrap_or_default();
        println!("{rows} rows checked, {} with faults", failures.len());
        report(arguments, &failures)?;
        return Ok(failures.len());
    }
    let id = answer["id"].as_str().ok_or("the gateway gave no job id")?;
    println!("job {id}");
    let job = gateway.follow(id).await?;
    let failures = gateway.failures(id).await?;
    let count = |name: &str| job["summary"][name].as_u64().unwrap_or_default();
    println!(
        "{} rows: {} inserted, {} updated, {} failed",
        count("total"),
        count("inserted"),
        count("updated"),
        count("failed")
    );
    if let Some(details) = job["status_details"].as_str() {
        println!("Auth0 says: {details}");
    }
    report(arguments, &failures)?;
    // Auth0 may count more than it lists.
    Ok(failures.len().max(usize::try_from(count("failed"))?))
}

/// A running gateway.
struct Gateway {
    http: Client,
    base: String,
    key: Option<String>,
}

impl Gateway {
    fn new(arguments: &Arguments) -> Result<Self, BoxError> {
        let mut builder = Client::builder().redirect(reqwest::redirect::Policy::none());
        if is_loopback(&arguments.url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build()?,
            base: arguments.url.as_str().trim_end_matches('/').to_owned(),
            key: arguments.key.clone(),
        })
    }

    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    async fn submit(&self, arguments: &Arguments) -> Result<Value, BoxError> {
        let name = arguments.file.display();
        let part = Part::file(&arguments.file)
            .await
            .map_err(|error| format!("{name} cannot be read: {error}"))?
            .mime_str("application/json")?;
        let mut form = Form::new();
        // Left out, the file may say them. Auth0 itself would mail.
        if arguments.send_completion_email || !names_completion_email(&arguments.file) {
            let mail = arguments.send_completion_email.to_string();
            form = form.text("send_completion_email", mail);
        }
        if arguments.upsert {
            form = form.text("upsert", "true");
        }
        if let Some(connection) = &arguments.connection {
            form = form.text("connection", connection.clone());
        }
        if let Some(external_id) = &arguments.external_id {
            form = form.text("external_id", external_id.clone());
        }
        let dry_run = if arguments.dry_run {
            "?dryRun=true"
        } else {
            ""
        };
        let url = format!("{}/users/import{dry_run}", self.base);
        let request = self.http.post(url).multipart(form.part("users", part));
        read(self.request(request).send().await?).await
    }

    /// Waits until a job is finished, with a bar where there is a terminal.
    async fn follow(&self, id: &str) -> Result<Value, BoxError> {
        let style = ProgressStyle::with_template("{bar:40} {pos:>3} % {elapsed_precise}")?;
        let bar = ProgressBar::new(100).with_style(style);
        let mut failures = 0;
        loop {
            match self.look(id).await {
                Ok(job) => {
                    failures = 0;
                    bar.set_position(job["percentage_done"].as_u64().unwrap_or_default());
                    if job["status"] != "pending" {
                        bar.finish_and_clear();
                        return Ok(job);
                    }
                }
                // The gateway may be restarting, or the network be bad: the job does not mind.
                Err(error) => {
                    failures += 1;
                    if failures == PATIENCE {
                        return Err(format!("job {id} goes on, but cannot be seen: {error}").into());
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn look(&self, id: &str) -> Result<Value, BoxError> {
        let request = self
            .http
            .get(format!("{}/users/import/status/{id}", self.base));
        read(self.request(request).send().await?).await
    }

    async fn failures(&self, id: &str) -> Result<Vec<Failure>, BoxError> {
        let request = self
            .http
            .get(format!("{}/users/import/status/{id}/errors", self.base));
        let errors = read(self.request(request).send().await?).await?;
        Ok(serde_json::from_value(errors).unwrap_or_default())
    }
}

/// The body of an answer, or its error in a sentence.
async fn read(answer: Response) -> Result<Value, BoxError> {
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    let message = body["message"].as_str().unwrap_or("no reason given");
    let hint = match status {
        StatusCode::UNAUTHORIZED => " (give --key or AUTH0_GATEWAY_KEY)",
        StatusCode::NOT_FOUND => " (is --url the listener that serves /users?)",
        _ => "",
    };
    Err(format!("the gateway answered {status}: {message}{hint}").into())
}

/// Prints the first faults, and writes the failed rows to a file that can be imported again.
#[expect(clippy::print_stdout, reason = "a command speaks to a person")]
fn report(arguments: &Arguments, failures: &[Failure]) -> Result<(), BoxError> {
    if failures.is_empty() {
        return Ok(());
    }
    for failure in failures.iter().take(SHOWN) {
        let row = failure
            .row
            .map_or_else(|| "?".to_owned(), |row| row.to_string());
        for fault in &failure.errors {
            let path = fault.path.as_deref().unwrap_or("-");
            println!("row {row}: {path}: {} ({})", fault.message, fault.code);
        }
    }
    if failures.len() > SHOWN {
        println!("and {} more", failures.len() - SHOWN);
    }
    let path = arguments.failed();
    let written = write_failed(&arguments.file, &path, failures)?;
    println!("the {written} failed rows are in {}", path.display());
    Ok(())
}

/// Whether a file that has its users under a key has this one, too. Reads it, and keeps nothing.
fn names_completion_email(file: &Path) -> bool {
    #[derive(Deserialize)]
    struct Beside {
        send_completion_email: Option<IgnoredAny>,
    }
    let Ok(mut file) = File::open(file).map(BufReader::new) else {
        return false;
    };
    if file
        .fill_buf()
        .is_ok_and(|start| start.starts_with(BYTE_ORDER_MARK))
    {
        file.consume(BYTE_ORDER_MARK.len());
    }
    let beside = serde_json::from_reader::<_, Beside>(file);
    beside.is_ok_and(|beside| beside.send_completion_email.is_some())
}

/// A file with the users under a key.
#[derive(Deserialize)]
struct Wrapped {
    users: Vec<Box<RawValue>>,
}

fn write_failed(source: &Path, target: &Path, failures: &[Failure]) -> Result<usize, BoxError> {
    let mut text = std::fs::read(source)?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    // Raw values cannot be read by trial: the first letter tells the shape.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let rows: Vec<Box<RawValue>> = if first == Some(&b'{') {
        serde_json::from_slice::<Wrapped>(&text)?.users
    } else {
        serde_json::from_slice(&text)?
    };
    let file = File::create(target)
        .map_err(|error| format!("{} cannot be written: {error}", target.display()))?;
    let mut out = BufWriter::new(file);
    let mut written = 0;
    for failure in failures {
        let row = failure.row.and_then(|row| row.checked_sub(1));
        let Some(row) = row.and_then(|row| rows.get(row)) else {
            continue;
        };
        out.write_all(if written == 0 { b"[\n" } else { b",\n" })?;
        out.write_all(row.get().as_bytes())?;
        written += 1;
    }
    out.write_all(if written == 0 { b"[]\n" } else { b"\n]\n" })?;
    out.flush()?;
    Ok(written)
}

//! The command `users import` against a running server, all of them the real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_auth0-gateway");
const KEY: &str = "an-administrators-key";

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Resident memory, in KiB: now, and at its highest.
    fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let value = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (value("VmRSS:"), value("VmHWM:"))
    }
}

struct World {
    _tenant: Process,
    gateway: Process,
    url: String,
    folder: tempfile::TempDir,
}

fn start() -> World {
    start_with(&[])
}

/// With these variables beside the usual ones.
fn start_with(variables: &[(&str, &str)]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let mut tenant = Command::new(BINARY)
        .args(["dev-tenant", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tenant.stdout.take().unwrap()).lines();
    let tenant = Process(tenant);
    let tenant_url = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(url) = line.strip_prefix("development tenant: ") {
            break url.to_owned();
        }
    };
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let config = json!({
        "clients": {"app": {
            "auth0Url": tenant_url, "clientId": "dev-website", "clientSecret": "dev-website-secret",
            "redirectUrl": "http://localhost/callback", "scopes": ["profile"],
        }},
        "managementClient": {
            "auth0Url": tenant_url, "clientId": "dev-management", "clientSecret": "dev-management-secret",
        },
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let gateway = Command::new(BINARY)
        .current_dir(&folder)
        .env("HTTP_HOST", "127.0.0.1")
        .env("HTTP_PORT", port.to_string())
        .env("SESSION_STORE", "memory")
        .env("MANAGEMENT_API_KEYS", KEY)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    World {
        _tenant: tenant,
        gateway: Process(gateway),
        url: format!("http://127.0.0.1:{port}"),
        folder,
    }
}

impl World {
    fn import(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY)
            .args(["users", "import"])
            .args(arguments)
            .args(["--url", &self.url])
            .env("AUTH0_GATEWAY_KEY", KEY)
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    fn file(&self, name: &str, rows: &Value) {
        std::fs::write(self.folder.path().join(name), rows.to_string()).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        let text = std::fs::read(Path::new(self.folder.path()).join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

const DATABASE: &str = "Username-Password-Authentication";

#[test]
fn imports_reports_and_writes_the_failed_rows() {
    let world = start();
    let rows = json!([
        {"email": "a@example.org"},
        {"email": "mia@example.org", "name": "is there already"},
        {"email": "b@example.org", "phone_number": "none"},
        {"email": "c@example.org"},
    ]);
    world.file("people.json", &rows);

    let checked = world.import(&["people.json", "--connection", DATABASE, "--dry-run"]);
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    assert!(
        said(&checked).contains("4 rows checked, 1 with faults"),
        "{}",
        said(&checked)
    );
    assert_eq!(world.read("people.failed.json"), json!([rows[2]]));

    let done = world.import(&[
        "people.json",
        "--connection",
        DATABASE,
        "--failed",
        "again.json",
    ]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    let text = said(&done);
    assert!(
        text.contains("4 rows: 2 inserted, 0 updated, 2 failed"),
        "{text}"
    );
    assert!(text.contains("row 2: -: The user already exist"), "{text}");
    assert!(text.contains("row 3: phone_number:"), "{text}");
    assert_eq!(world.read("again.json"), json!([rows[1], rows[2]]));

    // The failed rows, mended, in the other shape.
    world.file(
        "mended.json",
        &json!({"users": [{"email": "b@example.org"}]}),
    );
    let done = world.import(&["mended.json", "--connection", DATABASE]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));

    // What stands beside the users in a file is what the route takes it for.
    world.file(
        "options.json",
        &json!({"users": [{"email": "b@example.org", "name": "B"}], "connection": DATABASE, "upsert": true,
            "send_completion_email": false}),
    );
    let done = world.import(&["options.json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("1 updated"), "{}", said(&done));

    for (arguments, expected) in [
        (&["nothing.json"][..], "cannot be read"),
        (&["."][..], "directory"),
        (&["mended.json"][..], "connection is required"),
        (
            &["mended.json", "--failed", "no/folder.json"][..],
            "no such folder",
        ),
        (&["mended.json", "--key", "wrong"][..], "--key"),
    ] {
        let output = world.import(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    for (url, expected) in [
        ("http://127.0.0.1:1", "refused"),
        ("localhost:8080", "http:// or https://"),
    ] {
        let output = Command::new(BINARY)
            .args(["users", "import", "mended.json", "--url", url])
            .current_dir(&world.folder)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
}

/// A client that takes nothing more of a long answer is given up, and with it what the answer holds.
#[test]
fn a_client_that_stops_reading_is_not_held_for_ever() {
    let world = start_with(&[
        ("REQUEST_TIMEOUT_SECONDS", "2"),
        ("UPSTREAM_TIMEOUT_SECONDS", "2"),
    ]);
    let row = json!({"name": "x".repeat(200)}).to_string();
    let body = format!("[{}1]", (row + ",").repeat(100_000));
    let mut client = TcpStream::connect(world.url.trim_start_matches("http://")).unwrap();
    let path = format!("/users/import?dryRun=true&connection={DATABASE}");
    write!(
        client,
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let kept = || {
        let jobs = std::fs::read_dir(world.folder.path().join("imports"));
        jobs.unwrap().count()
    };
    assert_eq!(kept(), 1);
    let since = Instant::now();
    while kept() > 0 {
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file ten times as large takes no more memory.
#[test]
fn memory_is_flat() {
    let world = start();
    let mut growth = Vec::new();
    for (name, count) in [("first.json", 2_000), ("second.json", 20_000)] {
        let rows: Vec<Value> = (0..count)
            .map(|number| {
                json!({"email": format!("{count}-{number}@example.org"),
                    "user_metadata": {"note": "x".repeat(2_000)}})
            })
            .collect();
        world.file(name, &rows.into());
        let size = std::fs::metadata(world.folder.path().join(name))
            .unwrap()
            .len();
        let (before, _) = world.gateway.resident();
        let done = world.import(&[name, "--connection", DATABASE]);
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        let (after, highest) = world.gateway.resident();
        println!(
            "{name}: {size} bytes, {before} KiB before, {after} KiB after, {highest} KiB at most"
        );
        growth.push(highest);
    }
    // The second file has 42 MB; held whole it would take more than that. The allocator takes
    // some more when the machine is busy.
    assert!(growth[1] < growth[0] + 24 * 1024, "{growth:?} KiB");
}

//! The real binary: `dev`, driven over its sockets as a person and a service would.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use url::Url;

const PERSON: &str = "mia@example.org";
const PASSWORD: &str = "Correct-Horse-1";

struct Dev {
    child: Child,
    gateway: String,
    tenant: String,
    http: Client,
    lines: Mutex<mpsc::Receiver<String>>,
}

impl Dev {
    fn start(variables: &[(&str, &str)]) -> Self {
        let since = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"))
            .arg("dev")
            .env("HTTP_PORT", "0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let value = |name: &str| loop {
            let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
            if let Some(value) = line.strip_prefix(name) {
                return value.trim().to_owned();
            }
        };
        let (gateway, tenant) = (value("gateway:"), value("tenant:"));
        assert!(since.elapsed() < Duration::from_secs(20));
        let http = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            child,
            gateway,
            tenant,
            http,
            lines: Mutex::new(lines),
        }
    }

    async fn get(&self, url: &str, cookie: &str) -> Response {
        self.http
            .get(url)
            .header(COOKIE, cookie)
            .send()
            .await
            .unwrap()
    }

    async fn token(&self, body: &[(&str, &str)]) -> Response {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(body)
            .finish();
        self.http
            .post(format!("{}/oauth/token", self.gateway))
            .header("secret", "dev-app-key")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::FOUND);
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

/// The `name=value` of a cookie that is set.
fn cookie(response: &Response, name: &str) -> String {
    let lines = response
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|line| line.to_str().unwrap());
    let mut pairs = lines.map(|line| line.split(';').next().unwrap());
    pairs
        .find(|pair| pair.starts_with(&format!("{name}=")))
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_three_curl_lines_work() {
    let dev = Dev::start(&[]);
    let answer = dev
        .token(&[
            ("grant_type", "password"),
            ("username", PERSON),
            ("password", PASSWORD),
        ])
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let tokens: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let access_token = tokens["accessToken"].as_str().unwrap();
    let answer = dev
        .http
        .get(format!("{}/userinfo", dev.gateway))
        .bearer_auth(access_token)
        .send()
        .await
        .unwrap();
    let profile: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(profile["email"], PERSON);
    assert_eq!(profile["groups"], serde_json::json!(["users", "admin"]));
    assert_eq!(
        profile["permissions"],
        serde_json::json!(["read:orders", "write:orders"])
    );
    let answer = dev
        .http
        .post(format!("{}/refreshtoken", dev.gateway))
        .bearer_auth(access_token)
        .header("secret", "dev-app-key")
        .json(&serde_json::json!({"refresh_token": tokens["refreshToken"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let renewed: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_ne!(renewed["accessToken"], tokens["accessToken"]);
    let active = dev
        .get(&format!("{}/users/active", dev.gateway), "")
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(active, r#"[{"userId":"auth0|64b0c0ffee0000000000a001"}]"#);
}

#[tokio::test]
async fn auth0s_refusals_come_through() {
    let dev = Dev::start(&[]);
    for (username, password, status, code) in [
        (PERSON, "wrong", 403, "invalid_grant"),
        ("nobody@example.org", "wrong", 403, "invalid_grant"),
        (
            "blocked@example.org",
            "Correct-Horse-4",
            403,
            "unauthorized",
        ),
        ("mfa@example.org", "Correct-Horse-5", 403, "mfa_required"),
    ] {
        let answer = dev
            .token(&[
                ("grant_type", "password"),
                ("username", username),
                ("password", password),
            ])
            .await;
        assert_eq!(answer.status().as_u16(), status, "{username}");
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["code"], code, "{username}");
        assert_eq!(body.get("mfa_token").is_some(), code == "mfa_required");
    }
}

#[tokio::test]
async fn a_person_signs_in_on_the_page_and_out_again() {
    let dev = Dev::start(&[]);
    // The protected page sends a stranger to sign in.
    let page = dev.get(&format!("{}/", dev.gateway), "").await;
    let begin = dev
        .get(&format!("{}{}", dev.gateway, location(&page)), "")
        .await;
    let binding = cookie(&begin, "__Host-login");
    let login = dev.get(&location(&begin), "").await;
    let login = Url::parse(&dev.tenant)
        .unwrap()
        .join(&location(&login))
        .unwrap();
    let state = login
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let submit = |password: &'static str| {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("state", state.as_str()),
                ("username", PERSON),
                ("password", password),
            ])
            .finish();
        dev.http
            .post(login.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
    };
    assert_eq!(
        submit("wrong").await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let callback = location(&submit(PASSWORD).await.unwrap());
    // Another browser cannot finish what this one began, and the code is spent by the attempt.
    let done = dev.get(&callback, &binding).await;
    assert_eq!(location(&done), "/");
    let sid = cookie(&done, "sid");
    let page = dev.get(&format!("{}/", dev.gateway), &sid).await;
    assert!(page.text().await.unwrap().contains("Hello, Mia Rossi"));
    assert_eq!(
        dev.get(&callback, &binding).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let out = dev.get(&format!("{}/logout", dev.gateway), &sid).await;
    assert!(location(&out).starts_with(&dev.tenant));
    let page = dev.get(&format!("{}/", dev.gateway), &sid).await;
    assert_eq!(location(&page), "/web-login?redirect=/");
}

#[tokio::test]
async fn threats_13_29_no_secret_is_in_any_log_line() {
    let mut dev = Dev::start(&[("LOG_LEVEL", "trace")]);
    let answer = dev
        .token(&[
            ("grant_type", "password"),
            ("username", PERSON),
            ("password", PASSWORD),
        ])
        .await;
    let tokens: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let mut secrets: Vec<String> = ["accessToken", "refreshToken", "idToken"]
        .iter()
        .map(|name| tokens[*name].as_str().unwrap().to_owned())
        .collect();
    let access_token = secrets[0].clone();
    for path in [
        "/userinfo",
        "/auth",
        "/authorize?state=s3cr3t-state&redirect=/s3cr3t-redirect",
        "/logout",
    ] {
        let url = format!("{}{path}", dev.gateway);
        dev.http
            .get(url)
            .bearer_auth(&access_token)
            .send()
            .await
            .unwrap();
    }
    dev.token(&[
        ("grant_type", "password"),
        ("username", PERSON),
        ("password", "s3cr3t-wrong"),
    ])
    .await;
    dev.token(&[("code", "s3cr3t-code"), ("state", "s3cr3t-state")])
        .await;
    dev.child.kill().unwrap();
    secrets.extend(
        [
            PASSWORD,
            PERSON,
            "s3cr3t",
            "dev-website-secret",
            "dev-app-key",
        ]
        .map(str::to_owned),
    );
    let mut count = 0;
    while let Ok(line) = dev
        .lines
        .lock()
        .unwrap()
        .recv_timeout(Duration::from_secs(2))
    {
        // The greeting shows the person and password on purpose; log lines are JSON.
        if line.starts_with('{') {
            count += 1;
            for secret in &secrets {
                assert!(!line.contains(secret), "a secret is in {line}");
            }
        }
    }
    assert!(count >= 6, "{count} log lines");
}

#[tokio::test]
async fn threat_37_two_framings_of_one_message_smuggle_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dev = Dev::start(&[]);
    let address = dev.gateway.strip_prefix("http://localhost:").unwrap();
    let behind = "GET /-/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // Of two lengths the chunks count, and the connection is closed (RFC 9112, section 6.3); what is no
    // length at all is refused.
    for (head, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 200),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", 200),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Transfer-Encoding: chunked, identity", 400),
        ("Content-Length: +5", 400),
        ("Transfer-Encoding: chunked\r\nConnection: close", 200),
    ] {
        let mut stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{address}"))
            .await
            .unwrap();
        let rows = r#"[{"email":"a@example.org"}]"#;
        let message = format!(
            "POST /users/import?dryRun=true&connection=Username-Password-Authentication HTTP/1.1\r\nHost: x\r\n\
             Content-Type: application/json\r\n{head}\r\n\r\n{:x}\r\n{rows}\r\n0\r\n\r\n{behind}",
            rows.len()
        );
        stream.write_all(message.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(10), read).await;
        assert!(closed.is_ok(), "{head}: the connection is still open");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head}: {answer}");
    }
}

#[test]
fn ctrl_c_ends_it_cleanly() {
    let mut dev = Dev::start(&[]);
    let pid = dev.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let since = Instant::now();
    let status = loop {
        if let Some(status) = dev.child.try_wait().unwrap() {
            break status;
        }
        assert!(since.elapsed() < Duration::from_secs(10), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
}

#[test]
fn check_config_reports_every_fault_and_exits_with_2() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"))
        .arg("check-config")
        .env("SERVICE_CONFIG_PATH", "/nowhere")
        .env("HTTP_PORT", "70000")
        .env("SESSION_STORE", "file")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    for name in [
        "HTTP_PORT",
        "SESSION_STORE",
        "SERVICE_CONFIG_PATH",
        "MANAGEMENT_ACCESS",
    ] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
}

/// Threat 36: a body without a limit, and floods of empty or tiny chunks.
#[tokio::test]
async fn threat_36_every_body_is_bounded_in_size_and_time() {
    use std::io::Write as _;
    use std::net::TcpStream;

    let dev = Dev::start(&[
        ("MAX_BODY_BYTES", "2000"),
        ("IMPORT_MAX_BYTES", "20000"),
        ("HEADER_TIMEOUT_SECONDS", "1"),
    ]);
    let address = dev.gateway.trim_start_matches("http://").to_owned();
    let address = address.replace("localhost", "127.0.0.1");
    let speak = |head: &str, chunks: &mut dyn FnMut(&mut TcpStream) -> std::io::Result<()>| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // The server may close before everything is written.
        let _ = chunks(&mut stream);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split_whitespace().nth(1).unwrap_or("").to_owned()
    };
    for (path, kind) in [
        ("POST /oauth/token", "application/json"),
        ("POST /refreshtoken", "application/json"),
        ("POST /changepassword", "application/x-www-form-urlencoded"),
        ("POST /users", "application/json"),
        ("PATCH /users/auth0%7Cx", "application/json"),
        ("POST /users/auth0%7Cx/change-password", "application/json"),
        ("POST /users/import", "application/json"),
        ("POST /users/import", "multipart/form-data; boundary=b"),
    ] {
        let head = format!(
            "{path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        // More than the limit.
        let large = format!("{:x}\r\n{}\r\n", 1000, " ".repeat(1000));
        let status = speak(&head, &mut |stream| {
            for _ in 0..30 {
                stream.write_all(large.as_bytes())?;
            }
            stream.write_all(b"0\r\n\r\n")
        });
        assert!(
            ["413", "400"].contains(&status.as_str()),
            "{path} {kind}: {status}"
        );
        // Nothing comes any more.
        let since = Instant::now();
        let status = speak(&head, &mut |stream| stream.write_all(b"1\r\n \r\n"));
        assert_eq!(status, "408", "{path} {kind}");
        assert!(since.elapsed() < Duration::from_secs(5), "{path}");
    }
    // Tiny chunks for ever, each in time: the whole has a limit.
    let head = "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let since = Instant::now();
    speak(head, &mut |stream| {
        loop {
            stream.write_all(b"1\r\n \r\n")?;
            std::thread::sleep(Duration::from_millis(100));
            assert!(
                since.elapsed() < Duration::from_secs(8),
                "a slow body is held for ever"
            );
        }
    });
    let healthy = dev.get(&format!("{}/-/healthz", dev.gateway), "").await;
    assert_eq!(healthy.status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_tell_how_the_store_and_the_limits_stand() {
    let dev = Dev::start(&[]);
    let person = [
        ("grant_type", "password"),
        ("username", PERSON),
        ("password", PASSWORD),
    ];
    assert_eq!(dev.token(&person).await.status(), StatusCode::OK);
    dev.get(&format!("{}/users/count", dev.gateway), "").await;
    let answer = dev.get(&format!("{}/-/metrics", dev.gateway), "").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    for line in [
        "auth0_gateway_store_sessions 1",
        "auth0_gateway_store_failing 0",
        "auth0_gateway_store_sealed_with_older_keys 0",
        "# TYPE auth0_gateway_store_commits counter",
        "auth0_gateway_auth0_calls_waiting{tenant=",
        "auth0_gateway_auth0_rate_limit{tenant=",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(PERSON) && !text.contains("auth0|"), "{text}");
}

/// An answer that needs nothing of the body arrives all the same: a connection closed over unread bytes is
/// reset, and the answer is lost to a client that is still sending.
#[tokio::test]
async fn an_answer_before_the_end_of_the_body_arrives() {
    use std::io::Write as _;
    use std::net::TcpStream;

    let dev = Dev::start(&[("MAX_BODY_BYTES", "2000")]);
    let address = dev.gateway.trim_start_matches("http://").to_owned();
    let address = address.replace("localhost", "127.0.0.1");
    let body = vec![b' '; 8 << 20];
    for (path, kind, expected) in [
        ("/users/import", "multipart/form-data; boundary=b", "400"),
        ("/users/import", "text/plain", "415"),
        ("/oauth/token", "application/json", "413"),
        ("/nowhere", "application/json", "404"),
    ] {
        let mut stream = TcpStream::connect(&address).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The answer is there before the body.
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&body).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {expected}"),
            "{path} {kind}"
        );
    }
}

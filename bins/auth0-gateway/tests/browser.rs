//! A real browser, headless Chromium, signs in through the pages of `dev` and out again.
//!
//! Needs `chromium` and `chromedriver`; `.ci/run` installs them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits for the line of its output that holds `marker`; gives what follows it.
fn start(command: &mut Command, marker: &str) -> (Process, String) {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed for this test: {error}", program.display()));
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = stdout.lines().map_while(Result::ok);
    let line = lines.find_map(|line| {
        line.split_once(marker)
            .map(|(_, rest)| rest.trim().to_owned())
    });
    // The pipe must not fill up.
    std::thread::spawn(move || lines.for_each(drop));
    (Process(child), line.unwrap())
}

/// A browser, driven over the `WebDriver` protocol of the W3C.
struct Browser {
    http: Client,
    session: String,
    _driver: Process,
    profile: std::path::PathBuf,
}

impl Browser {
    async fn open() -> Self {
        let (driver, port) = start(
            Command::new("chromedriver").arg("--port=0"),
            "started successfully on port ",
        );
        let profile =
            std::env::temp_dir().join(format!("auth0-gateway-browser-{}", std::process::id()));
        let http = Client::builder().no_proxy().build().unwrap();
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let url = format!("http://127.0.0.1:{}/session", port.trim_end_matches('.'));
        let body =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let answer = http.post(&url).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let id = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no browser: {answer}"));
        Self {
            session: format!("{url}/{id}"),
            http,
            _driver: driver,
            profile,
        }
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let answer = self
            .http
            .post(format!("{}/{command}", self.session))
            .json(&body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].clone()
    }

    async fn go(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    async fn text(&self) -> String {
        self.script("return document.body.innerText")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits for a page that shows this text.
    async fn wait_for(&self, text: &str) {
        let since = Instant::now();
        while !self.text().await.contains(text) {
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "{text} does not appear in: {}",
                self.text().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn element(&self, selector: &str) -> String {
        let found = self
            .post(
                "element",
                json!({"using": "css selector", "value": selector}),
            )
            .await;
        let id = found.as_object().and_then(|found| found.values().next());
        id.and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {selector}: {found}"))
            .to_owned()
    }

    async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/clear"), json!({}))
            .await;
        self.post(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/click"), json!({}))
            .await;
    }

    async fn cookies(&self) -> Vec<Value> {
        let answer = self
            .http
            .get(format!("{}/cookie", self.session))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].as_array().unwrap().clone()
    }

    async fn close(self) {
        self.http.delete(&self.session).send().await.unwrap();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

#[tokio::test]
async fn a_person_signs_in_sees_the_page_and_signs_out() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"));
    let (_dev, gateway) = start(command.arg("dev").env("HTTP_PORT", "0"), "gateway:");
    let browser = Browser::open().await;

    // A stranger is sent to the tenant's page.
    browser.go(&format!("{gateway}/")).await;
    browser.wait_for("Password").await;
    browser.fill("#username", "mia@example.org").await;
    browser.fill("#password", "wrong").await;
    browser.click("button[type=submit]").await;
    browser.wait_for("Wrong").await;
    browser.fill("#username", "mia@example.org").await;
    browser.fill("#password", "Correct-Horse-1").await;
    browser.click("button[type=submit]").await;
    browser.wait_for("Hello, Mia Rossi").await;

    // The cookie is there, and no script can read it.
    let cookies = browser.cookies().await;
    let sid = cookies
        .iter()
        .find(|cookie| cookie["name"] == "sid")
        .unwrap();
    assert_eq!(
        (&sid["httpOnly"], &sid["secure"], &sid["path"]),
        (&json!(true), &json!(true), &json!("/"))
    );
    let seen = browser.script("return document.cookie").await;
    assert!(!seen.as_str().unwrap().contains("sid"), "{seen}");

    // Signed out, the page asks again.
    browser.click("a[href='/logout']").await;
    browser.wait_for("Password").await;
    assert!(
        browser
            .cookies()
            .await
            .iter()
            .all(|cookie| cookie["name"] != "sid")
    );
    browser.go(&format!("{gateway}/")).await;
    browser.wait_for("Password").await;
    browser.close().await;
}

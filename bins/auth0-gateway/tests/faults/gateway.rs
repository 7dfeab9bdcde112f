//! Gateways as processes of their own, and how people and services speak to them.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dev_tenant::{Seed, SeedUser};
use reqwest::header::{COOKIE, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::relay::Relay;

pub(crate) const DATABASE: &str = "Username-Password-Authentication";
pub(crate) const PASSWORD: &str = "Correct-Horse-9";

pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // The gateway closes what has been idle for ten seconds, and nobody may be about to use it then.
        .pool_idle_timeout(Duration::from_secs(4))
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// The built-in seed, and so many people more.
pub(crate) fn seed(people: usize) -> Seed {
    let mut seed = Seed::example();
    seed.users
        .extend((0..people).map(|number| SeedUser::new(&person(number), PASSWORD)));
    seed
}

pub(crate) fn person(number: usize) -> String {
    format!("person-{number}@example.org")
}

/// What gateways of one kind have in common: configuration, variables, and a folder that outlives them.
pub(crate) struct Setup {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Setup {
    pub(crate) fn new(relay: &Relay, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = &relay.url;
        let id = relay.tenant.connection_id(DATABASE).unwrap();
        let config = json!({
            "clients": {"app": {
                "auth0Url": url, "clientId": "dev-website", "clientSecret": "dev-website-secret",
                "redirectUrl": "http://localhost/web-login/callback", "audience": "https://api.example.org/",
                "scopes": ["offline_access", "profile"], "webLogin": true,
            }},
            "defaultClient": "app",
            "auth0TenantUrl": url,
            "managementClient": {
                "auth0Url": url, "clientId": "dev-management", "clientSecret": "dev-management-secret",
                "supportedConnectionsMap": {DATABASE: {"connectionId": id}},
                "defaultManagementConnectionName": DATABASE,
            },
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self { folder, variables }
    }

    pub(crate) fn on_redis(relay: &Relay, hosts: &str, variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("REDIS_HOSTS", hosts)];
        all.extend_from_slice(variables);
        Self::new(relay, &all)
    }

    /// Starts one on a free port, and returns once it listens.
    pub(crate) fn start(&self) -> Gateway {
        self.start_at(0)
    }

    pub(crate) fn start_at(&self, port: u16) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"))
            .current_dir(&self.folder)
            .env("HTTP_HOST", "127.0.0.1")
            .env("HTTP_PORT", port.to_string())
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, receiver) = mpsc::channel();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["message"] == "listening" {
                    let _ = sender.send(event["address"].as_str().unwrap_or_default().to_owned());
                }
                let mut kept = kept.lock().unwrap();
                if kept.len() == 200 {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let address = receiver.recv_timeout(Duration::from_secs(20));
        let address = address.unwrap_or_else(|_| panic!("no gateway: {:?}", log.lock().unwrap()));
        Gateway {
            child,
            url: format!("http://{address}"),
            log,
            reader: Some(reader),
        }
    }
}

/// A running gateway. It is killed when it goes out of scope.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) url: String,
    log: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Gateway {
    /// With signal 9: it has no chance to tidy up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, as a planned restart does.
    pub(crate) fn terminate(&self) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status();
        assert!(sent.unwrap().success());
    }

    /// The status it ends with by itself. `None`: it has not ended within the time.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> Option<Option<i32>> {
        let give_up = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code());
            }
            if Instant::now() >= give_up {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log_so_far(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The last lines of one that has been killed, to the very last.
    pub(crate) fn whole_log(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.log_so_far()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("log of {}:\n{}", self.url, self.log_so_far());
        }
    }
}

/// What somebody holds who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Cookie and bearer.
    pub(crate) value: String,
    /// The one that came with the value, where it was told.
    pub(crate) refresh_token: String,
    /// The session's first refresh token: what the relay knows it by.
    pub(crate) family: String,
    /// The value is shown as a bearer, and not as a cookie.
    pub(crate) bearer: bool,
}

impl Held {
    pub(crate) fn cookie(&self) -> String {
        format!("sid={}", self.value)
    }

    fn show(&self, request: RequestBuilder) -> RequestBuilder {
        if self.bearer {
            request.bearer_auth(&self.value)
        } else {
            request.header(COOKIE, self.cookie())
        }
    }
}

/// An answer in short: the status, and whether it says when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
}

impl Said {
    pub(crate) fn of(answer: &Response) -> Self {
        Self {
            status: answer.status().as_u16(),
            retry_after: answer.headers().contains_key(RETRY_AFTER),
        }
    }

    /// "Not now", said as it should be.
    pub(crate) fn is_busy(self) -> bool {
        self.status == 503 && self.retry_after
    }
}

type Answer<T> = Result<T, reqwest::Error>;

/// Signs in with a password. `Err` holds what was said instead.
pub(crate) async fn sign_in(http: &Client, url: &str, person: &str) -> Answer<Result<Held, Said>> {
    sign_in_by(http, url, person, None).await
}

/// As a browser of this name: what a list of sessions knows it by.
pub(crate) async fn sign_in_by(
    http: &Client,
    url: &str,
    person: &str,
    agent: Option<&str>,
) -> Answer<Result<Held, Said>> {
    let body = json!({"grant_type": "password", "username": person, "password": PASSWORD});
    let mut request = http.post(format!("{url}/oauth/token")).json(&body);
    if let Some(agent) = agent {
        request = request.header(USER_AGENT, agent);
    }
    let answer = request.send().await?;
    let said = Said::of(&answer);
    if said.status != 200 {
        return Ok(Err(said));
    }
    let tokens: Value = answer.json().await?;
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    Ok(Ok(Held {
        value: text("accessToken"),
        refresh_token: text("refreshToken"),
        family: text("refreshToken"),
        bearer: false,
    }))
}

/// Asks who this is.
pub(crate) async fn check(http: &Client, url: &str, held: &Held) -> Answer<Said> {
    let answer = held
        .show(http.get(format!("{url}/userinfo")))
        .send()
        .await?;
    Ok(Said::of(&answer))
}

/// Asks who this is, and reads it.
pub(crate) async fn who(http: &Client, url: &str, held: &Held) -> Answer<(Said, Value)> {
    let answer = held
        .show(http.get(format!("{url}/userinfo")))
        .send()
        .await?;
    read(answer).await
}

/// Reads an answer to its end.
pub(crate) async fn read(answer: Response) -> Answer<(Said, Value)> {
    let said = Said::of(&answer);
    let body = answer.bytes().await?;
    Ok((said, serde_json::from_slice(&body).unwrap_or_default()))
}

pub(crate) async fn sign_out(http: &Client, url: &str, held: &Held) -> Answer<Said> {
    let answer = held.show(http.post(format!("{url}/logout"))).send().await?;
    Ok(Said::of(&answer))
}

/// Refreshes, by cookie alone or by bearer and refresh token, and gives what is held then.
pub(crate) async fn refresh(http: &Client, url: &str, held: &Held) -> Answer<Result<Held, Said>> {
    let body = if held.bearer {
        json!({"refreshToken": held.refresh_token})
    } else {
        json!({})
    };
    let request = http.post(format!("{url}/refreshtoken")).json(&body);
    let answer = held.show(request).send().await?;
    let said = Said::of(&answer);
    if held.bearer {
        let (said, tokens) = read(answer).await?;
        if said.status != 200 {
            return Ok(Err(said));
        }
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        return Ok(Ok(Held {
            value: text("accessToken"),
            refresh_token: text("refreshToken"),
            ..held.clone()
        }));
    }
    let cookies = answer.headers().get_all(SET_COOKIE).iter();
    let mut values = cookies.filter_map(|line| {
        let pair = line.to_str().unwrap().split(';').next().unwrap();
        pair.strip_prefix("sid=").map(str::to_owned)
    });
    Ok(match values.next() {
        Some(value) if said.status < 300 => Ok(Held {
            value,
            ..held.clone()
        }),
        _ => Err(said),
    })
}

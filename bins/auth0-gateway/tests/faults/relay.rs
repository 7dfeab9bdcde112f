//! What stands between gateways and tenant: it sees every refresh token that is sent, can hold calls, and
//! can say that a token runs out sooner.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dev_tenant::{DevTenant, Seed, TenantSettings};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use url::form_urlencoded;

/// One sending of a refresh token.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) token: String,
    /// The first refresh token of the session's.
    pub(crate) family: String,
    pub(crate) at: Instant,
    /// The tenant took it and gave another.
    pub(crate) rotated: bool,
}

/// What happens to the next exchange of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// It reaches the tenant this much later, if whoever sent it is still there.
    Before(Duration),
    /// It reaches the tenant, and the answer comes this much later.
    After(Duration),
}

/// Says how many seconds an access token of this grant lives; `None` leaves what the tenant says.
type Lives = Box<dyn Fn(&str) -> Option<u64> + Send + Sync>;

/// Some tokens have run out as soon as they are there, so that a check refreshes.
pub(crate) fn some_run_out() -> Lives {
    let turn = AtomicUsize::new(0);
    Box::new(move |grant| {
        let every = match grant {
            "password" => 2,
            "refresh_token" => 3,
            _ => return None,
        };
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        turn.is_multiple_of(every).then_some(1)
    })
}

#[derive(Default)]
struct Seen {
    exchanges: Vec<Exchange>,
    families: HashMap<String, String>,
    holds: HashMap<String, Hold>,
    /// Access tokens of which it was said that they run out sooner.
    short: HashSet<String>,
}

pub(crate) struct Relay {
    pub(crate) url: String,
    pub(crate) tenant: DevTenant,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    upstream: String,
    http: reqwest::Client,
    lives: Lives,
    seen: Arc<Mutex<Seen>>,
}

impl Relay {
    pub(crate) async fn start(settings: TenantSettings, seed: Seed, lives: Lives) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, settings, seed, lives).await
    }

    /// On a port that is known before the seed is made.
    pub(crate) async fn on(
        listener: TcpListener,
        settings: TenantSettings,
        seed: Seed,
        lives: Lives,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let settings = TenantSettings {
            domain: Some(address.to_string()),
            ..settings
        };
        let tenant = DevTenant::start(settings, seed).await.unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let state = Arc::new(State {
            upstream: tenant.url().to_owned(),
            http: super::gateway::client(),
            lives,
            seen: Arc::clone(&seen),
        });
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let service = service_fn(move |request| relay(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url: format!("http://{address}"),
            tenant,
            seen,
            task,
        }
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap().exchanges.clone()
    }

    /// Those of one session.
    pub(crate) fn exchanges_of(&self, family: &str) -> Vec<Exchange> {
        let seen = self.seen.lock().unwrap();
        let of_it = seen.exchanges.iter().filter(|e| e.family == family);
        of_it.cloned().collect()
    }

    /// Was it said of this access token that it runs out sooner?
    pub(crate) fn is_short(&self, access_token: &str) -> bool {
        self.seen.lock().unwrap().short.contains(access_token)
    }

    /// Holds the next exchange of the session that began with this refresh token.
    pub(crate) fn hold(&self, family: &str, hold: Hold) {
        let mut seen = self.seen.lock().unwrap();
        seen.holds.insert(family.to_owned(), hold);
    }
}

async fn relay(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(bad_gateway());
    };
    let body = body.to_bytes();
    let grant = (head.uri.path() == "/oauth/token").then(|| Grant::read(&body));
    let mut at = None;
    let mut hold = None;
    if let Some(token) = grant.as_ref().and_then(|grant| grant.refresh_token.clone()) {
        let mut seen = state.seen.lock().unwrap();
        let family = seen.families.get(&token).unwrap_or(&token).clone();
        hold = seen.holds.remove(&family);
        at = Some(seen.exchanges.len());
        seen.exchanges.push(Exchange {
            token,
            family,
            at: Instant::now(),
            rotated: false,
        });
    }
    if let Some(Hold::Before(time)) = hold {
        // Whoever sent it may be gone by then, and this with it.
        tokio::time::sleep(time).await;
    }
    // A task of its own: what has gone out is worked on, whoever still waits for it.
    let forwarded = tokio::spawn(async move {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", state.upstream);
        let mut headers = head.headers;
        headers.remove("host");
        headers.remove("content-length");
        let sent = state.http.request(head.method, url).headers(headers);
        let Ok(answer) = sent.body(body).send().await else {
            return bad_gateway();
        };
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let Ok(mut body) = answer.bytes().await else {
            return bad_gateway();
        };
        if let Some(grant) = grant.filter(|_| status.is_success()) {
            body = note(&state, &grant, at, body);
        }
        headers.remove("content-length");
        headers.remove("transfer-encoding");
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    });
    let response = forwarded.await.unwrap_or_else(|_| bad_gateway());
    if let Some(Hold::After(time)) = hold {
        tokio::time::sleep(time).await;
    }
    Ok(response)
}

struct Grant {
    kind: String,
    refresh_token: Option<String>,
}

impl Grant {
    fn read(body: &[u8]) -> Self {
        let json: Option<HashMap<String, Value>> = serde_json::from_slice(body).ok();
        let value = |name: &str| match &json {
            Some(json) => json.get(name)?.as_str().map(str::to_owned),
            None => form_urlencoded::parse(body)
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned()),
        };
        let kind = value("grant_type").unwrap_or_default();
        let refresh_token = value("refresh_token").filter(|_| kind == "refresh_token");
        Self {
            kind,
            refresh_token,
        }
    }
}

/// Notes which token came for which, and changes how long the access token lives.
fn note(state: &State, grant: &Grant, at: Option<usize>, body: Bytes) -> Bytes {
    let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    if let Some(new) = answer["refresh_token"].as_str() {
        let mut seen = state.seen.lock().unwrap();
        if let Some(exchange) = at.and_then(|at| seen.exchanges.get_mut(at)) {
            exchange.rotated = true;
            let family = exchange.family.clone();
            seen.families.insert(new.to_owned(), family);
        }
    }
    if let Some(seconds) = (state.lives)(&grant.kind) {
        answer["expires_in"] = seconds.into();
        if let Some(token) = answer["access_token"].as_str() {
            let mut seen = state.seen.lock().unwrap();
            seen.short.insert(token.to_owned());
        }
    }
    answer.to_string().into()
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    response
}

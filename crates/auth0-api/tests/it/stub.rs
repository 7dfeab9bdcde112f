//! A server that records what it is asked and answers as it is told.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth0_api::management::{Call, Lane};
use auth0_api::{Application, Auth0Client, ClientSecret, ClientSettings, ManagementClient, Tenant};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The management secret; no error and no `Debug` may show it.
pub(crate) const SECRET: &str = "mgmt-secret-5f1c";
/// The first access token that the stub sells; the second ends in 2.
pub(crate) const TOKEN: &str = "mgmt-token-1";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, undecoded.
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_token(&self) -> bool {
        self.target == "/oauth/token"
    }

    /// Request line, content type and body.
    pub(crate) fn show(&self) -> String {
        let mut text = format!("{} {}", self.method, self.target);
        if !self.content_type.is_empty() {
            let boundary = self.content_type.split_once("boundary=");
            let hide = |text: &str| match boundary {
                Some((_, boundary)) => text.replace(boundary, "BOUNDARY"),
                None => text.to_owned(),
            };
            let body = hide(&self.text()).replace("\r\n", "\n");
            write!(text, "\n{}\n{body}", hide(&self.content_type)).unwrap();
        }
        text
    }
}

/// What the stub answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Cut the connection in place of an answer.
    cut: bool,
    delay: Duration,
}

pub(crate) fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.into(),
        cut: false,
        delay: Duration::ZERO,
    }
}

pub(crate) fn cut() -> Reply {
    Reply {
        cut: true,
        ..reply(200, "")
    }
}

impl Reply {
    #[expect(clippy::needless_pass_by_value, reason = "reads better in a table")]
    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

pub(crate) struct Stub {
    pub(crate) tenant: Tenant,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Stub {
    /// Answers everything with this function.
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", handler).await
    }

    pub(crate) async fn start_on(
        address: &str,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let tenant = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let record = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, record) = (Arc::clone(&handler), Arc::clone(&record));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        answer(request, Arc::clone(&handler), Arc::clone(&record))
                    });
                    // An error is how a connection is cut.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            tenant: Tenant::parse(&tenant).unwrap(),
            seen,
            accepting,
        }
    }

    /// Takes no more connections, and gives its address free.
    pub(crate) async fn stop(&mut self) {
        self.accepting.abort();
        (&mut self.accepting).await.unwrap_err();
    }

    /// Sells tokens that live for a day, and answers the rest with this function, which is told how
    /// many calls came before.
    pub(crate) async fn management(
        handler: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (sold, calls) = (Mutex::new(0_u32), Mutex::new(0_usize));
        Self::start(move |seen| {
            if seen.is_token() {
                let mut sold = sold.lock().unwrap();
                *sold += 1;
                return token(*sold, 86_400);
            }
            let before = {
                let mut calls = calls.lock().unwrap();
                *calls += 1;
                *calls - 1
            };
            handler(before, seen)
        })
        .await
    }

    pub(crate) fn application(&self) -> Application {
        Application {
            tenant: self.tenant.clone(),
            client_id: "mgmt".to_owned(),
            client_secret: ClientSecret::new(SECRET),
        }
    }

    pub(crate) fn client(&self, settings: ClientSettings) -> ManagementClient {
        let audience = ManagementClient::audience(&self.tenant);
        let client = Auth0Client::new(settings).unwrap();
        ManagementClient::new(client, self.application(), audience)
    }

    /// All requests but those for tokens.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| !s.is_token()).cloned().collect()
    }

    pub(crate) fn token_calls(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| s.is_token()).cloned().collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    record: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name);
        value.map_or_else(String::new, |v| v.to_str().unwrap().to_owned())
    };
    let seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        authorization: header("authorization"),
        content_type: header("content-type"),
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    };
    let reply = handler(&seen);
    record.lock().unwrap().push(seen);
    tokio::time::sleep(reply.delay).await;
    if reply.cut {
        return Err(std::io::Error::other("cut"));
    }
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}

pub(crate) fn token(number: u32, expires_in: u64) -> Reply {
    let token = TOKEN.replace('1', &number.to_string());
    reply(
        200,
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#),
    )
}

/// A refusal as the Management API words it.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({
        "statusCode": status, "error": "Bad Request", "message": message, "errorCode": code,
    });
    reply(status, body.to_string())
}

pub(crate) fn call(lane: Lane, seconds: u64) -> Call {
    Call {
        lane,
        deadline: Instant::now() + Duration::from_secs(seconds),
    }
}

pub(crate) fn admin() -> Call {
    call(Lane::Admin, 20)
}

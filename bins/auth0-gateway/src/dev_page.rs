//! The example page of `dev`: a service behind the gateway, as small as can be.
//!
//! It asks `/userinfo` who is there, as every service would, and sends a stranger to sign in.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use gateway_core::http::{Body, GatewayService};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;

use crate::serve::BoxError;
use crate::server::Handler;

/// The header that `dev` reads the browser's protocol from.
pub(crate) const ORIGINAL_PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-proto");

type PageBody = UnsyncBoxBody<Bytes, BoxError>;

/// The gateway, and a page at `/` behind it.
#[derive(Clone, Debug)]
pub(crate) struct DevService {
    gateway: GatewayService,
}

impl DevService {
    pub(crate) fn new(gateway: GatewayService) -> Self {
        Self { gateway }
    }
}

impl Handler for DevService {
    type Body = PageBody;
    type Future = Pin<Box<dyn Future<Output = Result<Response<PageBody>, Infallible>> + Send>>;

    fn handle(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Self::Future {
        // Nothing in front says so, but this is plain http: a sign-out must come back to it.
        let protocol = HeaderValue::from_static("http");
        request
            .headers_mut()
            .entry(ORIGINAL_PROTOCOL)
            .or_insert(protocol);
        let gateway = self.gateway.clone();
        Box::pin(async move {
            if request.uri().path() == "/" && request.method() == Method::GET {
                return Ok(page(&gateway, &request, peer).await);
            }
            let answer = gateway.handle(request, Some(peer)).await?;
            Ok(answer.map(Body::boxed_unsync))
        })
    }
}

async fn page(
    gateway: &GatewayService,
    request: &Request<Incoming>,
    peer: SocketAddr,
) -> Response<PageBody> {
    let mut question = Request::new(Empty::<Bytes>::new());
    *question.uri_mut() = http::Uri::from_static("/userinfo");
    let host = HeaderValue::from_static("localhost");
    question.headers_mut().insert(HOST, host);
    for cookie in request.headers().get_all(COOKIE) {
        question.headers_mut().append(COOKIE, cookie.clone());
    }
    let Ok(answer) = gateway.handle(question, Some(peer)).await;
    let status = answer.status();
    let profile = answer
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let mut response = Response::new(full(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(LOCATION, HeaderValue::from_static("/web-login?redirect=/"));
        *response.status_mut() = StatusCode::FOUND;
        return response;
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"),
    );
    *response.status_mut() = status;
    *response.body_mut() = full(html(&profile));
    response
}

fn html(profile: &[u8]) -> String {
    let profile: serde_json::Value = serde_json::from_slice(profile).unwrap_or_default();
    let pretty = serde_json::to_string_pretty(&profile).unwrap_or_default();
    let name = profile
        .get("name")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("nobody");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Example page</title><style>body{{font:1rem/1.5 system-ui,sans-serif;\
         max-width:42rem;margin:8vh auto;padding:0 1rem;color:#1b1f24}}pre{{background:#f3f4f6;\
         padding:1rem;overflow:auto;border-radius:.5rem}}a{{color:#0b5cad}}</style></head><body>\
         <h1>Hello, {}</h1><p>This page is for people who are signed in. What the services behind the \
         gateway know of you:</p><pre>{}</pre><p><a href=\"/logout\">Sign out</a></p></body></html>",
        escape(name),
        escape(&pretty)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn full(bytes: impl Into<Bytes>) -> PageBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

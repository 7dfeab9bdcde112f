//! The HTTP surface: a [`tower_service::Service`] over [`http::Request`], for hyper, axum or a test to
//! mount.

mod access_log;
mod active_users;
mod body;
mod check;
mod context;
mod forwarded;
mod head;
mod imports;
mod lingering;
mod login;
mod logout;
mod management;
mod openapi;
mod params;
mod request_id;
mod respond;
mod route;
mod sessions;
mod status;
mod token;
mod users;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::Instrument as _;

pub use body::Body;
pub use status::Metrics;

use crate::Error;
use crate::error::BoxError;
use crate::gateway::Gateway;
use crate::json;
use context::Context;
use head::Head;
use lingering::Lingering;
use params::Params;
use respond::Answer;
use route::{Found, Route, Router};

/// The rate below which an import's file is given up, in bytes per second.
const SLOWEST_UPLOAD: u64 = 64 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The peer's address, put into a request's extensions by whoever listens. Without it no peer is
/// trusted and no address is known.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// Which listener a request came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The one that browsers and the services behind reach.
    Main,
    /// The one of `MANAGEMENT_HTTP_PORT`.
    Management,
}

/// The gateway as an HTTP service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GatewayService {
    shared: Arc<Shared>,
    listener: Listener,
}

#[derive(Debug)]
struct Shared {
    gateway: Arc<Gateway>,
    router: Router,
    request_ids: request_id::RequestIds,
    status: status::Status,
    documentation: openapi::Documentation,
}

impl GatewayService {
    /// The service of the main listener.
    ///
    /// # Errors
    /// When the service prefix makes no path, or the `OpenAPI` document cannot be rendered.
    pub fn new(gateway: Arc<Gateway>) -> Result<Self, Error> {
        let router = Router::new(&gateway.settings.service_prefix)
            .map_err(|error| Error::Internal(Box::new(error)))?;
        let documentation = openapi::Documentation::new(&gateway.settings)?;
        let shared = Shared {
            gateway,
            router,
            documentation,
            request_ids: request_id::RequestIds::new(),
            status: status::Status::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            listener: Listener::Main,
        })
    }

    /// The same service for another listener.
    #[must_use]
    pub fn on(&self, listener: Listener) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            listener,
        }
    }

    /// From now on `/-/ready` answers 503, and every answer is the last of its connection: nothing new should
    /// be sent here, and nothing is begun without a request ([`Gateway::stop`]).
    pub fn drain(&self) {
        self.shared.gateway.stop();
        self.shared.status.drain();
    }

    /// Answers a request. A session check that needs neither the store nor Auth0 is answered at once,
    /// without a task, a timer or a lock.
    pub fn handle<B>(&self, request: Request<B>, peer: Option<SocketAddr>) -> ResponseFuture
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let since = Instant::now();
        let (parts, body) = request.into_parts();
        let body = Lingering::new(body, &parts.headers);
        let (head, head_fault) = match Head::read(&parts.headers) {
            Ok(head) => (head, None),
            Err(error) => (Head::default(), Some(error)),
        };
        let id = match head.request_id {
            Some(id) => id.clone(),
            None => self.shared.request_ids.next(),
        };
        let found = match self.admit(&parts, head_fault) {
            Ok(found) => found,
            Err(error) => return self.ready(&parts, respond::error(&error), id, since, false),
        };
        let gateway = &self.shared.gateway;
        if matches!(
            found.route,
            Route::UserInfo | Route::Auth | Route::AuthBelow
        ) && let Some(answer) = check::now(gateway, &head, found.route)
        {
            let answer = answer.unwrap_or_else(|error| respond::error(&error));
            return self.ready(&parts, answer, id, since, true);
        }
        let service = self.clone();
        let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
        let work = async move {
            let frequent = is_frequent(found.route);
            let settings = &service.shared.gateway.settings;
            let mut limit = settings.request_timeout;
            if found.route == Route::Import {
                // A large file may take its time, as long as it keeps coming.
                limit += Duration::from_secs(settings.import_max_bytes / SLOWEST_UPLOAD);
            }
            // What is given up has to be answered before the whole request is.
            let deadline = tokio::time::Instant::now() + limit.saturating_sub(limit / 20);
            let work = service.answer(&parts, body, found, peer, deadline);
            let work = AssertUnwindSafe(work).catch_unwind();
            let answer = match timeout(limit, work).await {
                Ok(Ok(Ok(answer))) => answer,
                Ok(Ok(Err(error))) => respond::error(&error),
                Ok(Err(_)) => respond::error(&Error::Internal("a request handler panicked".into())),
                Err(_) => respond::error(&Error::Deadline),
            };
            service.finish(&parts, answer, id, since, frequent)
        };
        ResponseFuture(State::Pending(Box::pin(work.instrument(span))))
    }

    /// Is it clear for which host it is, is there such a route here, for this method, and are the headers in
    /// order?
    fn admit(&self, parts: &Parts, head_fault: Option<Error>) -> Result<Found, Error> {
        forwarded::check_host(parts)?;
        let shared = &self.shared;
        let settings = &shared.gateway.settings;
        let found = shared
            .router
            .find(parts.uri.path())
            .filter(|found| management::is_served(settings, self.listener, found.exposure))
            .ok_or(Error::NotFound)?;
        if !found.takes(&parts.method) {
            return Err(Error::MethodNotAllowed(found.allow));
        }
        if found.exposure == route::Exposure::Management {
            management::authorize(settings, &parts.headers)?;
            return Ok(found);
        }
        head_fault.map_or(Ok(found), Err)
    }

    async fn answer<B>(
        &self,
        parts: &Parts,
        body: B,
        found: Found,
        peer: Option<SocketAddr>,
        deadline: tokio::time::Instant,
    ) -> Result<Answer, Error>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Shared {
            gateway,
            status,
            documentation,
            ..
        } = &*self.shared;
        let settings = &gateway.settings;
        // The management routes have an `Authorization` of their own.
        let head = Head::read(&parts.headers).or_else(|error| match found.exposure {
            route::Exposure::Management => Ok(Head::default()),
            _ => Err(error),
        })?;
        let context = Context {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            head,
            caller: forwarded::caller(settings, peer, &parts.headers),
            deadline,
        };
        let parameter = |name| self.shared.router.parameter(parts.uri.path(), name);
        match found.route {
            Route::Authorize => login::authorize(gateway, &context).await,
            Route::WebLogin => login::web_login(gateway, &context).await,
            Route::WebLoginCallback => login::callback(gateway, &context).await,
            Route::UserInfo | Route::Auth | Route::AuthBelow => {
                check::later(gateway, &context.head, found.route, &context.caller).await
            }
            Route::Logout => logout::logout(gateway, &context).await,
            Route::ActiveUsers => active_users::list(gateway, &context).await,
            Route::Users if parts.method != Method::POST => users::list(gateway, &context).await,
            Route::Users => {
                let body = self.read_json(parts, body).await?;
                users::create(gateway, &context, body).await
            }
            Route::Import => imports::submit(gateway, &context, parts, body).await,
            Route::ImportStatus => imports::status(gateway, &context, &parameter("id")?).await,
            Route::ImportErrors => imports::errors(gateway, &context, &parameter("id")?).await,
            Route::CountUsers => users::count(gateway, &context).await,
            Route::ExportUsers => users::export(gateway, &context).await,
            Route::User => {
                let id = parameter("id")?;
                match parts.method {
                    Method::DELETE => users::delete(gateway, &context, &id).await,
                    Method::PATCH => {
                        let body = self.read_json(parts, body).await?;
                        users::update(gateway, &context, &id, &body).await
                    }
                    _ => users::get(gateway, &context, &id).await,
                }
            }
            Route::UserPassword => {
                let body = self.read_json(parts, body).await?;
                users::change_password(gateway, &context, &parameter("id")?, &body).await
            }
            Route::Sessions => sessions::list(gateway, &context).await,
            Route::UserSessions => sessions::end_all(gateway, &context, &parameter("id")?).await,
            Route::UserSession => {
                let (id, session) = (parameter("id")?, parameter("session")?);
                sessions::end_one(gateway, &context, &id, &session).await
            }
            Route::Health => Ok(status::Status::healthz(gateway)),
            Route::Ready => Ok(status.ready(gateway).await),
            Route::Metrics => status::metrics(gateway),
            Route::Documentation => Ok(documentation.on(self.listener).json()),
            Route::DocumentationYaml => Ok(documentation.on(self.listener).yaml()),
            Route::CheckUp => Ok(status.check_up(gateway).await),
            Route::BackchannelLogout => {
                let params = self.read_body(parts, body).await?;
                let token = params.require(&["logout_token"])?;
                gateway.backchannel_logout(token).await?;
                Ok(respond::empty(StatusCode::OK))
            }
            Route::Token | Route::Refresh | Route::ChangePassword => {
                let params = self.read_body(parts, body).await?;
                match found.route {
                    Route::Token => token::token(gateway, &context, &params).await,
                    Route::Refresh => token::refresh(gateway, &context, &params).await,
                    _ => token::change_password(gateway, &context, &params).await,
                }
            }
        }
    }

    /// Reads a form or a JSON object, bounded in size and time. No body is an empty form.
    async fn read_body<B>(&self, parts: &Parts, body: B) -> Result<Params, Error>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let bytes = self.collect(body).await?;
        if bytes.is_empty() {
            return Ok(Params::default());
        }
        match content_type(&parts.headers).as_str() {
            "application/json" => Params::from_json(&bytes),
            "application/x-www-form-urlencoded" => Params::from_urlencoded(&bytes),
            _ => Err(Error::UnsupportedMediaType),
        }
    }

    /// Reads a JSON object whose keys come once each. No body is an empty object.
    async fn read_json<B>(&self, parts: &Parts, body: B) -> Result<Map<String, Value>, Error>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let bytes = self.collect(body).await?;
        if bytes.is_empty() {
            return Ok(Map::new());
        }
        if content_type(&parts.headers) != "application/json" {
            return Err(Error::JsonWanted);
        }
        json::object(&bytes).map_err(Error::BadRequest)
    }

    async fn collect<B>(&self, body: B) -> Result<Bytes, Error>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let settings = &self.shared.gateway.settings;
        let limit = settings.max_body_bytes;
        let body = Limited::new(body, limit);
        match timeout(settings.header_timeout, body.collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge(limit)),
            Ok(Err(_)) => Err(Error::BadRequest("the body was cut off".to_owned())),
            Err(_) => Err(Error::BodyTimeout),
        }
    }

    fn ready(
        &self,
        parts: &Parts,
        answer: Answer,
        id: HeaderValue,
        since: Instant,
        frequent: bool,
    ) -> ResponseFuture {
        ResponseFuture(State::Ready(Some(
            self.finish(parts, answer, id, since, frequent),
        )))
    }

    /// Names and logs an answer.
    fn finish(
        &self,
        parts: &Parts,
        mut answer: Answer,
        id: HeaderValue,
        since: Instant,
        frequent: bool,
    ) -> Answer {
        let line = (&parts.method, &parts.uri);
        access_log::log(
            id.to_str().unwrap_or_default(),
            line,
            answer.status(),
            since,
            frequent,
        );
        let headers = answer.headers_mut();
        headers.insert(REQUEST_ID, id);
        // Else a client finds its connection closed in the middle of its next request. HTTP/2 has no such header.
        if self.shared.status.is_draining() && parts.version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// The media type of a body, in lower case and without parameters.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next();
    essence.unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_frequent(route: Route) -> bool {
    matches!(
        route,
        Route::UserInfo
            | Route::Auth
            | Route::AuthBelow
            | Route::Health
            | Route::Ready
            | Route::CheckUp
            | Route::Metrics
    )
}

impl<B> tower_service::Service<Request<B>> for GatewayService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
        self.handle(request, peer)
    }
}

/// The answer to come.
pub struct ResponseFuture(State);

enum State {
    Ready(Option<Answer>),
    Pending(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            // Polled again after it was done: there is nothing to come.
            State::Ready(answer) => answer
                .take()
                .map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            State::Pending(future) => future.as_mut().poll(context).map(Ok),
        }
    }
}

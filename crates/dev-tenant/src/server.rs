//! The listener: connections, time-outs, body limit, clean end.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::dev_routes::problem;
use crate::message::{Request, Response};
use crate::router::{Outcome, Routes};

/// Time for a TLS handshake, for a request's head, and for its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time for requests under way when the tenant ends.
const GRACE: Duration = Duration::from_secs(1);
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of a body that is too long is read all the same: a client that still sends
/// does not look for an answer.
const DRAINED_BYTES: usize = 16 << 20;

/// A running listener; dropping it ends everything at once.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        routes: Arc<Routes>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, tls, routes, stopped));
        Self {
            stop: Some(stop),
            task,
        }
    }

    /// Stops listening, lets requests under way finish for a moment, closes the rest.
    pub(crate) async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only when the task has ended by itself.
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }

    /// Stops listening and cuts every connection.
    pub(crate) async fn abort(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Arc<Routes>,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    // Aborts what is left when it is dropped.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close some.
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, routes, watcher) = (tls.clone(), Arc::clone(&routes), graceful.watcher());
        connections.spawn(async move {
            // A client that waits for small answers gains; nothing is lost if it fails.
            let _ = stream.set_nodelay(true);
            match tls {
                None => serve(stream, peer, routes, watcher).await,
                Some(tls) => {
                    if let Some(stream) = handshake(&tls, stream).await {
                        serve(stream, peer, routes, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    routes: Arc<Routes>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, peer.ip(), Arc::clone(&routes)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // Ends with an error when a fault cuts it or the client goes away: both are normal.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

type Body = BoxBody<Bytes, io::Error>;

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut by a fault")]
struct CutByFault;

async fn answer(
    request: hyper::Request<Incoming>,
    peer: IpAddr,
    routes: Arc<Routes>,
) -> Result<hyper::Response<Body>, CutByFault> {
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let path = head.uri.path().to_owned();
    let outcome = match whole_body(body, &path).await {
        Ok(body) => {
            let request = Request {
                method: head.method,
                path: path.clone(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                headers: head.headers,
                body,
                peer,
                id: String::new(),
                more: Vec::new(),
                fails_job: false,
                forgeries: Vec::new(),
            };
            routes.answer(request).await
        }
        Err(refused) => Outcome::Answer(refused),
    };
    let response = match outcome {
        Outcome::Answer(response) => response.map(whole),
        Outcome::Truncated(response) => truncated(response),
        Outcome::Cut => {
            tracing::debug!(%method, path, "cut by a fault");
            return Err(CutByFault);
        }
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    Ok(response)
}

async fn whole_body(body: Incoming, path: &str) -> Result<Bytes, Response> {
    match tokio::time::timeout(PATIENCE, read(body)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) if path.starts_with("/api/v2/") => {
            Err(crate::management::jobs::too_long().response())
        }
        Ok(Ok(None)) => Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is longer than 1 MiB.",
        )),
        Ok(Err(_)) => Err(problem(
            StatusCode::BAD_REQUEST,
            "The body could not be read.",
        )),
        Err(_) => Err(problem(
            StatusCode::REQUEST_TIMEOUT,
            "The body took too long.",
        )),
    }
}

/// The body; none when it is too long.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let (mut kept, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len();
            if length > DRAINED_BYTES {
                break;
            }
            if length <= MAX_BODY_BYTES {
                kept.extend_from_slice(&data);
            }
        }
    }
    Ok((length <= MAX_BODY_BYTES).then(|| kept.freeze()))
}

fn whole(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// Announces the whole body and sends half of it.
fn truncated(response: Response) -> hyper::Response<Body> {
    let (mut head, body) = response.into_parts();
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let sent = futures_util::stream::once(async { Ok(Frame::data(half)) });
    let broken = futures_util::stream::once(async {
        // Without a pause the head and the half would be thrown away with the rest.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other("truncated by a fault"))
    });
    let body = StreamBody::new(sent.chain(broken));
    hyper::Response::from_parts(head, BoxBody::new(body))
}

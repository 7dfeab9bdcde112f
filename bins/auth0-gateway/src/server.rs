//! Accepts connections and serves them, until it is told to stop.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_core::config::Settings;
use gateway_core::http::GatewayService;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::paced::Paced;

/// Largest head of a request, in bytes: cookies of 4 kB each, and a few forgotten ones.
const MAX_HEAD: usize = 64 * 1024;
/// Most connections at a time on one listener.
const MAX_CONNECTIONS: usize = 20_000;
/// Pause after a failed accept: descriptors may be used up, and a tight loop would not free any.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Limits of the connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    header_timeout: Duration,
    /// How long load balancers get to notice before the listeners close.
    delay: Duration,
    /// How long answers under way get to finish when the server stops, and how long a peer may take
    /// nothing of its answer.
    grace: Duration,
}

impl From<&Settings> for Limits {
    fn from(settings: &Settings) -> Self {
        Self {
            header_timeout: settings.header_timeout,
            delay: settings.delay_shutdown,
            grace: settings.request_timeout,
        }
    }
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// After the delay.
    Delayed,
    /// Without it.
    AtOnce,
}

/// Answers requests.
pub(crate) trait Handler: Clone + Send + 'static {
    /// The body of an answer.
    type Body: hyper::body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;
    /// The answer to come.
    type Future: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static;

    /// Answers one request of a peer.
    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Self::Future;
}

impl Handler for GatewayService {
    type Body = gateway_core::http::Body;
    type Future = gateway_core::http::ResponseFuture;

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Self::Future {
        Self::handle(self, request, Some(peer))
    }
}

/// Serves until `shutdown`, then drains: `/-/ready` turns, the delay passes, the listeners close, answers
/// under way finish.
pub(crate) async fn run<H: Handler>(
    listeners: Vec<(TcpListener, H)>,
    limits: Limits,
    shutdown: impl Future<Output = Shutdown>,
    drain: impl FnOnce(),
) {
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    for (listener, service) in listeners {
        serving.spawn(accept(listener, service, limits, stopped.clone()));
    }
    let how = shutdown.await;
    tracing::info!("stopping");
    drain();
    if how == Shutdown::Delayed {
        tokio::time::sleep(limits.delay).await;
    }
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
}

async fn accept<H: Handler>(
    listener: TcpListener,
    service: H,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Room first: connections beyond the limit wait in the kernel's queue.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, peer, service.clone(), limits));
        tokio::spawn(async move {
            let _permit = permit;
            // A peer that breaks off or talks nonsense is no event of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection was broken off");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some connections were cut off");
    }
}

fn connection<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    service: H,
    limits: Limits,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // Answers are small and awaited: no waiting for more to send. A failure costs speed alone.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(
            TokioIo::new(Paced::new(stream, limits.grace)),
            service_fn(move |request| service.handle(request, peer)),
        )
}

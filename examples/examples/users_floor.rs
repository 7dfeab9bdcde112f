//! The floor that `GET /users` is measured against: a bare hyper server that makes the same call to the
//! tenant with a bare reqwest client, and passes the bytes on.
//!
//! Takes the port, the URL of the call, and an access token for the Management API.

use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(url), Some(token)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("give a port, the URL of the call, and an access token".into());
    };
    let client = reqwest::Client::builder().no_proxy().build()?;
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, url, token) = (client.clone(), url.clone(), token.clone());
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let call = client.get(&url).bearer_auth(&token).send();
                async move {
                    let body = match call.await {
                        Ok(answer) => answer.bytes().await.unwrap_or_default(),
                        Err(_) => Bytes::new(),
                    };
                    let mut answer = Response::new(Full::new(body));
                    let json = http::HeaderValue::from_static("application/json");
                    answer.headers_mut().insert(CONTENT_TYPE, json);
                    Ok::<_, Infallible>(answer)
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

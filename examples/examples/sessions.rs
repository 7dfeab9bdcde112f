//! Sessions in a plain axum service with `sessionkit` alone.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use sessionkit::{
    CookieValue, Credential, Lifetimes, MemoryStore, Presented, SameSite, SessionCookie, Sessions,
    SignIn, SystemClock, Tokens, Verdict,
};

const COOKIE_NAME: SessionCookie = SessionCookie {
    name: "sid",
    same_site: Some(SameSite::Lax),
};

type Shared = Arc<Sessions>;

/// Signs in whoever asks: where passwords are checked is another question.
async fn sign_in(State(sessions): State<Shared>) -> Result<Response, StatusCode> {
    let value = auth0_api::random_urlsafe().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let life = Duration::from_secs(3600);
    let sign_in = SignIn {
        subject: "mia".to_owned(),
        client: "shop".to_owned(),
        credential: Credential::of(value.as_bytes()),
        tokens: Tokens {
            access_token: String::new().into(),
            refresh_token: None,
            id_token: None,
            access_expires_at: sessions.now().after(life),
        },
        identity_provider_session: None,
        data: "hello, mia".into(),
        ip_address: None,
        user_agent: None,
    };
    sessions
        .open(sign_in)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let line = COOKIE_NAME
        .set(&value, life)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(SET_COOKIE, line)], "signed in").into_response())
}

async fn hello(State(sessions): State<Shared>, headers: HeaderMap) -> Result<String, StatusCode> {
    match verdict(&sessions, &headers).await? {
        Verdict::Live(session) => Ok(String::from_utf8_lossy(session.data()).into_owned()),
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

async fn sign_out(
    State(sessions): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    if let Verdict::Live(session) = verdict(&sessions, &headers).await? {
        sessions
            .end(&session)
            .await
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    }
    Ok(([(SET_COOKIE, COOKIE_NAME.clear())], "signed out").into_response())
}

async fn verdict(sessions: &Sessions, headers: &HeaderMap) -> Result<Verdict, StatusCode> {
    let cookies = headers
        .get_all(COOKIE)
        .into_iter()
        .map(|value| value.as_bytes());
    match CookieValue::find(cookies, COOKIE_NAME.name) {
        CookieValue::One(value) => sessions
            .check(&Credential::of(value), Presented::Cookie)
            .await
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE),
        CookieValue::Absent => Ok(Verdict::Unknown),
        CookieValue::Repeated => Err(StatusCode::BAD_REQUEST),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = Sessions::new(
        Arc::new(MemoryStore::new()),
        Arc::new(SystemClock),
        Lifetimes::default(),
    );
    let app = Router::new()
        .route("/", get(hello))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .with_state(Arc::new(sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let http = reqwest::Client::builder().no_proxy().build()?;
    let answer = http.post(format!("{url}/sign-in")).send().await?;
    let line = answer
        .headers()
        .get(SET_COOKIE)
        .ok_or("no cookie")?
        .to_str()?
        .to_owned();
    let cookie = line.split(';').next().unwrap_or_default().to_owned();
    let mut statuses = Vec::new();
    for request in [
        http.get(&url),
        http.get(&url).header(COOKIE, &cookie),
        http.post(format!("{url}/sign-out")).header(COOKIE, &cookie),
        http.get(&url).header(COOKIE, &cookie),
    ] {
        statuses.push(request.send().await?.status().as_u16());
    }
    println!("stranger, mia, sign-out, afterwards: {statuses:?}");
    if statuses != [401, 200, 200, 401] {
        return Err("not as expected".into());
    }
    Ok(())
}

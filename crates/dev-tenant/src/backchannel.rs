//! Sends logout tokens (OpenID Connect Back-Channel Logout 1.0).

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::forge::sign_forged;
use crate::jwt::Claims;
use crate::secret::random_text;
use crate::seed::Application;
use crate::sessions::SsoSession;
use crate::tenant::Tenant;

/// Path under which faults hit the tokens sent here.
pub(crate) const FAULT_PATH: &str = "/backchannel-logout";
/// Life of a logout token in seconds.
const LIFETIME: i64 = 120;
/// Deliveries that are remembered.
const KEPT: usize = 1000;

/// How one logout token fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackchannelDelivery {
    /// The application.
    pub client_id: String,
    /// Its `backchannel_logout_urls` entry.
    pub url: String,
    /// Whose sessions.
    pub user_id: String,
    /// The session, if one was named.
    pub sid: Option<String>,
    /// The status of the answer; none when there was no answer within 5 s.
    pub status: Option<u16>,
}

/// Tells the applications of a session, without waiting for them.
pub(crate) fn spawn(tenant: &Arc<Tenant>, session: &SsoSession) {
    let (user_id, sid) = (session.user_id.clone(), session.sid.clone());
    let clients = session.clients.clone();
    let tenant = Arc::clone(tenant);
    tokio::spawn(async move {
        let took_part = |app: &Application| clients.contains(&app.client_id);
        send(&tenant, &user_id, Some(&sid), took_part).await;
    });
}

/// Sends one token to every URL of the applications chosen, and returns how they fared.
pub(crate) async fn send(
    tenant: &Tenant,
    user_id: &str,
    sid: Option<&str>,
    chosen: impl Fn(&Application) -> bool,
) -> Vec<BackchannelDelivery> {
    let targets: Vec<(String, String)> = tenant
        .applications()
        .filter(|app| chosen(app))
        .flat_map(|app| {
            let urls = app.backchannel_logout_urls.iter();
            urls.map(|url| (app.client_id.clone(), url.clone()))
        })
        .collect();
    let sent = targets.into_iter().map(|(client_id, url)| async move {
        let status = deliver(tenant, &client_id, &url, user_id, sid).await;
        BackchannelDelivery {
            client_id,
            url,
            user_id: user_id.to_owned(),
            sid: sid.map(str::to_owned),
            status,
        }
    });
    let sent = futures_util::future::join_all(sent).await;
    let mut kept = tenant.deliveries();
    kept.extend(sent.iter().cloned());
    let surplus = kept.len().saturating_sub(KEPT);
    kept.drain(..surplus);
    sent
}

async fn deliver(
    tenant: &Tenant,
    client_id: &str,
    url: &str,
    user_id: &str,
    sid: Option<&str>,
) -> Option<u16> {
    let token = logout_token(tenant, client_id, user_id, sid)?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("logout_token", &token)
        .finish();
    let answer = tenant
        .http()?
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await;
    match answer {
        Ok(answer) => Some(answer.status().as_u16()),
        Err(error) => {
            tracing::warn!(client_id, error = %error.without_url(), "a logout token was not delivered");
            None
        }
    }
}

fn logout_token(
    tenant: &Tenant,
    client_id: &str,
    user_id: &str,
    sid: Option<&str>,
) -> Option<String> {
    let now = tenant.now().unix_timestamp();
    let mut claims = Claims::new();
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    set("iss", json!(tenant.issuer));
    set("sub", json!(user_id));
    set("aud", json!(client_id));
    set("iat", json!(now));
    set("exp", json!(now + LIFETIME));
    set("jti", json!(random_text(16).ok()?));
    set("trace_id", json!(random_text(8).ok()?));
    set(
        "events",
        json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
    );
    if let Some(sid) = sid {
        set("sid", json!(sid));
    }
    let forgeries = tenant.faults().hit("POST", FAULT_PATH, None).forgeries;
    let key = tenant.keys.current().ok()?;
    sign_forged("JWT", claims, &key, &forgeries).ok()
}

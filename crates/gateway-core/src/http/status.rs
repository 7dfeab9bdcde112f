//! `/-/healthz`, `/-/ready`, `/-/check-up`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::respond::{self, Answer};
use crate::Error;
use crate::gateway::Gateway;

/// How long a probe may take. Whoever watches has a time-out of its own, often of a second or two.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer of Auth0 serves: its keys are rate-limited, probes come often.
const REMEMBERED: Duration = Duration::from_secs(5);

/// What can be watched, behind `/-/metrics`.
pub trait Metrics: Send + Sync + std::fmt::Debug {
    /// All of it, in the text format of `OpenMetrics`. No value and no label may name a person.
    fn encode(&self) -> String;
}

/// `/-/metrics`; not there where nothing is watched.
pub(super) fn metrics(gateway: &Gateway) -> Result<Answer, Error> {
    let metrics = gateway.metrics.as_ref().ok_or(Error::NotFound)?;
    let mut answer = respond::json_bytes(StatusCode::OK, metrics.encode());
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    Ok(answer)
}

/// What is known of this process' fitness.
#[derive(Debug, Default)]
pub(super) struct Status {
    draining: AtomicBool,
    auth0: Mutex<Option<(Instant, bool)>>,
}

impl Status {
    /// From now on `/-/ready` says no: the process is about to stop.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn healthz(gateway: &Gateway) -> Answer {
        answer(gateway, true)
    }

    pub(super) async fn ready(&self, gateway: &Gateway) -> Answer {
        let ok = !self.is_draining() && store_answers(gateway).await;
        answer(gateway, ok)
    }

    pub(super) async fn check_up(&self, gateway: &Gateway) -> Answer {
        let ok = store_answers(gateway).await && self.auth0_answers(gateway).await;
        answer(gateway, ok)
    }

    async fn auth0_answers(&self, gateway: &Gateway) -> bool {
        let mut known = self.auth0.lock().await;
        if let Some((at, ok)) = *known
            && at.elapsed() < REMEMBERED
        {
            return ok;
        }
        let mut seen = BTreeSet::new();
        let mut ok = true;
        for client in gateway.clients.by_name.values() {
            let tenant = &client.application.tenant;
            if seen.insert(tenant.issuer()) {
                ok &= matches!(
                    timeout(PATIENCE, gateway.api.key_set(tenant)).await,
                    Ok(Ok(_))
                );
            }
        }
        *known = Some((Instant::now(), ok));
        ok
    }
}

async fn store_answers(gateway: &Gateway) -> bool {
    matches!(
        timeout(PATIENCE, gateway.sessions.store().check()).await,
        Ok(Ok(()))
    )
}

fn answer(gateway: &Gateway, ok: bool) -> Answer {
    let (status, word) = if ok {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "KO")
    };
    let version = &gateway.settings.service_version;
    respond::json(
        status,
        &json!({"name": "auth0-gateway", "status": word, "version": version}),
    )
}

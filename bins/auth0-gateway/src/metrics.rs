//! What can be watched, in the text format of `OpenMetrics`, which Prometheus reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use auth0_api::governor::FamilySnapshot;
use auth0_api::{Governor, management::Lane};
use gateway_core::http::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sessionkit::{EmbeddedStore, RedisStore};

/// The store, as far as it has something to tell.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    Memory,
    Embedded(Arc<EmbeddedStore>),
    Redis(Arc<RedisStore>),
}

/// How many values are sealed with an older key; below zero while that is not known.
pub(crate) type OlderKeys = Arc<AtomicI64>;

/// Everything that is watched, behind the route.
pub(crate) struct Registered(Registry);

impl Registered {
    pub(crate) fn new(
        store: Watched,
        older_keys: OlderKeys,
        tenants: Vec<(String, Governor)>,
    ) -> Self {
        let mut registry = Registry::with_prefix("auth0_gateway");
        registry.register_collector(Box::new(Stores { store, older_keys }));
        registry.register_collector(Box::new(RateLimits(tenants)));
        Self(registry)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl Metrics for Registered {
    fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a text cannot fail.
        let _ = text::encode(&mut out, &self.0);
        out
    }
}

/// Writes one value.
fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    let encoder = out.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    let encoder = out.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

#[derive(Debug)]
struct Stores {
    store: Watched,
    older_keys: OlderKeys,
}

impl Collector for Stores {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let older = self.older_keys.load(Ordering::Relaxed);
        if older >= 0 {
            let help = "Values sealed with a key that is not the newest; at zero the older keys are safe to drop";
            gauge(out, "store_sealed_with_older_keys", help, older)?;
        }
        match &self.store {
            Watched::Memory => Ok(()),
            Watched::Embedded(store) => {
                let status = store.status();
                let sessions = i64::try_from(status.sessions).unwrap_or(i64::MAX);
                gauge(out, "store_sessions", "Sessions in the file", sessions)?;
                counter(out, "store_writes", "Writes since the start", status.writes)?;
                counter(
                    out,
                    "store_commits",
                    "Waits for the disk since the start",
                    status.commits,
                )?;
                counter(
                    out,
                    "store_failures",
                    "Commits that the disk refused",
                    status.failures,
                )?;
                let failing = i64::from(status.failing);
                gauge(out, "store_failing", "1 while the disk refuses", failing)
            }
            Watched::Redis(store) => {
                let status = store.status();
                let cache = status.near_cache;
                counter(
                    out,
                    "redis_connections",
                    "Connections made since the start",
                    status.connections,
                )?;
                let help = "Answers that belonged to another question";
                counter(out, "redis_mismatches", help, status.mismatches)?;
                let on = i64::from(cache.on);
                gauge(out, "near_cache_on", "1 while the near cache is in use", on)?;
                let sessions = i64::try_from(cache.sessions).unwrap_or(i64::MAX);
                gauge(
                    out,
                    "near_cache_sessions",
                    "Sessions in the near cache",
                    sessions,
                )?;
                counter(out, "near_cache_hits", "Checks it answered", cache.hits)?;
                counter(
                    out,
                    "near_cache_misses",
                    "Checks it could not answer",
                    cache.misses,
                )?;
                let help = "Sessions that Redis said have changed";
                counter(out, "near_cache_invalidations", help, cache.invalidations)?;
                let oldest = i64::try_from(cache.oldest.as_millis()).unwrap_or(i64::MAX);
                gauge(
                    out,
                    "near_cache_oldest_milliseconds",
                    "Age of the oldest session in it",
                    oldest,
                )
            }
        }
    }
}

/// Auth0's rate limits, by tenant and API.
#[derive(Debug)]
struct RateLimits(Vec<(String, Governor)>);

impl Collector for RateLimits {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let mut rows: Vec<(&str, &str, FamilySnapshot)> = Vec::new();
        for (tenant, governor) in &self.0 {
            let snapshot = governor.snapshot();
            rows.push((tenant, "authentication", snapshot.authentication));
            rows.push((tenant, "management", snapshot.management));
        }
        self.family(
            &mut out,
            "auth0_rate_limit",
            "Size of the bucket",
            &rows,
            |s| s.limit,
        )?;
        self.family(
            &mut out,
            "auth0_rate_remaining",
            "Calls that may be made at once",
            &rows,
            |s| s.remaining,
        )?;
        let help = "Calls that wait for the rate limit";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut encoder = out.encode_descriptor("auth0_calls_waiting", help, None, kind)?;
        for (tenant, api, snapshot) in &rows {
            for (lane, waiting) in Lane::ALL.iter().zip(snapshot.waiting) {
                let lane = match lane {
                    Lane::Login => "login",
                    Lane::Refresh => "refresh",
                    Lane::Admin => "admin",
                    Lane::Import => "import",
                };
                let labels = [("tenant", *tenant), ("api", *api), ("lane", lane)];
                let value = ConstGauge::new(i64::try_from(waiting).unwrap_or(i64::MAX));
                value.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl RateLimits {
    fn family(
        &self,
        out: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        rows: &[(&str, &str, FamilySnapshot)],
        value: impl Fn(&FamilySnapshot) -> Option<u32>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut encoder = out.encode_descriptor(name, help, None, kind)?;
        for (tenant, api, snapshot) in rows {
            if let Some(value) = value(snapshot) {
                let labels = [("tenant", *tenant), ("api", *api)];
                ConstGauge::new(i64::from(value)).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

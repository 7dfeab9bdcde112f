//! How one tenant listens and how long its tokens live.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything about a tenant that is not its content ([`Seed`](crate::Seed)).
///
/// ```
/// use dev_tenant::TenantSettings;
/// use std::time::Duration;
///
/// let settings = TenantSettings {
///     access_token_lifetime: Duration::from_secs(2),
///     ..TenantSettings::default()
/// };
/// assert!(!settings.https);
/// ```
#[derive(Clone, Debug)]
pub struct TenantSettings {
    /// Where to listen; default `127.0.0.1:0` (a free port). A fixed port can be bound
    /// again at once after a shutdown.
    pub listen: SocketAddr,
    /// Serve TLS with a certificate made at the start for `localhost`, `127.0.0.1`,
    /// `::1` and the host of `domain`; default false.
    pub https: bool,
    /// Host, with port where needed, to use in the issuer and in discovery instead of
    /// the address; default none.
    pub domain: Option<String>,
    /// Life of an access token for an API that sets none of its own; default 86 400 s.
    pub access_token_lifetime: Duration,
    /// Life of an ID token; default 36 000 s.
    pub id_token_lifetime: Duration,
    /// Refresh token rotation and lifetimes.
    pub refresh: RefreshTokenSettings,
    /// Real limits answered with 429; default none (the `x-ratelimit-*` headers are
    /// there all the same).
    pub rate_limits: Option<RateLimits>,
    /// Failed logins of one identifier from one address after which they are blocked
    /// with 429 `too_many_attempts`; default none. Auth0's own default is 10.
    pub brute_force_attempts: Option<u32>,
    /// How far the index behind `GET /api/v2/users` lags behind the users themselves, on
    /// the tenant's clock; default zero. Whatever a seed holds is there from the start,
    /// and reads by id and by e-mail are never late.
    pub search_lag: Duration,
    /// How long jobs take, in real time; default 50 ms.
    pub import_job_duration: Duration,
    /// Longest path and query of a Management API call, in bytes, before it is 414;
    /// default 8192.
    pub max_uri_bytes: usize,
    /// Whether a logout sends logout tokens to the applications of the session;
    /// default true.
    pub backchannel_logout: bool,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            https: false,
            domain: None,
            access_token_lifetime: Duration::from_secs(86_400),
            id_token_lifetime: Duration::from_secs(36_000),
            refresh: RefreshTokenSettings::default(),
            rate_limits: None,
            brute_force_attempts: None,
            search_lag: Duration::ZERO,
            import_job_duration: Duration::from_millis(50),
            max_uri_bytes: 8192,
            backchannel_logout: true,
        }
    }
}

/// Auth0's `refresh_token` settings of an application, here for the whole tenant.
#[derive(Clone, Debug)]
pub struct RefreshTokenSettings {
    /// Each exchange gives a new token and spends the old one; default true.
    pub rotation: bool,
    /// Time during which the immediately previous token may be exchanged again
    /// ("Rotation Overlap Period"); default zero.
    pub leeway: Duration,
    /// Life from the first issue, never extended by rotation; default 30 days.
    pub absolute_lifetime: Duration,
    /// Life without an exchange; default 15 days.
    pub idle_lifetime: Duration,
}

impl Default for RefreshTokenSettings {
    fn default() -> Self {
        Self {
            rotation: true,
            leeway: Duration::ZERO,
            absolute_lifetime: Duration::from_secs(2_592_000),
            idle_lifetime: Duration::from_secs(1_296_000),
        }
    }
}

/// Token buckets. They fill smoothly: two a second is one every half second.
#[derive(Clone, Debug)]
pub struct RateLimits {
    /// `/oauth/token`, for the whole tenant.
    pub token: Bucket,
    /// `/userinfo`, for each user.
    pub userinfo: Bucket,
    /// `/dbconnections/change_password`, for each address and e-mail.
    pub change_password: Bucket,
    /// The whole Management API, for the whole tenant.
    pub management: Bucket,
    /// One bucket for the whole tenant, Authentication and Management API together, in
    /// addition to the others; default none. Documents under `/.well-known/` do not
    /// count.
    pub global: Option<Bucket>,
    /// Whether a 429 carries `Retry-After`. Auth0 is not known to send it on ordinary
    /// 429s, so the default is false.
    pub retry_after: bool,
}

impl Default for RateLimits {
    /// The limits of Auth0's free plan.
    fn default() -> Self {
        Self {
            token: Bucket {
                burst: 30,
                per_minute: 1800,
            },
            userinfo: Bucket {
                burst: 10,
                per_minute: 5,
            },
            change_password: Bucket {
                burst: 10,
                per_minute: 1,
            },
            management: Bucket {
                burst: 2,
                per_minute: 120,
            },
            global: None,
            retry_after: false,
        }
    }
}

/// One token bucket: how much at once, and how fast it fills again.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests that come back in a minute.
    pub per_minute: u32,
}

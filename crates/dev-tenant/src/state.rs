//! Everything that changes while the tenant runs, behind one lock.

use time::OffsetDateTime;

use crate::expiring::Expiring;
use crate::grant::{Grant, Scope};
use crate::jobs::Jobs;
use crate::limits::{Buckets, Failures};
use crate::pkce::Challenge;
use crate::refresh::RefreshTokens;
use crate::seed::{Connection, SeedUser};
use crate::sessions::SsoSessions;
use crate::settings::TenantSettings;
use crate::users::{Directory, User};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) users: Directory,
    pub(crate) sessions: SsoSessions,
    pub(crate) logins: Expiring<Login>,
    pub(crate) codes: Expiring<Code>,
    pub(crate) refresh: RefreshTokens,
    pub(crate) opaque: Expiring<OpaqueToken>,
    pub(crate) challenges: Expiring<MfaChallenge>,
    pub(crate) failures: Failures,
    pub(crate) buckets: Buckets,
    pub(crate) jobs: Jobs,
    /// Jobs by the links to their files.
    pub(crate) downloads: Expiring<String>,
}

impl State {
    pub(crate) fn new(
        users: Vec<SeedUser>,
        connections: &[Connection],
        settings: &TenantSettings,
        now: OffsetDateTime,
    ) -> Self {
        let mut directory = Directory::new(settings.search_lag);
        for user in users {
            let mut connections = connections.iter();
            let home = connections.find(|connection| connection.name == user.connection);
            let in_database = home.is_none_or(Connection::is_database);
            directory.add(User::from_seed(user, in_database, now), now);
        }
        directory.catch_up();
        Self {
            users: directory,
            sessions: SsoSessions::default(),
            logins: Expiring::default(),
            codes: Expiring::default(),
            refresh: RefreshTokens::new(settings.refresh.clone()),
            opaque: Expiring::default(),
            challenges: Expiring::default(),
            failures: Failures::default(),
            buckets: Buckets::default(),
            jobs: Jobs::default(),
            downloads: Expiring::default(),
        }
    }
}

/// A login under way, from `/authorize` to the callback.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    /// Where the answer goes.
    pub(crate) callback: String,
    /// `redirect_uri` as it was sent, if it was.
    pub(crate) redirect_uri: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) scope: Scope,
    pub(crate) audience: Option<String>,
    pub(crate) organization: Option<String>,
    /// The connection asked for, or none: any of the application's.
    pub(crate) connection: Option<String>,
    pub(crate) login_hint: Option<String>,
    /// `max_age` or `prompt=login` was asked for.
    pub(crate) wants_auth_time: bool,
    /// Who has given the password and still owes the second factor.
    pub(crate) second_factor_of: Option<String>,
    /// Wrong one-time passwords so far.
    pub(crate) wrong_otps: u32,
}

/// An authorization code that has been issued.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) grant: Grant,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    /// `redirect_uri` as it was sent to `/authorize`, if it was.
    pub(crate) redirect_uri: Option<String>,
    /// Where the code went.
    pub(crate) callback: String,
}

/// An access token that is only good for `/userinfo`.
#[derive(Debug)]
pub(crate) struct OpaqueToken {
    pub(crate) user_id: String,
    pub(crate) scope: Scope,
}

/// A password login that waits for its second factor.
#[derive(Debug)]
pub(crate) struct MfaChallenge {
    pub(crate) grant: Grant,
    pub(crate) wrong_otps: u32,
}

/// One-time passwords that may be tried.
pub(crate) const OTP_TRIES: u32 = 10;

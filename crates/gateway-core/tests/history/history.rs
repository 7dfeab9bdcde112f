//! What happened: what the clients saw, and what the store and the tenant did.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sessionkit::{Credential, Presented, Session, SessionId};

/// A whole history. Times are milliseconds since its beginning.
#[derive(Default)]
pub struct History {
    /// For people.
    pub lines: Vec<(u64, String)>,
    pub ops: BTreeMap<u32, Op>,
    pub sessions: Vec<SessionRecord>,
    pub by_id: BTreeMap<SessionId, usize>,
    pub families: BTreeMap<String, Family>,
    pub sends: Vec<Sent>,
    pub revocations: Vec<(u64, String)>,
    /// Instants at which something was made to fail or to take long.
    pub faults: Vec<u64>,
    pub crashes: Vec<(u64, String)>,
    pub blocks: Vec<(u64, String)>,
    /// What was seen to be wrong while it happened.
    pub wrong: Vec<(u64, String)>,
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Op {
    pub what: What,
    pub replica: String,
    pub invoked: u64,
    pub answered: u64,
    pub answer: Answer,
}

#[derive(Clone, Debug)]
pub enum What {
    SignIn {
        user: String,
        /// The cookie that the browser had.
        instead_of: Option<Shown>,
    },
    Check(Shown),
    Refresh {
        shown: Shown,
        refresh_token: Option<String>,
    },
    SignOut(Shown),
    EndAll {
        user: String,
    },
    EndOne {
        session: usize,
    },
    Active,
}

/// A credential as a client shows it.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub session: usize,
    pub credential: Credential,
    pub presented: Presented,
    /// As a bearer: expiry by what the gateway said.
    pub expires: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None yet: the client is still waiting.
    None,
    /// The connection broke.
    Broken,
    /// Status, and who it is about: subject and family. Or, of a list, its body.
    Status(u16, Option<(String, String)>),
}

impl Answer {
    pub fn status(&self) -> u16 {
        match self {
            Self::Status(status, _) => *status,
            Self::None | Self::Broken => 0,
        }
    }
}

/// A session as the store has had it.
#[derive(Debug)]
pub struct SessionRecord {
    pub user: String,
    pub family: String,
    pub id: SessionId,
    /// The sign-in that made it.
    pub origin: Option<u32>,
    pub created: u64,
    pub credentials: Vec<CredentialRecord>,
    pub version: u64,
    pub generation: u32,
    /// Refresh tokens: since when, which.
    pub refresh_tokens: Vec<(u64, String)>,
    /// Since when its absolute life counts from when (the replica's clock).
    pub bases: Vec<(u64, i64)>,
    pub ended: Option<End>,
    pub leases: Vec<LeaseRecord>,
    /// Calls about it that failed: when the answer was due, whose, which.
    pub failures: Vec<(u64, String, &'static str)>,
    /// All values that it has had.
    pub versions: Vec<Arc<Session>>,
}

#[derive(Debug)]
pub struct CredentialRecord {
    pub credential: Credential,
    /// When it was replaced: as it happened, and by the replica's clock.
    pub replaced: Option<(u64, i64)>,
}

#[derive(Clone, Debug)]
pub struct End {
    pub at: u64,
    pub replica: String,
    pub origin: Option<u32>,
}

#[derive(Debug)]
pub struct LeaseRecord {
    pub fence: u64,
    pub replica: String,
    pub granted: u64,
    /// By the holder's clock.
    pub until: i64,
    pub released: Option<u64>,
}

/// A sign-in's refresh tokens at the tenant.
#[derive(Debug)]
pub struct Family {
    pub user: String,
    /// Number of the refresh token that is good.
    pub current: u32,
    pub dead: Option<(u64, &'static str)>,
}

/// A refresh token on its way to the tenant.
#[derive(Debug)]
pub struct Sent {
    pub at: u64,
    pub replica: String,
    pub token: String,
    pub session: Option<usize>,
    pub fence: Option<u64>,
    /// What the caller heard, and when.
    pub fate: Option<(u64, Fate)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No answer, 5xx or 429: the session is to stay.
    Failed,
    Refused,
    /// The refresh token that came.
    Bought(String),
}

impl SessionRecord {
    pub fn label(&self) -> String {
        format!("{}/{}", self.user, self.family)
    }

    pub fn refresh_token(&self) -> &str {
        self.refresh_tokens.last().map_or("", |(_, token)| token)
    }
}

impl History {
    pub fn label(&self, id: SessionId) -> String {
        self.by_id
            .get(&id)
            .map_or_else(|| "?".to_owned(), |at| self.sessions[*at].label())
    }

    /// The latest session that this credential has ever opened.
    pub fn opened_by(&self, credential: &Credential) -> Option<usize> {
        self.sessions.iter().rposition(|session| {
            session
                .credentials
                .iter()
                .any(|known| known.credential == *credential)
        })
    }

    pub fn wrong(&mut self, at: u64, what: String) {
        self.lines.push((at, format!("WRONG: {what}")));
        self.wrong.push((at, what));
    }

    /// The history as text, in order. What happened in the same millisecond is ordered by its text.
    pub fn tell(&self) -> String {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort();
        let mut text = String::new();
        for (at, line) in lines {
            writeln!(text, "{:>10.3} {line}", at_seconds(*at)).unwrap();
        }
        text
    }
}

fn at_seconds(at: u64) -> f64 {
    std::time::Duration::from_millis(at).as_secs_f64()
}

//! Judges a history by what its clients saw and what the relay saw of its sessions.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Book, Fault, History, Trouble};
use crate::gateway::Said;
use crate::kill::judge_sendings;

/// Until another replica than the one that acknowledged an end has heard of it: Redis has told it by then,
/// but the process may have been kept from reading it.
pub(super) const HEARD: Duration = Duration::from_secs(1);
/// A lease lasts 15 seconds, and between taking it and sending the token Redis may have stood still.
const LEASE_AT_LEAST: Duration = Duration::from_secs(10);
/// How many replaced values are remembered.
const MAX_PREVIOUS: usize = 8;
/// What had waited for Redis may fail so much later.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Whoever waits for the lease of a dead holder, or for two of them, is told to come again after so long.
const WAITED: Duration = Duration::from_secs(10);
/// For so long after a fault somebody may begin to wait for a lease that it has left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(20);

/// One request, and what came of it.
pub(super) struct Record {
    pub(super) begun: Instant,
    pub(super) answered: Instant,
    pub(super) url: String,
    pub(super) what: What,
    /// `None`: the answer was lost with the replica.
    pub(super) said: Option<Said>,
    /// Whom the profile is about.
    pub(super) subject: Option<String>,
}

/// Sessions are given by number, and a value by its place among those of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    SignIn { person: usize },
    Check { session: usize, value: usize },
    Refresh { session: usize, value: usize },
    SignOut { session: usize, value: usize },
    EndOne { session: usize },
    EndAll { person: usize },
    List { person: usize },
    Active,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SignIn { .. } => "sign-in",
            Self::Check { .. } => "check",
            Self::Refresh { .. } => "refresh",
            Self::SignOut { .. } => "sign-out",
            Self::EndOne { .. } => "end one",
            Self::EndAll { .. } => "end all",
            Self::List { .. } => "list",
            Self::Active => "active",
        }
    }

    fn person(self) -> Option<usize> {
        match self {
            Self::SignIn { person } | Self::EndAll { person } | Self::List { person } => {
                Some(person)
            }
            _ => None,
        }
    }

    /// The session that it shows a value of.
    fn shows(self) -> Option<(usize, usize)> {
        match self {
            Self::Check { session, value }
            | Self::Refresh { session, value }
            | Self::SignOut { session, value } => Some((session, value)),
            _ => None,
        }
    }
}

impl Record {
    pub(super) fn status(&self) -> u16 {
        self.said.map_or(0, |said| said.status)
    }
}

/// What is known about the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Live,
    Ended,
    /// An end was asked for, or its refresh token is spent; nobody was told what came of it.
    Doubtful,
}

/// What a history came to.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    /// The longest times at which a replica let a session in after its end was acknowledged, and after
    /// somebody was told of it.
    pub(super) stale: [Duration; 2],
}

/// How the session stands, as far as its clients can tell.
pub(super) fn state(history: &History, book: &Book, session: usize) -> State {
    if !evidence(book, session).is_empty() {
        return State::Ended;
    }
    let family = &book.sessions[session].family;
    let doomed = sendings(history, family).is_ok_and(|doomed| !doomed.is_empty());
    let asked = book
        .records
        .iter()
        .any(|record| may_end(book, record, session));
    if doomed || asked {
        State::Doubtful
    } else {
        State::Live
    }
}

fn sendings(history: &History, family: &str) -> Result<HashSet<String>, String> {
    let exchanges = history.world.relay.exchanges_of(family);
    let kills: Vec<Instant> = history.world.kills().iter().map(|(_, at)| *at).collect();
    judge_sendings(&exchanges, &kills, LEASE_AT_LEAST)
}

fn may_end(book: &Book, record: &Record, session: usize) -> bool {
    match record.what {
        What::SignOut { session: one, .. } | What::EndOne { session: one } => one == session,
        What::EndAll { person } => {
            let of = &book.sessions[session];
            person == of.person && of.begun < record.answered
        }
        _ => false,
    }
}

/// Somebody was told that a session is over.
pub(super) struct Evidence<'a> {
    pub(super) at: Instant,
    url: &'a str,
    /// They had asked for that.
    acknowledged: bool,
}

/// Who was told that a session is over.
pub(super) fn evidence(book: &Book, session: usize) -> Vec<Evidence<'_>> {
    let born = book.sessions[session].born;
    let told = |record: &&Record| match record.what {
        What::SignOut { session: one, .. } => one == session && record.status() == 302,
        What::EndOne { session: one } => one == session && matches!(record.status(), 204 | 404),
        What::EndAll { person } => {
            person == book.sessions[session].person
                && record.status() == 200
                && born <= record.begun
        }
        What::Check { session: one, .. } | What::Refresh { session: one, .. } => {
            one == session && record.status() == 401 && excuse(book, record).is_none()
        }
        _ => false,
    };
    let told = book.records.iter().filter(told);
    told.map(|record| Evidence {
        at: record.answered,
        url: &record.url,
        acknowledged: !matches!(record.status(), 401 | 404),
    })
    .collect()
}

/// Why a value may not have opened a session that nobody has ended.
fn excuse(book: &Book, record: &Record) -> Option<&'static str> {
    let (session, place) = record.what.shows()?;
    let value = &book.sessions[session].values[place];
    let is_check = matches!(record.what, What::Check { .. });
    if is_check && value.short {
        return Some("the access token has run out");
    }
    // Refreshes that may have replaced it by then, but for the one that brought it.
    let later = book.records.iter().filter(|other| {
        matches!(other.what, What::Refresh { session: one, .. } if one == session)
            && other.begun != value.begun
            && other.begun != record.begun
            && other.begun < record.answered
            && (other.said.is_none_or(Said::is_busy) || other.answered > value.begun)
    });
    let later = later.count();
    if later > MAX_PREVIOUS {
        return Some("replaced by many");
    }
    let by_token = matches!(record.what, What::Refresh { .. }) && value.held.bearer;
    (by_token && later >= 2).then_some("the refresh token was replaced twice")
}

/// All that is wrong with a history.
pub(super) fn judge(history: &History, book: &Book) -> Verdict {
    let mut verdict = Verdict::default();
    let mut concerned = HashSet::new();
    for session in 0..book.sessions.len() {
        let before = verdict.wrong.len();
        judge_session(history, book, session, &mut verdict);
        if verdict.wrong.len() > before {
            concerned.insert(session);
        }
    }
    for (number, record) in book.records.iter().enumerate() {
        if let Some(why) = odd(history, record) {
            verdict.wrong.push(format!("#{number}: {why}"));
            concerned.extend(record.what.shows().map(|(session, _)| session));
            let of_person = |at: &usize| record.what.person() == Some(book.sessions[*at].person);
            concerned.extend((0..book.sessions.len()).filter(of_person));
        }
    }
    for (sessions, what) in &book.wrong {
        verdict.wrong.push(what.clone());
        concerned.extend(sessions);
    }
    for session in concerned {
        verdict.wrong.push(tell(history, book, session));
    }
    verdict
}

fn judge_session(history: &History, book: &Book, session: usize, verdict: &mut Verdict) {
    let of = &book.sessions[session];
    let ended = evidence(book, session);
    let doomed = match sendings(history, &of.family) {
        Ok(doomed) => !doomed.is_empty(),
        Err(why) => {
            let what = format!("session {session}: its refresh token was {why}");
            verdict.wrong.push(what);
            true
        }
    };
    let mut wrong = |number: usize, what: &str| {
        let what = format!("#{number}: session {session} {what}");
        verdict.wrong.push(what);
    };
    for (number, record) in book.records.iter().enumerate() {
        match (record.what, record.status()) {
            (
                What::Check {
                    session: one,
                    value,
                },
                200,
            ) if one == session => {
                for told in ended.iter().filter(|told| told.at < record.begun) {
                    let stale = &mut verdict.stale[usize::from(!told.acknowledged)];
                    *stale = record.begun.duration_since(told.at).max(*stale);
                }
                // Whoever has said it knows it.
                let known = ended.iter().find(|told| {
                    let same = told.url == record.url;
                    record.begun > told.at + if same { Duration::ZERO } else { HEARD }
                });
                if let Some(told) = known {
                    let before = record.begun - told.at;
                    let what = format!(
                        "had ended at {} {before:?} before, and was let in",
                        told.url
                    );
                    wrong(number, &what);
                }
                if of.bearer && of.values[value].short {
                    wrong(number, "was opened by a run-out bearer");
                }
                let person = &history.people[of.person].id;
                if record.subject.as_ref() != Some(person) {
                    wrong(number, &format!("got the profile of {:?}", record.subject));
                }
            }
            // This asks Redis.
            (What::Refresh { session: one, .. }, 200)
                if one == session && ended.iter().any(|told| told.at < record.begun) =>
            {
                wrong(number, "had ended, and was refreshed");
            }
            (What::Check { session: one, .. } | What::Refresh { session: one, .. }, 401)
            | (What::EndOne { session: one }, 404)
                if one == session =>
            {
                let caused = doomed
                    || book.records.iter().any(|cause| {
                        may_end(book, cause, session)
                            && cause.begun < record.answered
                            && cause.begun != record.begun
                    });
                if !caused && excuse(book, record).is_none() {
                    wrong(number, "is alive, and was kept out");
                }
            }
            _ => {}
        }
    }
}

/// Answers that no state of a session explains.
fn odd(history: &History, record: &Record) -> Option<String> {
    let Some(said) = record.said else {
        let killed = history.world.kills();
        let killed = killed
            .iter()
            .any(|(url, at)| *url == record.url && *at <= record.answered);
        return (!killed).then(|| "no answer of a replica that was not killed".to_owned());
    };
    if said.is_busy() {
        let troubles = history.world.troubles();
        let explained = troubles.iter().any(|trouble| trouble.explains(record));
        return (!explained).then(|| "503, although all was well".to_owned());
    }
    let may: &[u16] = match record.what {
        What::SignIn { .. } | What::EndAll { .. } | What::List { .. } | What::Active => &[200],
        What::Check { .. } => &[200, 401],
        // By cookie there is no body.
        What::Refresh { .. } => &[200, 401],
        What::SignOut { .. } => &[302],
        What::EndOne { .. } => &[204, 404],
    };
    (!may.contains(&said.status)).then(|| format!("{:?} got {}", record.what, said.status))
}

impl Trouble {
    fn explains(&self, record: &Record) -> bool {
        let overlaps = |more: Duration| {
            self.from <= record.answered && self.to.is_none_or(|to| record.begun <= to + more)
        };
        let waited = record.answered - record.begun >= WAITED;
        match self.fault {
            Fault::None | Fault::SlowTenant => false,
            Fault::Kill => waited && overlaps(LEFT_BEHIND),
            Fault::Disconnect | Fault::Stop | Fault::Pause => {
                overlaps(AFTERMATH) || (waited && overlaps(LEFT_BEHIND))
            }
        }
    }
}

/// All that concerns one session, for people.
fn tell(history: &History, book: &Book, session: usize) -> String {
    let of = &book.sessions[session];
    let since = history.since;
    let at = |instant: Instant| instant.saturating_duration_since(since).as_secs_f64();
    let kind = if of.bearer { "bearer" } else { "cookie" };
    let mut text = format!(
        "history {}, {:?}: session {session}, {kind}, of {}",
        history.number, history.fault, history.people[of.person].id
    );
    for trouble in history.world.troubles() {
        if trouble.to.is_none_or(|to| to >= since) {
            let to = trouble.to.map(at);
            let _ = write!(
                text,
                "\n{:9.4} {:?} until {to:?}",
                at(trouble.from),
                trouble.fault
            );
        }
    }
    let mut lines = BTreeMap::new();
    for (number, record) in book.records.iter().enumerate() {
        let concerns = record.what.shows().is_some_and(|(one, _)| one == session)
            || may_end(book, record, session)
            || record.what == (What::SignIn { person: of.person });
        if concerns {
            let line = format!(
                "{:9.4} to {:9.4} #{number} {:?} at {}: {:?} {}",
                at(record.begun),
                at(record.answered),
                record.what,
                record.url,
                record.said.map(|said| said.status),
                excuse(book, record).unwrap_or_default(),
            );
            lines.insert((record.begun, number), line);
        }
    }
    for (number, exchange) in history
        .world
        .relay
        .exchanges_of(&of.family)
        .iter()
        .enumerate()
    {
        let end: String = exchange.token.chars().rev().take(6).collect();
        let line = format!(
            "{:9.4} exchange of ...{end}, rotated: {}",
            at(exchange.at),
            exchange.rotated
        );
        lines.insert((exchange.at, usize::MAX - number), line);
    }
    for line in lines.into_values() {
        let _ = write!(text, "\n{line}");
    }
    text
}

//! Judges a history. The rules are in the head of `main.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use sessionkit::{Lifetimes, Presented};

use crate::driver::Plan;
use crate::history::{Answer, Fate, History, Op, Sent, SessionRecord, Shown, What};

/// Clocks are off by half a second to either side, and times are kept in whole seconds.
const TOLERANCE: i64 = 2_500;
/// An access token within this much of its expiry counts as run out.
const REFRESH_BEFORE: i64 = 10_000;
/// How many replaced credentials are remembered.
const MAX_PREVIOUS: usize = 8;
/// The longest that a fault can be felt: a call of 25 s to the tenant, 10 s of trying to store what it
/// brought, a lease that runs out after 15 s, and somebody who waits for all of that.
const FELT: u64 = 100_000;
/// For how long new tokens are offered to a store that fails, less the last way there and back.
const STORE_PATIENCE: u64 = 10_000 - 100;

struct Judge<'a> {
    history: &'a History,
    lifetimes: Lifetimes,
    found: Vec<String>,
}

/// All that is wrong with a history.
pub fn check(plan: &Plan, history: &History) -> Vec<String> {
    let mut judge = Judge {
        history,
        lifetimes: plan.lifetimes,
        found: history
            .wrong
            .iter()
            .map(|(at, what)| format!("{at} ms: {what}"))
            .collect(),
    };
    for (number, op) in &history.ops {
        judge.op(*number, op);
    }
    judge.sends();
    judge.ends();
    judge.revocations();
    judge.found
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

fn signed(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX / 4)
}

/// For how long a session has lived, at most and at least.
struct Life {
    /// Until here it is alive for certain.
    surely: i64,
    /// From here on it is over for certain.
    at_most: i64,
}

impl Judge<'_> {
    fn wrong(&mut self, what: String) {
        self.found.push(what);
    }

    fn op(&mut self, number: u32, op: &Op) {
        let Answer::Status(status, about) = &op.answer else {
            if op.answer == Answer::None {
                self.wrong(format!("#{number} was never answered"));
            }
            return;
        };
        if matches!(status, 429 | 502..=504) {
            let since = op.invoked.saturating_sub(FELT);
            let excused = self
                .history
                .faults
                .iter()
                .any(|at| (since..=op.answered).contains(at));
            if !excused {
                self.wrong(format!("#{number} got {status}, although all was well"));
            }
            return;
        }
        match &op.what {
            What::SignIn { user, .. } => self.sign_in(number, op, user, *status),
            What::Check(shown) => match status {
                200 => self.let_in(number, op, shown, about.as_ref()),
                401 => self.kept_out(number, op, shown, None),
                _ => self.wrong(format!("#{number} got {status}")),
            },
            What::Refresh {
                shown,
                refresh_token,
            } => match status {
                200 => self.let_in(number, op, shown, about.as_ref()),
                401 => self.kept_out(number, op, shown, refresh_token.as_deref()),
                _ => self.wrong(format!("#{number} got {status}")),
            },
            What::SignOut(shown) => {
                let record = &self.history.sessions[shown.session];
                // A value that has been replaced may have opened nothing any more.
                let opens = self.excuse(op, shown, false).is_none();
                match status {
                    302 if opens && !ended_by(record, op.answered) => {
                        self.wrong(format!("#{number} signed out, and the session is there"));
                    }
                    302 => {}
                    _ => self.wrong(format!("#{number} got {status}")),
                }
            }
            What::EndAll { user } => {
                let left: Vec<_> = self
                    .history
                    .sessions
                    .iter()
                    .filter(|record| record.user == *user && record.created < op.invoked)
                    .filter(|record| !ended_by(record, op.answered))
                    .filter(|record| self.life(record, op).surely > signed(op.answered))
                    .map(SessionRecord::label)
                    .collect();
                if *status != 200 || !left.is_empty() {
                    self.wrong(format!("#{number} got {status}, and left {left:?}"));
                }
            }
            What::EndOne { session } => {
                let record = &self.history.sessions[*session];
                let over = ended_by(record, op.answered)
                    || self.life(record, op).surely <= signed(op.answered);
                if !matches!(status, 204 | 404) || !over {
                    self.wrong(format!("#{number} got {status}, and the session is there"));
                }
            }
            What::Active => self.active(number, op, about.as_ref().map(|(body, _)| &**body)),
        }
    }

    fn sign_in(&mut self, number: u32, op: &Op, user: &str, status: u16) {
        let blocked = self
            .history
            .blocks
            .iter()
            .any(|(at, name)| name == user && *at <= op.answered);
        match status {
            200 => {}
            403 if blocked => {}
            // A refresh makes two equal access tokens differ, and is refused.
            401 if blocked => {}
            _ => self.wrong(format!("#{number} got {status}")),
        }
    }

    /// The session of this family, if the same value opens it. Without a claim of its own, an access token
    /// of one person's is the same for two sessions, one of which ended when the other began in the same
    /// second.
    fn same_value(&self, shown: &Shown, family: &str) -> Option<usize> {
        let opens = |record: &SessionRecord| {
            record
                .credentials
                .iter()
                .any(|known| known.credential == shown.credential)
        };
        self.history
            .sessions
            .iter()
            .position(|record| record.family == family && opens(record))
    }

    /// A credential was good. The answer must be about its session, which must not have been over before
    /// the request was made.
    fn let_in(&mut self, number: u32, op: &Op, shown: &Shown, about: Option<&(String, String)>) {
        let mut shown = *shown;
        let record = &self.history.sessions[shown.session];
        let right = about.is_some_and(|(subject, family)| {
            let answered = self.same_value(&shown, family);
            shown.session = answered.unwrap_or(shown.session);
            *subject == record.user && answered.is_some()
        });
        if !right {
            let label = record.label();
            self.wrong(format!("#{number}: {label} got the answer of {about:?}"));
        }
        let record = &self.history.sessions[shown.session];
        let label = record.label();
        let asked = signed(op.invoked);
        if let Some(end) = &record.ended
            && end.at < op.invoked
        {
            self.wrong(format!("#{number}: {label} had ended, and was let in"));
        }
        if let Some(end) = self.acknowledged_end(shown.session, op.invoked) {
            self.wrong(format!(
                "#{number}: {label} was ended by #{end}, and was let in"
            ));
        }
        if asked > self.life(record, op).at_most {
            self.wrong(format!("#{number}: {label} had expired, and was let in"));
        }
        let is_check = matches!(op.what, What::Check(_));
        if is_check && shown.presented == Presented::Bearer && asked > shown.expires {
            self.wrong(format!("#{number}: a run-out bearer of {label} was let in"));
        }
        let known = record
            .credentials
            .iter()
            .find(|known| known.credential == shown.credential);
        match known {
            None => self.wrong(format!("#{number}: {label} was opened by another's value")),
            Some(known) => {
                let grace = millis(self.lifetimes.grace) + TOLERANCE;
                if known.replaced.is_some_and(|(_, at)| at + grace < asked) {
                    self.wrong(format!(
                        "#{number}: {label} was opened by a value replaced long ago"
                    ));
                }
            }
        }
    }

    /// The request that ended a session and was answered before `at`.
    fn acknowledged_end(&self, session: usize, at: u64) -> Option<u32> {
        let record = &self.history.sessions[session];
        let ends = |op: &Op| match &op.what {
            // What it names was current then, or it might have ended nothing.
            What::SignOut(shown) => {
                op.answer.status() == 302
                    && shown.session == session
                    && self.excuse(op, shown, false).is_none()
            }
            What::EndAll { user } => {
                op.answer.status() == 200 && *user == record.user && record.created < op.invoked
            }
            What::EndOne { session: ended } => op.answer.status() == 204 && *ended == session,
            _ => false,
        };
        self.history
            .ops
            .iter()
            .find(|(_, op)| op.answered < at && ends(op))
            .map(|(number, _)| *number)
    }

    /// A credential was no good. There must be a reason.
    fn kept_out(&mut self, number: u32, op: &Op, shown: &Shown, refresh_token: Option<&str>) {
        let record = &self.history.sessions[shown.session];
        let is_check = matches!(op.what, What::Check(_));
        if ended_by(record, op.answered) || self.excuse(op, shown, is_check).is_some() {
            return;
        }
        // A refresh token that was replaced long ago, or twice.
        if let Some(token) = refresh_token
            && let Some(place) = record
                .refresh_tokens
                .iter()
                .position(|(_, known)| known == token)
        {
            let mut later = record.refresh_tokens[place + 1..].iter();
            let grace = millis(self.lifetimes.grace) - TOLERANCE;
            let replaced = later.next().map(|(at, _)| signed(*at) + grace);
            let twice = later.next().map(|(at, _)| signed(*at));
            let answered = signed(op.answered);
            if replaced.is_some_and(|at| at <= answered) || twice.is_some_and(|at| at <= answered) {
                return;
            }
        }
        let label = record.label();
        self.wrong(format!("#{number}: {label} is alive, and was kept out"));
    }

    /// Why a session that nobody ended may not have been opened by this value.
    fn excuse(&self, op: &Op, shown: &Shown, is_check: bool) -> Option<&'static str> {
        let record = &self.history.sessions[shown.session];
        let answered = signed(op.answered);
        if answered >= self.life(record, op).surely {
            return Some("expired");
        }
        if is_check
            && shown.presented == Presented::Bearer
            && answered >= shown.expires - REFRESH_BEFORE - TOLERANCE
        {
            return Some("the access token has run out");
        }
        let place = record
            .credentials
            .iter()
            .rposition(|known| known.credential == shown.credential)?;
        let grace = millis(self.lifetimes.grace) - TOLERANCE;
        if let Some((_, at)) = record.credentials[place].replaced
            && answered >= at + grace
        {
            return Some("replaced");
        }
        let later = record.credentials[place..]
            .iter()
            .filter(|known| known.replaced.is_some_and(|(at, _)| at <= op.answered));
        (later.count() > MAX_PREVIOUS).then_some("replaced by many")
    }

    /// How long a session lives, as far as it can be told at the time of a request.
    fn life(&self, record: &SessionRecord, op: &Op) -> Life {
        let absolute = millis(self.lifetimes.absolute);
        let base = |by: u64| {
            let before = record.bases.iter().rev().find(|(at, _)| *at <= by);
            before.map_or(signed(record.created), |(_, base)| *base)
        };
        let mut life = Life {
            surely: base(op.invoked) + absolute - TOLERANCE,
            at_most: base(op.answered) + absolute + TOLERANCE,
        };
        if let Some(idle) = self.lifetimes.idle {
            let idle = millis(idle);
            let (mut surely, mut at_most) = (base(op.invoked), base(op.answered));
            for (other, touched) in self.uses(record, op) {
                if touched {
                    surely = surely.max(signed(other.invoked));
                }
                at_most = at_most.max(signed(other.answered.min(op.invoked)));
            }
            // A use is noted once in a twentieth of the limit, and one note may be overtaken by a write.
            life.surely = life.surely.min(surely + idle - idle / 10 - TOLERANCE);
            life.at_most = life.at_most.min(at_most + idle + TOLERANCE);
        }
        life
    }

    /// Requests made before this one that may have, or certainly have, used a session.
    fn uses<'a>(
        &'a self,
        record: &'a SessionRecord,
        op: &'a Op,
    ) -> impl Iterator<Item = (&'a Op, bool)> {
        self.history.ops.values().filter_map(move |other| {
            let (What::Check(shown) | What::Refresh { shown, .. } | What::SignOut(shown)) =
                &other.what
            else {
                return None;
            };
            let same = self.history.sessions[shown.session].id == record.id;
            let touched = other.answer.status() == 200 && other.answered <= op.invoked;
            (same && other.invoked < op.invoked).then_some((other, touched))
        })
    }

    /// The list of active users, at a quiet point.
    fn active(&mut self, number: u32, op: &Op, body: Option<&str>) {
        let mut wanted = BTreeMap::new();
        for record in &self.history.sessions {
            if record.created > op.invoked {
                continue;
            }
            let life = self.life(record, op);
            let known: &mut (bool, bool) = wanted.entry(record.user.as_str()).or_default();
            if !ended_by(record, op.answered) {
                known.0 |= life.surely > signed(op.answered);
                known.1 |= life.at_most > signed(op.invoked);
            }
        }
        let body = body.unwrap_or_default();
        let listed: Vec<serde_json::Value> = serde_json::from_str(body).unwrap_or_default();
        let listed: Vec<_> = listed
            .iter()
            .map(|user| user["userId"].as_str().unwrap_or_default())
            .collect();
        if op.answer.status() != 200 || !listed.is_sorted_by(|one, other| one < other) {
            self.wrong(format!("#{number} got {}: {body}", op.answer.status()));
        }
        for (user, (surely, perhaps)) in wanted {
            let is_listed = listed.contains(&user);
            if (surely && !is_listed) || (is_listed && !perhaps) {
                self.wrong(format!("#{number}: {user} is listed: {is_listed}"));
            }
        }
    }

    /// No refresh token goes out twice, but for a reason.
    fn sends(&mut self) {
        let mut by_token: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
        for send in &self.history.sends {
            if let Some(session) = send.session
                && send.fence.is_none()
            {
                let label = self.history.sessions[session].label();
                self.wrong(format!(
                    "{label}: {} was sent without a lease at {} ms",
                    send.token, send.at
                ));
            }
            by_token.entry(&send.token).or_default().push(send);
        }
        for sends in by_token.into_values() {
            for (at, later) in sends.iter().enumerate() {
                for earlier in &sends[..at] {
                    if let Err(why) = self.may_follow(earlier, later) {
                        self.wrong(format!(
                            "{} was sent at {} ms and again at {} ms: {why}",
                            later.token, earlier.at, later.at
                        ));
                    }
                }
            }
        }
    }

    /// May a refresh token be sent once more?
    fn may_follow(&self, earlier: &Sent, later: &Sent) -> Result<(), &'static str> {
        let (Some(session), Some(first), Some(second)) =
            (later.session, earlier.fence, later.fence)
        else {
            return Err("not under leases");
        };
        let record = &self.history.sessions[session];
        if first >= second {
            return Err("under one lease");
        }
        let lease = |fence: u64| record.leases.iter().find(|lease| lease.fence == fence);
        let (Some(held), Some(taken)) = (lease(first), lease(second)) else {
            return Err("under leases that nobody granted");
        };
        let heard = earlier.fate.as_ref().filter(|(at, _)| *at <= later.at);
        if let Some((_, Fate::Bought(token))) = heard
            && record
                .refresh_tokens
                .iter()
                .any(|(at, known)| known == token && *at <= later.at)
        {
            return Err("its successor was stored");
        }
        // Calls about this session that failed the first sender, from an instant on.
        let failed = |since: u64| {
            record.failures.iter().filter(move |(at, replica, _)| {
                *replica == earlier.replica && (since..=later.at).contains(at)
            })
        };
        let crashed = self
            .history
            .crashes
            .iter()
            .any(|(at, replica)| *replica == earlier.replica && *at <= taken.granted);
        if held.released.is_some_and(|at| at <= taken.granted) {
            // Given back: the holder knew what it did.
            return match heard {
                Some((_, Fate::Failed)) => Ok(()),
                Some((at, Fate::Refused)) if failed(*at).next().is_some() => Ok(()),
                Some((_, Fate::Refused)) => Err("it was refused, and the session did not end"),
                Some((at, Fate::Bought(_)))
                    if failed(*at)
                        .filter(|(_, _, kind)| *kind == "swap")
                        .any(|(failed, _, _)| failed - at >= STORE_PATIENCE) =>
                {
                    Ok(())
                }
                Some((_, Fate::Bought(_))) => Err("what it had bought was thrown away"),
                None => Err("the lease was given back during the call"),
            };
        }
        // Run out: the holder had died, or the store had failed it.
        if crashed || failed(held.granted).next().is_some() {
            Ok(())
        } else {
            Err("the lease was not kept")
        }
    }

    /// A session ends because somebody wanted it, or because the tenant refused its refresh token.
    fn ends(&mut self) {
        for (at, record) in self.history.sessions.iter().enumerate() {
            let Some(end) = &record.ended else { continue };
            // Two sessions of one person may have had the same bytes.
            let named = |shown: &Shown| {
                shown.session == at
                    || record
                        .credentials
                        .iter()
                        .any(|known| known.credential == shown.credential)
            };
            let wanted = match end.origin.map(|number| &self.history.ops[&number].what) {
                Some(What::SignIn { instead_of, .. }) => instead_of.as_ref().is_some_and(named),
                Some(What::SignOut(shown)) => named(shown),
                Some(What::EndAll { user }) => *user == record.user,
                Some(What::EndOne { session }) => *session == at,
                Some(_) => false,
                None => self.history.sends.iter().any(|send| {
                    send.replica == end.replica
                        && send.token == record.refresh_token()
                        && matches!(&send.fate, Some((at, Fate::Refused)) if *at <= end.at)
                }),
            };
            if !wanted {
                let line = format!("{} ended at {} ms for no reason", record.label(), end.at);
                self.found.push(line);
            }
        }
    }

    /// Nobody's refresh tokens are revoked while the session lives.
    fn revocations(&mut self) {
        for (at, family) in &self.history.revocations {
            for record in &self.history.sessions {
                // A sign-in that failed gives its tokens back, although the store may have the session.
                let signed_in = record
                    .origin
                    .is_some_and(|origin| self.history.ops[&origin].answer.status() == 200);
                let op = Op {
                    what: What::Active,
                    replica: String::new(),
                    invoked: *at,
                    answered: *at,
                    answer: Answer::None,
                };
                if record.family == *family
                    && record.created <= *at
                    && !ended_by(record, *at)
                    && signed_in
                    && self.life(record, &op).surely > signed(*at)
                {
                    let line = format!("{} was revoked at {at} ms, alive", record.label());
                    self.found.push(line);
                }
            }
        }
    }
}

fn ended_by(record: &SessionRecord, at: u64) -> bool {
    record.ended.as_ref().is_some_and(|end| end.at <= at)
}

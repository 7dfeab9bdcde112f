//! Refresh tokens: rotation, re-use detection, lifetimes and the cap. Pure: the caller
//! brings `now`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::later;
use crate::grant::Grant;
use crate::secret::sha256_hex;
use crate::settings::RefreshTokenSettings;

/// Live refresh tokens that one user may have for one application; the oldest goes
/// silently when another one is made.
const CAP: usize = 200;

/// Why a refresh token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dead {
    /// Never seen, revoked, expired, or another application's.
    Unknown,
    /// Spent before: its whole family is dead from now on.
    Reused,
}

/// A refresh token as administrators see it: the same one before and after a rotation.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) id: &'a str,
    pub(crate) grant: &'a Grant,
    pub(crate) rotating: bool,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) idle_until: OffsetDateTime,
    pub(crate) last_exchanged_at: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct Family {
    /// For administrators; tells nothing about the token.
    id: String,
    grant: Grant,
    created_at: OffsetDateTime,
    last_exchanged_at: Option<OffsetDateTime>,
    /// Fixed at the first issue; rotation does not extend it.
    expires_at: OffsetDateTime,
    revoked: bool,
}

#[derive(Debug)]
struct Token {
    family: u64,
    /// The token whose exchange gave this one.
    parent: Option<u64>,
    idle_until: OffsetDateTime,
    spent_at: Option<OffsetDateTime>,
    /// A token got from this one has been exchanged itself, so this one is no longer
    /// the immediately previous one.
    superseded: bool,
}

/// All refresh tokens of the tenant.
#[derive(Debug)]
pub(crate) struct RefreshTokens {
    settings: RefreshTokenSettings,
    next: u64,
    by_text: HashMap<String, u64>,
    tokens: HashMap<u64, Token>,
    families: HashMap<u64, Family>,
    /// Unspent tokens by user and application, oldest first.
    live: HashMap<(String, String), BTreeSet<u64>>,
    reuses: u64,
}

impl RefreshTokens {
    pub(crate) fn new(settings: RefreshTokenSettings) -> Self {
        Self {
            settings,
            next: 0,
            by_text: HashMap::new(),
            tokens: HashMap::new(),
            families: HashMap::new(),
            live: HashMap::new(),
            reuses: 0,
        }
    }

    pub(crate) fn rotation(&self) -> bool {
        self.settings.rotation
    }

    /// How often a spent token was presented outside the leeway.
    pub(crate) fn reuses(&self) -> u64 {
        self.reuses
    }

    /// Starts a family with its first token.
    pub(crate) fn issue(&mut self, text: String, grant: Grant, now: OffsetDateTime) {
        let family = self.fresh();
        self.families.insert(
            family,
            Family {
                id: sha256_hex(text.as_bytes()).chars().take(24).collect(),
                grant,
                created_at: now,
                last_exchanged_at: None,
                expires_at: later(now, self.settings.absolute_lifetime),
                revoked: false,
            },
        );
        self.add(text, family, None, now);
    }

    /// The grant behind a token that `client_id` may exchange now. Presenting a spent
    /// token outside the leeway kills the family.
    pub(crate) fn check(
        &mut self,
        text: &str,
        client_id: &str,
        now: OffsetDateTime,
    ) -> Result<Grant, Dead> {
        let &id = self.by_text.get(text).ok_or(Dead::Unknown)?;
        let token = self.tokens.get(&id).ok_or(Dead::Unknown)?;
        let family = self.families.get_mut(&token.family).ok_or(Dead::Unknown)?;
        if family.grant.client_id != client_id || family.revoked {
            return Err(Dead::Unknown);
        }
        if let Some(spent_at) = token.spent_at {
            let in_leeway = self.settings.leeway > Duration::ZERO
                && now <= later(spent_at, self.settings.leeway);
            if token.superseded || !in_leeway {
                family.revoked = true;
                let (family_id, grant) = (token.family, family.grant.clone());
                self.reuses += 1;
                self.drop_live(family_id, &grant);
                return Err(Dead::Reused);
            }
        }
        if now >= family.expires_at || now >= token.idle_until {
            return Err(Dead::Unknown);
        }
        Ok(family.grant.clone())
    }

    /// When the family of a token was started.
    pub(crate) fn issued_at(&self, text: &str) -> Option<OffsetDateTime> {
        let token = self.tokens.get(self.by_text.get(text)?)?;
        self.families
            .get(&token.family)
            .map(|family| family.created_at)
    }

    /// Exchanges a token that [`check`](Self::check) has accepted: with rotation it is
    /// spent and `successor` takes its place.
    pub(crate) fn exchange(&mut self, text: &str, successor: Option<String>, now: OffsetDateTime) {
        let Some(&id) = self.by_text.get(text) else {
            return;
        };
        let idle_until = later(now, self.settings.idle_lifetime);
        let Some(token) = self.tokens.get_mut(&id) else {
            return;
        };
        if let Some(family) = self.families.get_mut(&token.family) {
            family.last_exchanged_at = Some(now);
        }
        let (family, parent) = (token.family, token.parent);
        let Some(successor) = successor else {
            token.idle_until = idle_until;
            return;
        };
        token.spent_at.get_or_insert(now);
        if let Some(parent) = parent.and_then(|parent| self.tokens.get_mut(&parent)) {
            parent.superseded = true;
        }
        if let Some(family) = self.families.get(&family)
            && let Some(live) = self.live.get_mut(&owner(&family.grant))
        {
            live.remove(&id);
        }
        self.add(successor, family, Some(id), now);
    }

    /// Whether the token could be exchanged now without the help of the leeway.
    pub(crate) fn is_live(&self, text: &str, now: OffsetDateTime) -> bool {
        let find = || {
            let token = self.tokens.get(self.by_text.get(text)?)?;
            let family = self.families.get(&token.family)?;
            Some(
                token.spent_at.is_none()
                    && !family.revoked
                    && now < family.expires_at
                    && now < token.idle_until,
            )
        };
        find().unwrap_or(false)
    }

    /// Revokes the token with its family. `Err` when it is another application's.
    pub(crate) fn revoke(&mut self, text: &str, client_id: &str) -> Result<(), ()> {
        let find = || self.tokens.get(self.by_text.get(text)?).map(|t| t.family);
        let Some(family_id) = find() else {
            return Ok(());
        };
        let Some(family) = self.families.get_mut(&family_id) else {
            return Ok(());
        };
        if family.grant.client_id != client_id {
            return Err(());
        }
        family.revoked = true;
        let grant = family.grant.clone();
        self.drop_live(family_id, &grant);
        Ok(())
    }

    /// Every token that could be exchanged now, oldest first.
    pub(crate) fn listed(&self, now: OffsetDateTime) -> impl Iterator<Item = Listed<'_>> {
        let mut ids: Vec<u64> = self.live.values().flatten().copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(move |id| {
            let token = self.tokens.get(&id)?;
            let family = self.families.get(&token.family)?;
            let live = !family.revoked && now < family.expires_at && now < token.idle_until;
            live.then_some(Listed {
                id: &family.id,
                grant: &family.grant,
                rotating: self.settings.rotation,
                created_at: family.created_at,
                expires_at: family.expires_at,
                idle_until: token.idle_until,
                last_exchanged_at: family.last_exchanged_at,
            })
        })
    }

    /// Revokes every family that is chosen by its grant and id.
    pub(crate) fn revoke_where(&mut self, chosen: impl Fn(&Grant, &str) -> bool) {
        let mut revoked = Vec::new();
        for (number, family) in &mut self.families {
            if !family.revoked && chosen(&family.grant, &family.id) {
                family.revoked = true;
                revoked.push((*number, family.grant.clone()));
            }
        }
        for (number, grant) in revoked {
            self.drop_live(number, &grant);
        }
    }

    fn add(&mut self, text: String, family: u64, parent: Option<u64>, now: OffsetDateTime) {
        let id = self.fresh();
        self.by_text.insert(text, id);
        self.tokens.insert(
            id,
            Token {
                family,
                parent,
                idle_until: later(now, self.settings.idle_lifetime),
                spent_at: None,
                superseded: false,
            },
        );
        let Some(grant) = self.families.get(&family).map(|family| &family.grant) else {
            return;
        };
        let live = self.live.entry(owner(grant)).or_default();
        live.insert(id);
        if live.len() > CAP
            && let Some(oldest) = live.pop_first()
        {
            // Unknown from now on: presenting it is no alarm.
            self.tokens.remove(&oldest);
        }
    }

    fn drop_live(&mut self, family: u64, grant: &Grant) {
        let tokens = &self.tokens;
        if let Some(live) = self.live.get_mut(&owner(grant)) {
            live.retain(|id| tokens.get(id).is_some_and(|token| token.family != family));
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn owner(grant: &Grant) -> (String, String) {
    (grant.user_id.clone(), grant.client_id.clone())
}

#[cfg(test)]
mod tests;

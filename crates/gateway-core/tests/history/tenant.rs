//! One tenant for all replicas: refresh tokens rotate, and one that comes again kills its family.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth0_api::keys::KeySet;
use auth0_api::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, ErrorCode, Grant, IdToken,
    RefreshToken, Refusal, Tenant, TokenSet,
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::history::{Family, Fate, History, Sent};
use crate::sim::{EPOCH, ORIGIN, Replica, Sim};

pub const CLIENT_SECRET: &str = "a secret that only a test knows";
/// Life of an access token, in seconds.
pub const ACCESS_SECONDS: u64 = 60;

/// What the replicas share.
pub struct SimTenant {
    /// Access tokens are made of the person and the second alone, as Auth0's own are.
    pub coarse: bool,
    blocked: Mutex<Vec<String>>,
}

impl SimTenant {
    pub fn new(coarse: bool) -> Self {
        Self {
            coarse,
            blocked: Mutex::default(),
        }
    }

    /// Blocks a person, whose refresh tokens are void from now on.
    pub fn block(&self, history: &mut History, at: u64, user: &str) {
        self.blocked.lock().unwrap().push(user.to_owned());
        history.blocks.push((at, user.to_owned()));
        for family in history.families.values_mut() {
            if family.user == user && family.dead.is_none() {
                family.dead = Some((at, "blocked"));
            }
        }
    }

    pub fn unblock(&self) {
        self.blocked.lock().unwrap().clear();
    }

    fn is_blocked(&self, user: &str) -> bool {
        self.blocked.lock().unwrap().iter().any(|name| name == user)
    }
}

/// A replica's way to the tenant.
pub struct TenantClient {
    pub sim: Arc<Sim>,
    pub replica: Arc<Replica>,
    pub tenant: Arc<SimTenant>,
}

impl std::fmt::Debug for TenantClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantClient")
    }
}

/// How a call goes.
enum Way {
    Good,
    Fails(Error),
    Loses,
    /// Given up by the caller, and done after that.
    Late,
}

impl TenantClient {
    /// Sends a message, which arrives or does not, whatever becomes of the caller.
    async fn call<T: Send + 'static>(
        &self,
        name: String,
        act: impl FnOnce(&SimTenant, &mut History, u64) -> (Result<T, Error>, String) + Send + 'static,
    ) -> Result<T, Error> {
        self.replica.alive().await;
        let (sim, replica) = (Arc::clone(&self.sim), Arc::clone(&self.replica));
        let tenant = Arc::clone(&self.tenant);
        let name = format!("{} {name}", replica.name);
        let mut rng = sim.draw(&name);
        let weather = sim.weather();
        let mut latency = weather.tenant_latency + 1;
        if rng.below(1000) < weather.tenant_slow {
            latency = 25_000;
        }
        let before = rng.below(latency);
        let after = rng.below(latency - before);
        if before + after > 5_000 {
            let at = sim.now();
            sim.history().faults.push(at);
        }
        let (roll, which, key) = (rng.below(1000), rng.below(4), rng.next());
        let (arrives, lag) = (rng.one_in(2), rng.below(5_000));
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            sim.turn(before, key).await;
            if replica.has_crashed() && !arrives {
                return;
            }
            let way = way(&sim, roll, which);
            if !matches!(way, Way::Good) {
                let at = sim.now();
                sim.history().faults.push(at);
            }
            let (result, wait) = match way {
                Way::Fails(error) => {
                    sim.note(format!("  tenant {name}: {error}"));
                    sim.turn(after, key).await;
                    let _ = reply.send(Err(error));
                    return;
                }
                Way::Late => {
                    let _ = reply.send(Err(Error::Timeout));
                    sim.note(format!("  tenant {name}: given up by the caller"));
                    sim.turn(lag, key).await;
                    drop(sim.act(&tenant, &name, "too late", act));
                    return;
                }
                Way::Loses => {
                    drop(sim.act(&tenant, &name, "and the answer is lost", act));
                    (Err(Error::Timeout), after)
                }
                Way::Good => (sim.act(&tenant, &name, "", act), after),
            };
            sim.turn(wait, key).await;
            let _ = reply.send(result);
        });
        let answer = answer.await;
        self.replica.alive().await;
        match answer {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    /// Writes down that a refresh token is sent. The number of its line.
    fn sends(&self, token: &str) -> usize {
        let at = self.sim.now();
        let mut history = self.sim.history();
        let family = family_of(token);
        let session = history
            .sessions
            .iter()
            .position(|session| session.family == family);
        let fence = session.and_then(|session| {
            let leases = &history.sessions[session].leases;
            let mine = leases
                .iter()
                .rev()
                .find(|lease| lease.replica == self.replica.name);
            mine.filter(|lease| lease.released.is_none())
                .map(|lease| lease.fence)
        });
        history.sends.push(Sent {
            at,
            replica: self.replica.name.clone(),
            token: token.to_owned(),
            session,
            fence,
            fate: None,
        });
        let line = format!("  {} sends {token}, fence {fence:?}", self.replica.name);
        history.lines.push((at, line));
        history.sends.len() - 1
    }
}

impl Sim {
    fn act<T>(
        &self,
        tenant: &SimTenant,
        name: &str,
        comment: &str,
        act: impl FnOnce(&SimTenant, &mut History, u64) -> (T, String),
    ) -> T {
        let at = self.now();
        let mut history = self.history();
        let (result, word) = act(tenant, &mut history, at);
        history
            .lines
            .push((at, format!("  tenant {name}: {word} {comment}")));
        result
    }
}

fn way(sim: &Sim, roll: u64, which: u64) -> Way {
    let weather = sim.weather();
    let away = || Error::Unavailable {
        status: 503,
        retry_after: None,
    };
    if weather.tenant_down {
        return Way::Fails(away());
    }
    let lost = weather.tenant_fails + weather.tenant_loses;
    if roll < weather.tenant_fails {
        Way::Fails(match which {
            0 => away(),
            1 => Error::Timeout,
            2 => Error::Transport("on purpose".into()),
            _ => Error::RateLimited {
                retry_after: Some(Duration::from_secs(1)),
                refusal: refusal(429, ErrorCode::TooManyRequests),
            },
        })
    } else if roll < lost {
        Way::Loses
    } else if roll < lost + weather.tenant_late {
        Way::Late
    } else {
        Way::Good
    }
}

fn refusal(status: u16, code: ErrorCode) -> Refusal {
    Refusal {
        status,
        code,
        description: Some("on purpose".to_owned()),
        mfa_token: None,
        mfa_requirements: None,
        body: None,
    }
}

fn refused() -> Error {
    Error::Refused(refusal(403, ErrorCode::InvalidGrant))
}

/// Refresh tokens are called `f3.1`, `f3.2` …
fn family_of(token: &str) -> &str {
    token.split('.').next().unwrap()
}

impl SimTenant {
    fn tokens(&self, history: &History, family: &str, at: u64) -> TokenSet {
        let Family { user, current, .. } = &history.families[family];
        let seconds = (EPOCH + i64::try_from(at).unwrap()) / 1000;
        let access_token = if self.coarse {
            format!("access-{user}-{seconds}")
        } else {
            format!("access-{family}.{current}")
        };
        TokenSet {
            access_token: AccessToken::new(access_token),
            id_token: Some(IdToken::new(id_token(user, family, seconds))),
            refresh_token: Some(RefreshToken::new(format!("{family}.{current}"))),
            expires_in: Duration::from_secs(ACCESS_SECONDS),
            scope: None,
        }
    }

    fn sign_in(
        &self,
        history: &mut History,
        at: u64,
        user: &str,
    ) -> (Result<TokenSet, Error>, String) {
        if self.is_blocked(user) {
            return (Err(refused()), "refused".to_owned());
        }
        let name = format!("f{}", history.families.len() + 1);
        let family = Family {
            user: user.to_owned(),
            current: 1,
            dead: None,
        };
        history.families.insert(name.clone(), family);
        let tokens = self.tokens(history, &name, at);
        (Ok(tokens), format!("{name}.1"))
    }

    fn refresh(
        &self,
        history: &mut History,
        at: u64,
        token: &str,
    ) -> (Result<TokenSet, Error>, String) {
        let name = family_of(token);
        let family = history.families.get_mut(name).unwrap();
        if let Some((_, why)) = family.dead {
            return (Err(refused()), format!("refused, {why}"));
        }
        if token != format!("{name}.{}", family.current) {
            family.dead = Some((at, "used again"));
            return (Err(refused()), "refused, used again".to_owned());
        }
        family.current += 1;
        let word = format!("{name}.{}", family.current);
        (Ok(self.tokens(history, name, at)), word)
    }
}

fn id_token(user: &str, family: &str, seconds: i64) -> String {
    let claims = json!({
        "iss": "https://acme.eu.auth0.com/", "aud": "app", "sub": user, "name": family,
        "iat": seconds, "exp": seconds + 36_000,
    });
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[async_trait]
impl AuthenticationApi for TenantClient {
    async fn token(&self, _: &Application, grant: &Grant) -> Result<TokenSet, Error> {
        match grant {
            Grant::Password { username, .. } => {
                let user = username.clone();
                let origin = ORIGIN.try_with(|origin| *origin).unwrap_or_default();
                self.call(
                    format!("#{origin} sign-in of {user}"),
                    move |tenant, history, at| tenant.sign_in(history, at, &user),
                )
                .await
            }
            Grant::RefreshToken { refresh_token, .. } => {
                self.replica.alive().await;
                let token = refresh_token.expose().to_owned();
                let line = self.sends(&token);
                let result = self
                    .call(format!("refresh {token}"), move |tenant, history, at| {
                        tenant.refresh(history, at, &token)
                    })
                    .await;
                let fate = match &result {
                    Ok(tokens) => Fate::Bought(
                        tokens
                            .refresh_token
                            .as_ref()
                            .map_or_else(String::new, |token| token.expose().to_owned()),
                    ),
                    Err(Error::Refused(_)) => Fate::Refused,
                    Err(_) => Fate::Failed,
                };
                let at = self.sim.now();
                self.sim.history().sends[line].fate = Some((at, fate));
                result
            }
            _ => Err(Error::Unexpected("another grant")),
        }
    }

    async fn revoke(&self, _: &Application, token: &RefreshToken) -> Result<(), Error> {
        self.replica.alive().await;
        let family = family_of(token.expose()).to_owned();
        let at = self.sim.now();
        self.sim.history().revocations.push((at, family.clone()));
        let name = format!("revoke {}", token.expose());
        self.call(name, move |_, history, at| {
            let family = history.families.get_mut(&family).unwrap();
            family.dead.get_or_insert((at, "revoked"));
            (Ok(()), "revoked".to_owned())
        })
        .await
    }

    async fn change_password(&self, _: &Application, _: &ChangePassword) -> Result<(), Error> {
        Err(refused())
    }

    async fn user_info(&self, _: &Tenant, _: &AccessToken) -> Result<Map<String, Value>, Error> {
        Err(Error::Timeout)
    }

    async fn key_set(&self, _: &Tenant) -> Result<KeySet, Error> {
        KeySet::from_json(br#"{"keys":[]}"#).map_err(|_| Error::Timeout)
    }
}

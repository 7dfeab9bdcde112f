//! A gateway in front of an Auth0 that a test can bend.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth0_api::keys::KeySet;
use auth0_api::{
    AccessToken, Application, AuthenticationApi, ChangePassword, Error, ErrorCode, Grant, IdToken,
    RefreshToken, Refusal, Tenant, TokenSet, unverified_claims,
};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::config::{Environment, Loaded, load};
use gateway_core::http::{Body, GatewayService};
use gateway_core::{Gateway, Parts};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Map, Value, json};
use sessionkit::testing::TestClock;
use sessionkit::{Clock, Lifetimes, MemoryStore, SessionStore, Sessions};

pub const CLIENT_SECRET: &str = "canary-client-secret";
pub const PASSWORD: &str = "canary-password";

/// Signs ID tokens with the client secret (HS256), so that no keys are needed.
pub struct FakeAuth0 {
    pub clock: Arc<TestClock>,
    pub refreshes: AtomicUsize,
    pub issued: AtomicUsize,
    pub revoked: Mutex<Vec<String>>,
    /// The nonce that the next ID token carries; a test takes it from the authorize URL.
    pub nonce: Mutex<Option<String>>,
    /// Changes the claims of ID tokens.
    pub edit: Mutex<fn(&mut Map<String, Value>)>,
    pub away: Mutex<bool>,
    pub spoil_signature: Mutex<bool>,
    /// People whose refresh is refused.
    pub blocked: Mutex<Vec<String>>,
    live_refresh_token: Mutex<HashMap<String, String>>,
}

impl std::fmt::Debug for FakeAuth0 {
    // Its own secrets are not what a canary test is after.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeAuth0")
    }
}

impl FakeAuth0 {
    fn id_token(&self, subject: &str) -> String {
        let now = self.clock.now().unix_millis() / 1000;
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", json!("https://acme.eu.auth0.com/")),
            ("aud", json!("app")),
            ("sub", json!(subject)),
            ("iat", json!(now)),
            ("exp", json!(now + 36_000)),
            ("name", json!("Zoë")),
            (
                "https://mia-platform.eu/app_metadata",
                json!({"groups": ["users", "a,b"]}),
            ),
        ] {
            claims.insert(name.to_owned(), value);
        }
        if let Some(nonce) = self.nonce.lock().unwrap().clone() {
            claims.insert("nonce".to_owned(), nonce.into());
        }
        (*self.edit.lock().unwrap())(&mut claims);
        self.sign(&Value::Object(claims))
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        let message = format!("{header}.{payload}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
        let mut signature = hmac::sign(&key, message.as_bytes()).as_ref().to_vec();
        if *self.spoil_signature.lock().unwrap() {
            signature[0] ^= 1;
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn tokens(&self, subject: &str) -> TokenSet {
        let number = self.issued.fetch_add(1, Ordering::SeqCst);
        let refresh = format!("canary-refresh-{subject}-{number}");
        self.live_refresh_token
            .lock()
            .unwrap()
            .insert(refresh.clone(), subject.to_owned());
        TokenSet {
            access_token: AccessToken::new(format!("canary-access-{subject}-{number}")),
            id_token: Some(IdToken::new(self.id_token(subject))),
            refresh_token: Some(RefreshToken::new(refresh)),
            expires_in: Duration::from_secs(60),
            scope: None,
        }
    }

    fn refusal(code: ErrorCode, description: &str) -> Error {
        Error::Refused(Refusal {
            status: 403,
            code,
            description: Some(description.to_owned()),
            mfa_token: None,
            mfa_requirements: None,
            body: None,
        })
    }
}

#[async_trait]
impl AuthenticationApi for FakeAuth0 {
    async fn token(&self, _: &Application, grant: &Grant) -> Result<TokenSet, Error> {
        if matches!(grant, Grant::RefreshToken { .. }) {
            self.refreshes.fetch_add(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        if *self.away.lock().unwrap() {
            return Err(Error::Timeout);
        }
        match grant {
            Grant::Password {
                username, password, ..
            } if password.expose() == PASSWORD => Ok(self.tokens(username)),
            Grant::Password { .. } => Err(Self::refusal(
                ErrorCode::InvalidGrant,
                "Wrong email or password.",
            )),
            Grant::AuthorizationCode { code, .. } => Ok(self.tokens(code.expose())),
            Grant::RefreshToken { refresh_token, .. } => {
                let subject = self
                    .live_refresh_token
                    .lock()
                    .unwrap()
                    .remove(refresh_token.expose());
                match subject {
                    Some(subject) if self.blocked.lock().unwrap().contains(&subject) => {
                        Err(Self::refusal(ErrorCode::InvalidGrant, "user is blocked"))
                    }
                    Some(subject) => Ok(self.tokens(&subject)),
                    None => Err(Self::refusal(
                        ErrorCode::InvalidGrant,
                        "Unknown or invalid refresh token.",
                    )),
                }
            }
            _ => Err(Error::Unexpected("another grant")),
        }
    }

    async fn revoke(&self, _: &Application, token: &RefreshToken) -> Result<(), Error> {
        self.live_refresh_token
            .lock()
            .unwrap()
            .remove(token.expose());
        self.revoked.lock().unwrap().push(token.expose().to_owned());
        Ok(())
    }

    async fn change_password(&self, _: &Application, _: &ChangePassword) -> Result<(), Error> {
        Err(Self::refusal(ErrorCode::InvalidRequest, "no such person"))
    }

    async fn user_info(
        &self,
        _: &Tenant,
        token: &AccessToken,
    ) -> Result<Map<String, Value>, Error> {
        unverified_claims(token.expose()).ok_or(Error::Timeout)
    }

    async fn key_set(&self, _: &Tenant) -> Result<KeySet, Error> {
        KeySet::from_json(br#"{"keys":[]}"#).map_err(|_| Error::Timeout)
    }
}

/// Variables and one file, from memory.
pub struct FakeEnvironment {
    pub variables: BTreeMap<&'static str, &'static str>,
    pub config: String,
}

impl Environment for FakeEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn read_file(&self, path: &Path) -> std::io::Result<String> {
        assert_eq!(path, Path::new("./config.json"));
        Ok(self.config.clone())
    }
}

pub struct World {
    pub auth0: Arc<FakeAuth0>,
    pub clock: Arc<TestClock>,
    pub service: GatewayService,
    pub gateway: Arc<Gateway>,
    loaded: Loaded,
    store: Arc<MemoryStore>,
}

/// Clients: `api` keeps tokens itself, `website` has a cookie, `opaque` one of random bits, `strict`
/// brings its own state, `orders`, `stock` and `stock-pages` have an audience, `bound` binds it to the browser.
pub fn world() -> World {
    world_with(&[])
}

/// The same, with variables of the environment.
pub fn world_with(variables: &[(&'static str, &'static str)]) -> World {
    let client = |extra: Value| {
        let mut client = json!({
            "auth0Url": "acme.eu.auth0.com", "clientId": "app", "clientSecret": "{{SECRET}}",
            "redirectUrl": "https://www.example.org/web-login/callback",
            "scopes": ["offline_access", "website"], "supportedSigningAlgs": ["HS256"],
            "allowedRedirectUrls": ["https://app.example.org/done"],
        });
        let (Some(client_map), Value::Object(extra)) = (client.as_object_mut(), extra) else {
            panic!()
        };
        client_map.extend(extra);
        client
    };
    let config = json!({
        "clients": {
            "api": client(json!({"scopes": ["offline_access"]})),
            "website": client(json!({"sameSite": "Lax"})),
            "pages": client(json!({"webLogin": true, "sameSite": "Lax"})),
            "opaque": client(json!({"sessionCookie": "opaque"})),
            "strict": client(json!({"authorizeStateRequired": true})),
            "orders": client(json!({"audience": "https://orders/"})),
            "stock": client(json!({"audience": "https://stock/", "scopes": []})),
            "stock-pages": client(json!({"audience": "https://stock/"})),
            "bound": client(json!({"bindStateToBrowser": true, "logoutMethod": "post"})),
        },
        "defaultClient": "website",
        "customClaimsNamespaces": ["https://mia-platform.eu/app_metadata"],
    });
    let environment = FakeEnvironment {
        variables: [("SECRET", CLIENT_SECRET), ("HTTP_HOST", "127.0.0.1")]
            .into_iter()
            .chain(variables.iter().copied())
            .collect(),
        config: config.to_string(),
    };
    let loaded = load(&environment).unwrap();
    let clock = Arc::new(TestClock::default());
    let auth0 = Arc::new(FakeAuth0 {
        clock: Arc::clone(&clock),
        refreshes: AtomicUsize::new(0),
        issued: AtomicUsize::new(0),
        revoked: Mutex::default(),
        nonce: Mutex::default(),
        edit: Mutex::new(|_| {}),
        away: Mutex::new(false),
        spoil_signature: Mutex::new(false),
        blocked: Mutex::default(),
        live_refresh_token: Mutex::default(),
    });
    let store = Arc::new(MemoryStore::new());
    let sessions = Arc::clone(&store);
    put_together(auth0, clock, loaded, store, sessions)
}

fn put_together(
    auth0: Arc<FakeAuth0>,
    clock: Arc<TestClock>,
    loaded: Loaded,
    store: Arc<MemoryStore>,
    sessions: Arc<dyn SessionStore>,
) -> World {
    let sessions = Arc::new(Sessions::new(
        sessions,
        Arc::clone(&clock) as _,
        Lifetimes::default(),
    ));
    let gateway = Arc::new(Gateway::new(Parts {
        settings: loaded.settings.clone(),
        clients: loaded.clients.clone(),
        api: Arc::clone(&auth0) as _,
        management: None,
        imports: None,
        metrics: None,
        sessions,
        one_time: Arc::clone(&store) as _,
        records: Arc::clone(&store) as _,
    }));
    World {
        auth0,
        clock,
        service: GatewayService::new(Arc::clone(&gateway)).unwrap(),
        gateway,
        loaded,
        store,
    }
}

/// An answer that has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of the `sid` cookie that is set.
    pub fn sid(&self) -> String {
        let line = self.header("set-cookie");
        line.strip_prefix("sid=")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }
}

impl World {
    /// Another replica of it, whose sessions are behind something else.
    pub fn replica(&self, sessions: impl SessionStore + 'static) -> Self {
        put_together(
            Arc::clone(&self.auth0),
            Arc::clone(&self.clock),
            self.loaded.clone(),
            Arc::clone(&self.store),
            Arc::new(sessions),
        )
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "www.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request, body).await
    }

    /// As [`Self::send`], with nothing added.
    pub async fn ask(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request
            .body(Full::<bytes::Bytes>::from(body.to_owned()))
            .unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 4711));
        let answer: Response<Body> = self.service.handle(request, Some(peer)).await.unwrap();
        let (parts, body) = answer.into_parts();
        assert_eq!(parts.headers.get("cache-control").unwrap(), "no-store");
        assert!(parts.headers.contains_key("x-request-id"));
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "").await
    }

    pub async fn form(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [
            headers,
            &[("content-type", "application/x-www-form-urlencoded")],
        ]
        .concat();
        self.send("POST", path, &headers, body).await
    }

    pub async fn sign_in(&self, client: &str, username: &str) -> Answer {
        let body = format!("grant_type=password&username={username}&password={PASSWORD}");
        let answer = self
            .form("/oauth/token", &[("client-type", client)], &body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// Begins a browser sign-in and lets Auth0 know the nonce. Gives the state.
    pub async fn begin(&self, path: &str, client: &str) -> (String, Answer) {
        let answer = self.get(path, &[("client-type", client)]).await;
        assert_eq!(answer.status, 302, "{}", answer.body);
        let url = url::Url::parse(answer.header("location")).unwrap();
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        *self.auth0.nonce.lock().unwrap() = query.get("nonce").cloned();
        (query["state"].clone(), answer)
    }
}

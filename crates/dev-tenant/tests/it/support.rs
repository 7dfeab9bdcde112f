//! A tenant, a browser and an application's back end, over real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use dev_tenant::{DevTenant, Seed, TenantSettings};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use url::Url;

pub(crate) const CLIENT: [(&str, &str); 2] = [
    ("client_id", "dev-website"),
    ("client_secret", "dev-website-secret"),
];
pub(crate) const API: &str = "https://api.example.org/";
pub(crate) const CALLBACK: &str = "http://localhost:8080/web-login/callback";
pub(crate) const MIA: &str = "auth0|64b0c0ffee0000000000a001";

pub(crate) async fn tenant() -> DevTenant {
    tenant_with(TenantSettings::default()).await
}

pub(crate) async fn tenant_with(settings: TenantSettings) -> DevTenant {
    DevTenant::start(settings, Seed::example()).await.unwrap()
}

pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()
        .unwrap()
}

/// One answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .to_str()
            .unwrap()
    }

    /// Status and body in one line, for snapshots.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.text)
    }

    /// Where it redirects to.
    pub(crate) fn location(&self) -> Url {
        assert_eq!(self.status, StatusCode::FOUND, "{}", self.text);
        let location = self.headers[LOCATION].to_str().unwrap();
        Url::parse("http://base.invalid")
            .unwrap()
            .join(location)
            .unwrap()
    }
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

pub(crate) async fn get(tenant: &DevTenant, path: &str) -> Answer {
    let url = format!("{}{path}", tenant.url());
    Answer::of(client().get(url).send().await.unwrap()).await
}

pub(crate) async fn post(tenant: &DevTenant, path: &str, pairs: &[(&str, &str)]) -> Answer {
    try_post(tenant, path, pairs).await.unwrap()
}

/// `Err` when the connection was cut.
pub(crate) async fn try_post(
    tenant: &DevTenant,
    path: &str,
    pairs: &[(&str, &str)],
) -> reqwest::Result<Answer> {
    let response = client()
        .post(format!("{}{path}", tenant.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(pairs))
        .send()
        .await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        text: response.text().await?,
    })
}

pub(crate) async fn post_json(tenant: &DevTenant, path: &str, body: &Value) -> Answer {
    let response = client()
        .post(format!("{}{path}", tenant.url()))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    Answer::of(response).await
}

/// A token call of `dev-website`.
pub(crate) async fn token(tenant: &DevTenant, pairs: &[(&str, &str)]) -> Answer {
    let all: Vec<(&str, &str)> = CLIENT.iter().chain(pairs).copied().collect();
    post(tenant, "/oauth/token", &all).await
}

/// Mia's tokens by the password grant.
pub(crate) async fn password_tokens(
    tenant: &DevTenant,
    scope: &str,
    audience: Option<&str>,
) -> Value {
    let mut pairs = vec![
        ("grant_type", "password"),
        ("username", "mia@example.org"),
        ("password", "Correct-Horse-1"),
        ("scope", scope),
    ];
    pairs.extend(audience.map(|audience| ("audience", audience)));
    let answer = token(tenant, &pairs).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

pub(crate) async fn refresh(tenant: &DevTenant, refresh_token: &str) -> Answer {
    token(
        tenant,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ],
    )
    .await
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no text {name} in {value}"))
        .to_owned()
}

/// Header and claims of a token whose signature a JWT library has checked against the
/// published keys.
pub(crate) async fn verified(tenant: &DevTenant, token: &str) -> jsonwebtoken::TokenData<Value> {
    try_verify(tenant, token).await.unwrap()
}

pub(crate) async fn try_verify(
    tenant: &DevTenant,
    token: &str,
) -> Result<jsonwebtoken::TokenData<Value>, String> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
    let jwks: JwkSet = serde_json::from_value(get(tenant, "/.well-known/jwks.json").await.json())
        .map_err(|error| error.to_string())?;
    let kid = header.kid.ok_or("no kid")?;
    let jwk = jwks.find(&kid).ok_or("unknown kid")?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    jsonwebtoken::decode(token, &key, &validation).map_err(|error| error.to_string())
}

/// Something with cookies that does not follow redirects by itself.
pub(crate) struct Browser<'a> {
    tenant: &'a DevTenant,
    client: Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(tenant: &'a DevTenant) -> Self {
        Self {
            tenant,
            client: client(),
            cookies: BTreeMap::new(),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.tenant.url()));
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.tenant.url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form(pairs));
        self.send(request).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let response = request
            .header(COOKIE, cookies.join("; "))
            .send()
            .await
            .unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer::of(response).await
    }

    /// `/authorize` with these parameters besides the usual ones.
    pub(crate) async fn authorize(&mut self, more: &[(&str, &str)]) -> Answer {
        let usual = [
            ("client_id", "dev-website"),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email offline_access"),
            ("state", "the-state"),
        ];
        let kept = usual
            .iter()
            .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        let pairs: Vec<(&str, &str)> = kept.chain(more).copied().collect();
        self.get(&format!("/authorize?{}", form(&pairs))).await
    }

    /// Fills in the login page that `/authorize` led to.
    pub(crate) async fn log_in(&mut self, page: &Answer, username: &str, password: &str) -> Answer {
        let location = page.location();
        assert_eq!(location.path(), "/u/login");
        let state = parameter(&location, "state").unwrap();
        self.post(
            "/u/login",
            &[
                ("state", &state),
                ("username", username),
                ("password", password),
            ],
        )
        .await
    }

    /// A code of the session that is there.
    pub(crate) async fn code_again(&mut self) -> String {
        let target = self.authorize(&[]).await.location();
        parameter(&target, "code").unwrap()
    }

    /// Signs Mia in and returns the code.
    pub(crate) async fn code(&mut self, more: &[(&str, &str)]) -> String {
        let page = self.authorize(more).await;
        let done = self
            .log_in(&page, "mia@example.org", "Correct-Horse-1")
            .await;
        parameter(&done.location(), "code").unwrap()
    }
}

/// Exchanges a code for tokens.
pub(crate) async fn exchange(tenant: &DevTenant, code: &str, more: &[(&str, &str)]) -> Answer {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
    ];
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    pairs.extend(more);
    token(tenant, &pairs).await
}

/// The value with what changes from run to run replaced by its name, after a check that
/// it is there.
pub(crate) fn masked(mut value: Value, names: &[&str]) -> Value {
    for name in names {
        assert!(!value[name].is_null(), "no {name} in {value}");
        value[name] = Value::String(format!("[{name}]"));
    }
    value
}

/// Calls of the Management API with a token of `dev-management`.
pub(crate) struct Management {
    client: Client,
    base: String,
    token: String,
}

impl Management {
    pub(crate) async fn of(tenant: &DevTenant) -> Self {
        Self::with_scope(tenant, None).await
    }

    /// With these scopes only.
    pub(crate) async fn with_scope(tenant: &DevTenant, scope: Option<&str>) -> Self {
        let audience = format!("{}api/v2/", tenant.issuer());
        let mut pairs = vec![
            ("grant_type", "client_credentials"),
            ("client_id", "dev-management"),
            ("client_secret", "dev-management-secret"),
            ("audience", &audience),
        ];
        pairs.extend(scope.map(|scope| ("scope", scope)));
        let tokens = post(tenant, "/oauth/token", &pairs).await.json();
        Self {
            client: client(),
            base: format!("{}/api/v2", tenant.url()),
            token: text(&tokens, "access_token"),
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, user_id: &str, body: &Value) -> Answer {
        self.send("PATCH", &user_path(user_id), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    /// E-mail addresses that a search finds.
    pub(crate) async fn search(&self, q: &str) -> Vec<String> {
        let answer = self.get(&search_path(q)).await;
        assert_eq!(answer.status, StatusCode::OK, "{q}: {}", answer.text);
        let users = answer.json();
        let users = users.as_array().unwrap();
        users.iter().map(|user| text(user, "email")).collect()
    }
}

pub(crate) fn search_path(q: &str) -> String {
    format!("/users?{}", form(&[("q", q), ("search_engine", "v3")]))
}

/// The path of a person, whose id is encoded once.
pub(crate) fn user_path(user_id: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(user_id.as_bytes()).collect();
    format!("/users/{}", encoded.replace('+', "%20"))
}

//! What has ended stays ended: on every replica, and after everything was started again.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dev_tenant::TenantSettings;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Client;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;
use tokio::net::TcpListener;
use url::{Url, form_urlencoded};

use crate::gateway::{
    self, Gateway, Held, PASSWORD, Setup, check, person, seed, sign_in, sign_out,
};
use crate::redis::Redis;
use crate::relay::Relay;

/// Until another replica has heard of an end.
const SOON: Duration = Duration::from_secs(1);
/// Until the tenant's logout token has arrived as well.
const DELIVERED: Duration = Duration::from_secs(5);

struct World {
    relay: Relay,
    redis: Redis,
    setup: Setup,
    gateways: Vec<Gateway>,
    http: Client,
    mailbox: Mailbox,
}

impl World {
    async fn start() -> Self {
        let mailbox = Mailbox::open().await;
        let mut seed = seed(10);
        seed.applications[0].backchannel_logout_urls = vec![mailbox.url.clone()];
        let relay = Relay::start(TenantSettings::default(), seed, Box::new(|_| None)).await;
        let redis = Redis::start();
        // An age that hides no missing invalidation.
        let setup = Setup::on_redis(&relay, &redis.host(), &[("SESSION_CACHE_SECONDS", "60")]);
        let gateways: Vec<Gateway> = (0..2).map(|_| setup.start()).collect();
        mailbox.forward_to(&gateways[0].url);
        Self {
            relay,
            redis,
            setup,
            gateways,
            http: gateway::client(),
            mailbox,
        }
    }

    async fn sign_in(&self, number: usize) -> Held {
        let held = sign_in(&self.http, &self.gateways[0].url, &person(number)).await;
        held.unwrap().unwrap()
    }

    /// The code flow over the tenant's page. Gives the tenant's own cookie, too.
    async fn sign_in_on_the_page(&self, number: usize) -> (Held, String) {
        let url = &self.gateways[0].url;
        let begin = self.get(&format!("{url}/web-login?redirect=/"), "").await;
        let binding = cookie(&begin, "__Host-login");
        let page = self.get(&location(&begin), "").await;
        let page = Url::parse(&self.relay.url)
            .unwrap()
            .join(&location(&page))
            .unwrap();
        let state = page.query_pairs().find(|(name, _)| name == "state");
        let state = state.unwrap().1.into_owned();
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &state)
            .append_pair("username", &person(number))
            .append_pair("password", PASSWORD)
            .finish();
        let submitted = self.http.post(page).body(form);
        let submitted = submitted.header("content-type", "application/x-www-form-urlencoded");
        let submitted = submitted.send().await.unwrap();
        let callback = Url::parse(&location(&submitted)).unwrap();
        let callback = format!("{url}{}?{}", callback.path(), callback.query().unwrap());
        let done = self.get(&callback, &binding).await;
        let value = cookie(&done, "sid").split_off("sid=".len());
        let held = Held {
            value,
            refresh_token: String::new(),
            family: String::new(),
            bearer: false,
        };
        (held, cookie(&submitted, "auth0"))
    }

    async fn get(&self, url: &str, cookie: &str) -> reqwest::Response {
        let request = self.http.get(url).header(COOKIE, cookie);
        request.send().await.unwrap()
    }

    async fn status(&self, replica: usize, held: &Held) -> u16 {
        let said = check(&self.http, &self.gateways[replica].url, held).await;
        said.unwrap().status
    }

    /// Every replica has the session in its near cache.
    async fn warm(&self, held: &[&Held]) {
        for held in held {
            for replica in [0, 1, 0, 1] {
                assert_eq!(self.status(replica, held).await, 200);
            }
        }
    }

    /// Waits until every replica says so, and looks that it goes on saying so.
    async fn ends(&self, held: &Held, within: Duration) -> Duration {
        let since = Instant::now();
        for replica in 0..self.gateways.len() {
            loop {
                match self.status(replica, held).await {
                    401 => break,
                    200 => assert!(since.elapsed() < within, "replica {replica} lets it in"),
                    other => panic!("{other}"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let took = since.elapsed();
        for replica in [0, 1, 1, 0] {
            assert_eq!(self.status(replica, held).await, 401);
        }
        took
    }

    async fn manage(&self, method: http::Method, user: &str, body: Option<serde_json::Value>) {
        let id: String = form_urlencoded::byte_serialize(user.as_bytes()).collect();
        let url = format!("{}/users/{id}", self.gateways[0].url);
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

fn location(answer: &reqwest::Response) -> String {
    let text = answer.headers()[LOCATION].to_str().unwrap();
    text.to_owned()
}

/// The `name=value` of a cookie that is set.
fn cookie(answer: &reqwest::Response, name: &str) -> String {
    let lines = answer.headers().get_all(SET_COOKIE).iter();
    let mut pairs = lines.map(|line| line.to_str().unwrap().split(';').next().unwrap());
    let wanted = format!("{name}=");
    pairs
        .find(|pair| pair.starts_with(&wanted))
        .unwrap()
        .to_owned()
}

/// Where the tenant sends its logout tokens: it keeps a copy, and passes them on.
struct Mailbox {
    url: String,
    target: Arc<Mutex<String>>,
    letters: Arc<Mutex<Vec<Bytes>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mailbox {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/backchannel-logout",
            listener.local_addr().unwrap()
        );
        let (target, letters) = (Arc::<Mutex<String>>::default(), Arc::default());
        let (to, kept) = (Arc::clone(&target), Arc::clone(&letters));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (to, kept) = (Arc::clone(&to), Arc::clone(&kept));
                let service =
                    service_fn(move |request| pass_on(request, Arc::clone(&to), Arc::clone(&kept)));
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url,
            target,
            letters,
            task,
        }
    }

    fn forward_to(&self, gateway: &str) {
        *self.target.lock().unwrap() = format!("{gateway}/backchannel-logout");
    }

    fn last(&self) -> Bytes {
        self.letters.lock().unwrap().last().unwrap().clone()
    }
}

async fn pass_on(
    request: Request<Incoming>,
    to: Arc<Mutex<String>>,
    kept: Arc<Mutex<Vec<Bytes>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    kept.lock().unwrap().push(body.clone());
    let to = to.lock().unwrap().clone();
    let status = deliver(&gateway::client(), &to, body).await;
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

async fn deliver(http: &Client, url: &str, letter: Bytes) -> u16 {
    let request = http.post(url).body(letter);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_31_what_has_ended_stays_ended_on_every_replica() {
    let mut world = World::start().await;
    let mut ended = Vec::new();

    // Signed out on one replica, which the other hears of.
    let mut longest = Duration::ZERO;
    for number in 0..10 {
        let held = world.sign_in(number).await;
        world.warm(&[&held]).await;
        let out = sign_out(&world.http, &world.gateways[0].url, &held).await;
        assert_eq!(out.unwrap().status, 302);
        longest = longest.max(world.ends(&held, SOON).await);
        ended.push(held);
    }
    println!("signed out: over everywhere {longest:?} after the answer, at most");

    // Blocked or deleted through the gateway.
    let stays = world.sign_in(2).await;
    for (number, method, body) in [
        (0, http::Method::PATCH, Some(json!({"blocked": true}))),
        (1, http::Method::DELETE, None),
    ] {
        let held = world.sign_in(number).await;
        let second = world.sign_in(number).await;
        world.warm(&[&held, &second, &stays]).await;
        let user = world.relay.tenant.user_id(&person(number)).unwrap();
        world.manage(method.clone(), &user, body).await;
        for held in [held, second] {
            let took = world.ends(&held, SOON).await;
            println!("{method}: over everywhere after {took:?}");
            ended.push(held);
        }
    }

    // The tenant says that one of a person's sessions there is over, and then that all are.
    let (first, at_tenant) = world.sign_in_on_the_page(3).await;
    let (other, _) = world.sign_in_on_the_page(3).await;
    let by_password = world.sign_in(3).await;
    world.warm(&[&first, &other, &by_password]).await;
    let out = format!("{}/v2/logout?client_id=dev-website", world.relay.url);
    assert_eq!(world.get(&out, &at_tenant).await.status(), 302);
    let took = world.ends(&first, DELIVERED).await;
    println!("logout at the tenant: over everywhere after {took:?}");
    world.warm(&[&other, &by_password, &stays]).await;
    let user = world.relay.tenant.user_id(&person(3)).unwrap();
    let sent = world
        .relay
        .tenant
        .send_backchannel_logout(&user, None)
        .await;
    assert_eq!(sent[0].status, Some(200), "{sent:?}");
    for held in [&other, &by_password] {
        world.ends(held, SOON).await;
    }
    ended.extend([first, other, by_password]);

    // A token that is sent again ends nothing that began since, whichever replica gets it.
    let again = world.sign_in(3).await;
    let letter = world.mailbox.last();
    for gateway in &world.gateways {
        let url = format!("{}/backchannel-logout", gateway.url);
        assert_eq!(deliver(&world.http, &url, letter.clone()).await, 400);
    }
    world.warm(&[&again, &stays]).await;

    // Everything is killed and started again.
    for gateway in &mut world.gateways {
        gateway.kill();
    }
    world.redis.kill();
    world.redis.restart();
    world.gateways = (0..2).map(|_| world.setup.start()).collect();
    for held in &ended {
        for replica in [0, 1] {
            assert_eq!(world.status(replica, held).await, 401);
        }
    }
    world.warm(&[&again, &stays]).await;
    let url = format!("{}/backchannel-logout", world.gateways[1].url);
    assert_eq!(deliver(&world.http, &url, letter).await, 400);
}

//! A tenant in memory behind the port, with Auth0's limits, and a gateway in front of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth0_api::management::{
    Call, Connection, ExportUsers, ImportUsers, Job, JobErrors, JobId, ListConnections, ListUsers,
    PasswordChangeTicket, User, UserId, UserPage,
};
use auth0_api::{Auth0Client, ClientSettings, Error, ErrorCode, ManagementApi, Refusal};
use dev_tenant::search;
use gateway_core::config::{Environment, load};
use gateway_core::http::GatewayService;
use gateway_core::imports::{FilePayloads, Imports};
use gateway_core::{Gateway, Parts};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sessionkit::testing::TestClock;
use sessionkit::{Clock, Lifetimes, MemoryStore, Sessions};

/// What happens to the next import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportFault {
    /// It arrives and the answer is lost.
    AnswerLost,
    /// It does not arrive.
    Lost,
    /// Two other jobs are running.
    Busy,
    /// The job fails as a whole.
    Fails,
    /// Rows that fail are counted, but not listed.
    Unlisted,
}

/// Changes the tenant's people.
pub(crate) type Edit = fn(&mut Vec<Value>);

#[derive(Debug, Default)]
pub(crate) struct FakeTenant {
    pub(crate) users: Mutex<Vec<Value>>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) lists: AtomicUsize,
    /// Runs after every list call.
    pub(crate) after_list: Mutex<Option<Edit>>,
    pub(crate) import_faults: Mutex<Vec<ImportFault>>,
    pub(crate) imports: AtomicUsize,
    jobs: Mutex<BTreeMap<String, (Job, Vec<Value>)>>,
    pub(crate) running: AtomicUsize,
    pub(crate) most_running: AtomicUsize,
}

impl FakeTenant {
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    pub(crate) fn add(&self, user: Value) {
        self.users.lock().unwrap().push(user);
    }

    fn import(&self, import: &ImportUsers) -> (u64, Vec<Value>) {
        let rows: Vec<Value> = serde_json::from_slice(&import.users).unwrap();
        let mut users = self.users.lock().unwrap();
        let (mut inserted, mut errors) = (0, Vec::new());
        for row in rows {
            if users.iter().any(|user| user["email"] == row["email"]) {
                let error = json!({"code": "DUPLICATED_USER", "message": "exists"});
                errors.push(json!({"user": row, "errors": [error]}));
                continue;
            }
            let mut user = row;
            user["user_id"] = format!("auth0|{}", users.len()).into();
            user["created_at"] = "2026-09-21T14:13:21.000Z".into();
            user["identities"] = json!([{"connection": "staff"}]);
            users.push(user);
            inserted += 1;
        }
        (inserted, errors)
    }
}

pub(crate) fn refused(status: u16, code: &str, message: &str) -> Error {
    let body = json!({"statusCode": status, "error": "x", "message": message, "errorCode": code});
    Error::Refused(Refusal {
        status,
        code: ErrorCode::from_wire(code),
        description: Some(message.to_owned()),
        mfa_token: None,
        mfa_requirements: None,
        body: body.as_object().cloned().map(Box::new),
    })
}

pub(crate) fn as_user(value: &Value) -> User {
    User::new(RawValue::from_string(value.to_string()).unwrap()).unwrap()
}

#[async_trait]
impl ManagementApi for FakeTenant {
    async fn list_users(&self, _: Call, request: &ListUsers) -> Result<UserPage, Error> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.note("list");
        if (request.page + 1) * request.per_page > 1000 || request.per_page > 100 {
            return Err(refused(400, "invalid_paging", "too deep"));
        }
        let query = request
            .query
            .as_ref()
            .map(|query| search::parse(query.as_str()).unwrap());
        let mut users = self.users.lock().unwrap();
        let mut found: Vec<&Value> = users
            .iter()
            .filter(|user| query.as_ref().is_none_or(|q| search::matches(q, user)))
            .collect();
        if let Some(sort) = &request.sort {
            let key = |user: &&Value| user[sort.field.name()].as_str().unwrap().to_owned();
            found.sort_by_key(key);
            if sort.descending {
                found.reverse();
            }
        }
        let (page, per_page) = (request.page as usize, request.per_page as usize);
        let slice = found.iter().skip(page * per_page).take(per_page);
        let wanted = |user: &&Value| {
            let mut user = (*user).clone();
            let fields = &request.fields;
            user.as_object_mut()
                .unwrap()
                .retain(|name, _| fields.is_empty() || fields.contains(name));
            as_user(&user)
        };
        let page = UserPage {
            users: slice.map(wanted).collect(),
            total: request.include_totals.then_some(found.len() as u64),
        };
        if let Some(after) = *self.after_list.lock().unwrap() {
            after(&mut users);
        }
        Ok(page)
    }

    async fn users_by_email(&self, _: Call, email: &str) -> Result<Vec<User>, Error> {
        let users = self.users.lock().unwrap();
        let same = users.iter().filter(|user| user["email"] == email);
        Ok(same.map(as_user).collect())
    }

    async fn user(&self, _: Call, id: &UserId) -> Result<Option<User>, Error> {
        self.note(format!("get {id}"));
        let users = self.users.lock().unwrap();
        let found = users.iter().find(|user| user["user_id"] == id.as_str());
        Ok(found.map(as_user))
    }

    async fn create_user(&self, _: Call, body: &Map<String, Value>) -> Result<User, Error> {
        self.note(format!("create in {}", body["connection"]));
        Ok(as_user(&Value::Object(body.clone())))
    }

    async fn update_user(
        &self,
        _: Call,
        id: &UserId,
        body: &Map<String, Value>,
    ) -> Result<User, Error> {
        self.note(format!("patch {id}"));
        Ok(as_user(&Value::Object(body.clone())))
    }

    async fn delete_user(&self, _: Call, id: &UserId) -> Result<(), Error> {
        self.note(format!("delete {id}"));
        let mut users = self.users.lock().unwrap();
        users.retain(|user| user["user_id"] != id.as_str());
        Ok(())
    }

    async fn import_users(&self, _: Call, import: &ImportUsers) -> Result<Job, Error> {
        let fault = self.import_faults.lock().unwrap().pop();
        if fault == Some(ImportFault::Busy) {
            let Error::Refused(refusal) = refused(429, "too_many_requests", "2 active") else {
                unreachable!()
            };
            return Err(Error::RateLimited {
                retry_after: Some(Duration::from_millis(20)),
                refusal,
            });
        }
        if fault == Some(ImportFault::Lost) {
            return Err(Error::Timeout);
        }
        let number = self.imports.fetch_add(1, Ordering::SeqCst);
        assert!(import.multipart_len() <= ImportUsers::MAX_BYTES);
        let (inserted, errors) = match fault {
            Some(ImportFault::Fails) => (0, Vec::new()),
            _ => self.import(import),
        };
        let status = match fault {
            Some(ImportFault::Fails) => "failed",
            _ => "completed",
        };
        let total = inserted + errors.len() as u64;
        let body = json!({
            "id": format!("job_{number}"), "status": status, "type": "users_import",
            "connection": "staff", "status_details": "unreadable",
            "summary": {"failed": errors.len(), "updated": 0, "inserted": inserted, "total": total},
        });
        let errors = match fault {
            Some(ImportFault::Unlisted) => Vec::new(),
            _ => errors,
        };
        let job = Job::from_body(body.as_object().unwrap().clone()).unwrap();
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let id = job.id.as_str().to_owned();
        self.jobs.lock().unwrap().insert(id, (job.clone(), errors));
        if fault == Some(ImportFault::AnswerLost) {
            return Err(Error::Timeout);
        }
        Ok(job)
    }

    async fn export_users(&self, _: Call, _: &ExportUsers) -> Result<Job, Error> {
        Err(Error::Timeout)
    }

    async fn job(&self, _: Call, id: &JobId) -> Result<Option<Job>, Error> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let jobs = self.jobs.lock().unwrap();
        let found = jobs.get(id.as_str()).map(|(job, _)| job.clone());
        if found.is_some() {
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(found)
    }

    async fn job_errors(&self, _: Call, id: &JobId) -> Result<Option<JobErrors>, Error> {
        let jobs = self.jobs.lock().unwrap();
        let raw = |value: &Value| RawValue::from_string(value.to_string()).unwrap();
        Ok(jobs
            .get(id.as_str())
            .map(|(_, errors)| JobErrors::Rows(errors.iter().map(raw).collect())))
    }

    async fn password_change_ticket(
        &self,
        _: Call,
        id: &UserId,
        ticket: &PasswordChangeTicket,
    ) -> Result<String, Error> {
        self.note(format!("ticket {id} {ticket:?}"));
        Ok("https://tenant/ticket#1".to_owned())
    }

    async fn send_verification_email(&self, _: Call, _: &UserId) -> Result<Job, Error> {
        Err(Error::Timeout)
    }

    async fn connections(&self, _: Call, _: &ListConnections) -> Result<Vec<Connection>, Error> {
        self.note("connections");
        let body = json!([{"id": "con_staff", "name": "staff", "strategy": "auth0"}]);
        Ok(serde_json::from_value(body).unwrap())
    }

    async fn delete_sessions(&self, _: Call, _: &UserId) -> Result<(), Error> {
        Ok(())
    }

    async fn delete_refresh_tokens(&self, _: Call, _: &UserId) -> Result<(), Error> {
        Ok(())
    }
}

struct Configuration(String);

impl Environment for Configuration {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "HTTP_HOST" => Some("127.0.0.1".to_owned()),
            "MAX_BODY_BYTES" => Some("4096".to_owned()),
            "IMPORT_MAX_BYTES" => Some("50000000".to_owned()),
            _ => None,
        }
    }

    fn read_file(&self, _: &Path) -> std::io::Result<String> {
        Ok(self.0.clone())
    }
}

pub(crate) struct World {
    pub(crate) tenant: Arc<FakeTenant>,
    pub(crate) service: GatewayService,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: tempfile::TempDir,
}

/// A gateway whose management client has these settings beside the required ones.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the callers build it in place"
)]
pub(crate) fn world(management: Option<Value>) -> World {
    let tenant = Arc::new(FakeTenant::default());
    let mut config = json!({
        "clients": {"app": {
            "auth0Url": "acme.eu.auth0.com", "clientId": "app", "clientSecret": "s",
            "redirectUrl": "https://www.example.org/callback", "scopes": ["profile"],
        }},
    });
    if let Some(extra) = &management {
        let mut client = json!({
            "auth0Url": "acme.eu.auth0.com", "clientId": "admin", "clientSecret": "s",
        });
        let settings = extra.as_object().unwrap().clone();
        client.as_object_mut().unwrap().extend(settings);
        config["managementClient"] = client;
    }
    let loaded = load(&Configuration(config.to_string())).unwrap();
    let clock = Arc::new(TestClock::default());
    let store = Arc::new(MemoryStore::new());
    let sessions = Arc::new(Sessions::new(
        Arc::clone(&store) as _,
        Arc::clone(&clock) as _,
        Lifetimes::default(),
    ));
    let folder = tempfile::tempdir().unwrap();
    let imports = Imports::new(
        Arc::clone(&tenant) as _,
        Arc::clone(&store) as _,
        Arc::new(FilePayloads::new(folder.path())),
        Arc::clone(&clock) as _,
        loaded.settings.import_results,
    );
    let gateway = Arc::new(Gateway::new(Parts {
        settings: loaded.settings,
        clients: loaded.clients,
        api: Arc::new(Auth0Client::new(ClientSettings::default()).unwrap()),
        management: management.is_some().then(|| Arc::clone(&tenant) as _),
        imports: management.is_some().then(|| Arc::new(imports)),
        metrics: None,
        sessions,
        one_time: Arc::clone(&store) as _,
        records: store,
    }));
    World {
        tenant,
        service: GatewayService::new(Arc::clone(&gateway)).unwrap(),
        gateway,
        clock,
        folder,
    }
}

impl World {
    /// Signs somebody in, without a tenant.
    pub(crate) async fn open_session(&self, subject: &str, credential: &str) {
        let now = self.clock.now();
        let sign_in = sessionkit::SignIn {
            subject: subject.to_owned(),
            client: "app".to_owned(),
            credential: sessionkit::Credential::of(credential.as_bytes()),
            tokens: sessionkit::Tokens {
                access_token: "canary-access".to_owned().into(),
                refresh_token: None,
                id_token: None,
                access_expires_at: now.after(Duration::from_secs(3600)),
            },
            identity_provider_session: None,
            data: bytes::Bytes::new(),
            ip_address: Some([192, 0, 2, 7].into()),
            user_agent: Some("Firefox".to_owned()),
        };
        self.gateway.sessions().open(sign_in).await.unwrap();
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "www.example.org");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(bytes::Bytes::copy_from_slice(body)))
            .unwrap();
        let answer = self.service.handle(request, None).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes().to_vec());
        let body = body.map_or_else(|_| "BROKEN".to_owned(), |b| String::from_utf8(b).unwrap());
        (parts.status, parts.headers, body)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send("GET", path, &[], b"").await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("content-type", "application/json")];
        let body = body.to_string();
        let (status, _, body) = self.send(method, path, &headers, body.as_bytes()).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The calls since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.tenant.calls.lock().unwrap())
    }
}

/// Restricted to the connection `staff`.
pub(crate) fn staff_only() -> World {
    world(Some(json!({
        "supportedConnectionsMap": {"staff": {"connectionId": "con_AbCdEfGh12345678"}},
        "defaultManagementConnectionName": "staff",
    })))
}

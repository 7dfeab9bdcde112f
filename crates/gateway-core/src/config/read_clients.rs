//! Reads `config.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth0_api::tenant::is_loopback;
use auth0_api::{Application, ClientSecret, SigningAlgorithm, Tenant};
use sessionkit::SameSite;
use url::Url;

use super::client::{
    ApiKey, Client, Clients, LogoutMethod, ManagementClient, ManagementConnections,
    SessionCookieValue,
};
use super::fault::Report;
use super::object::{Object, join};
use crate::json::Tree;

/// Path that the redirect URL of a client with built-in login pages ends in.
const CALLBACK: &str = "/web-login/callback";

/// Reads a document whose variables have been replaced. `None` when there are faults.
pub(super) fn read(document: &Tree, report: &mut Report) -> Option<Clients> {
    let mut root = Object::new(String::new(), document, report)?;
    root.require("clients", "an object of clients by name", report);
    let mut by_name = BTreeMap::new();
    if let Some(tree) = root.get("clients")
        && let Some(clients) = Object::new(root.at("clients"), tree, report)
    {
        for (name, tree) in clients.entries() {
            let at = clients.at(name);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                report.fault(
                    &at,
                    "has a name that no header can hold",
                    "use visible ASCII without spaces",
                );
            }
            if let Some(client) = client(name, at, tree, report) {
                by_name.insert(name.to_owned(), Arc::new(client));
            }
        }
        if clients.entries().next().is_none() {
            report.fault(clients.pointer, "is empty", "add a client");
        }
    }
    let default_client = root
        .text("defaultClient", report)
        .and_then(|name| named(&by_name, name, &root.at("defaultClient"), report));
    let namespaces = root.texts("customClaimsNamespaces", report);
    let mut short_names: BTreeMap<&str, &str> = BTreeMap::new();
    for (at, name) in &namespaces {
        let short = name
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if short.is_empty() || short == "sub" {
            report.fault(
                at,
                "has no last path segment to show it by",
                "give the claim's whole name",
            );
        } else if short_names.insert(short, name).is_some() {
            report.fault(
                at,
                format!("is shown as {short}, and so is another"),
                "keep one of them",
            );
        }
    }
    let custom_claims_namespaces = namespaces
        .into_iter()
        .map(|(_, name)| name.to_owned())
        .collect();
    let api_keys = api_keys(&mut root, &by_name, report);
    let tenant = tenant(&mut root, "auth0TenantUrl", report);
    let management = root.get("managementClient").and_then(|tree| {
        management(
            Object::new(root.at("managementClient"), tree, report)?,
            report,
        )
    });
    root.report_unknown(report);
    let clients = Clients {
        by_name,
        default_client,
        custom_claims_namespaces,
        api_keys,
        tenant,
        management,
    };
    report.faults.is_empty().then_some(clients)
}

fn named(
    clients: &BTreeMap<String, Arc<Client>>,
    name: &str,
    at: &str,
    report: &mut Report,
) -> Option<Arc<Client>> {
    let found = clients.get(name).cloned();
    // A client that is there but faulty has been reported.
    let client = join("/clients", name);
    let is_within = |location: &str| {
        let rest = location.strip_prefix(&client);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if found.is_none() && !report.faults.iter().any(|f| is_within(&f.location)) {
        report.fault(at, "names no client", "use one of the names in /clients");
    }
    found
}

fn tenant(object: &mut Object<'_>, key: &'static str, report: &mut Report) -> Option<Tenant> {
    let text = object.text(key, report)?;
    match Tenant::parse(text) {
        Ok(tenant) => Some(tenant),
        Err(error) => {
            report.fault(
                object.at(key),
                error.to_string(),
                "give a host (acme.eu.auth0.com) or https://HOST",
            );
            None
        }
    }
}

fn application(object: &mut Object<'_>, report: &mut Report) -> Option<Application> {
    object.require("auth0Url", "the tenant's host or URL", report);
    let tenant = tenant(object, "auth0Url", report);
    let client_id = object.required_text("clientId", report);
    let client_secret = object.required_text("clientSecret", report);
    Some(Application {
        tenant: tenant?,
        client_id: client_id?.to_owned(),
        client_secret: ClientSecret::new(client_secret?),
    })
}

fn client(name: &str, at: String, tree: &Tree, report: &mut Report) -> Option<Client> {
    let mut object = Object::new(at, tree, report)?;
    let object = &mut object;
    let application = application(object, report);
    object.require("redirectUrl", "where Auth0 sends the code to", report);
    let redirect_url = object.text("redirectUrl", report).and_then(|text| {
        let at = object.at("redirectUrl");
        http_url(text, &at, report).inspect(|url| {
            // RFC 6749, section 3.1.2.
            if url.fragment().is_some() {
                report.fault(&at, "has a fragment (#)", "remove it");
            }
            if url.scheme() == "http" && !is_loopback(url) {
                report.warn(&at, "is plain http: codes travel in the clear");
            }
        })
    });
    object.require("scopes", "a list of strings", report);
    let scopes = object.texts("scopes", report);
    for (at, scope) in &scopes {
        // RFC 6749, section 3.3.
        if !scope
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        {
            report.fault(
                at,
                "is no scope",
                "one scope an entry, without spaces or quotes",
            );
        }
    }
    let website = scopes.iter().any(|(_, scope)| *scope == "website");
    let mut scope = "openid".to_owned();
    for (_, name) in scopes
        .iter()
        .filter(|(_, name)| !matches!(*name, "website" | "openid"))
    {
        scope.push(' ');
        scope.push_str(name);
    }
    let signing_algorithms = signing_algorithms(object, report);
    let supported_connections: Vec<String> = object
        .texts("supportedConnections", report)
        .into_iter()
        .map(|(_, c)| c.to_owned())
        .collect();
    let default_connection = object.text("defaultConnection", report).map(str::to_owned);
    if let Some(default) = &default_connection
        && !supported_connections.is_empty()
        && !supported_connections.contains(default)
    {
        report.fault(
            object.at("defaultConnection"),
            "is not among supportedConnections",
            "use one of them, or add it there",
        );
    }
    let same_site = [
        ("Lax", SameSite::Lax),
        ("Strict", SameSite::Strict),
        ("None", SameSite::None),
    ];
    let same_site = object.choice("sameSite", &same_site, report);
    let allowed = object.texts("allowedRedirectUrls", report);
    let allowed_redirect_urls = allowed
        .iter()
        .filter_map(|(at, text)| allowed_url(text, at, report))
        .collect();
    let values = [
        ("token", SessionCookieValue::Token),
        ("opaque", SessionCookieValue::Opaque),
    ];
    let session_cookie = object
        .choice("sessionCookie", &values, report)
        .unwrap_or(SessionCookieValue::Token);
    let web_login = object.flag("webLogin", false, report);
    if web_login
        && redirect_url
            .as_ref()
            .is_some_and(|url| !url.path().ends_with(CALLBACK))
    {
        report.fault(
            object.at("redirectUrl"),
            format!("does not end in {CALLBACK}"),
            "webLogin needs that path, or set webLogin to false",
        );
    }
    if (website || web_login) && session_cookie == SessionCookieValue::Token {
        report.warn(object.at("sessionCookie"), "is \"token\": a sign-in whose access token makes a cookie of more than 4096 bytes is refused; \"opaque\" has no such limit");
    }
    let methods = [("any", LogoutMethod::Any), ("post", LogoutMethod::Post)];
    let logout_method = object
        .choice("logoutMethod", &methods, report)
        .unwrap_or(LogoutMethod::Any);
    let audience = object.text("audience", report).map(str::to_owned);
    let authorize_state_required = object.flag("authorizeStateRequired", false, report);
    let bind_state_to_browser = object.flag("bindStateToBrowser", false, report);
    let revoke_on_logout = object.flag("revokeOnLogout", true, report);
    object.report_unknown(report);
    Some(Client {
        name: name.to_owned(),
        audience,
        authorize_state_required,
        bind_state_to_browser,
        revoke_on_logout,
        application: application?,
        redirect_url: redirect_url?,
        scope,
        website,
        signing_algorithms,
        supported_connections,
        default_connection,
        same_site,
        allowed_redirect_urls,
        session_cookie,
        web_login,
        logout_method,
    })
}

fn signing_algorithms(object: &mut Object<'_>, report: &mut Report) -> Vec<SigningAlgorithm> {
    if !object.has("supportedSigningAlgs") {
        object.get("supportedSigningAlgs");
        return vec![SigningAlgorithm::Rs256];
    }
    let names = object.texts("supportedSigningAlgs", report);
    if names.is_empty() {
        report.fault(
            object.at("supportedSigningAlgs"),
            "is empty",
            "use RS256, PS256 or HS256, or remove it",
        );
    }
    let mut algorithms = Vec::new();
    for (at, name) in names {
        match SigningAlgorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => report.fault(at, "is not one of its values", "use RS256, PS256 or HS256"),
        }
    }
    algorithms
}

fn http_url(text: &str, at: &str, report: &mut Report) -> Option<Url> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        report.fault(
            at,
            "is no absolute http or https URL",
            "write it as https://host/path",
        );
    }
    url
}

fn allowed_url(text: &str, at: &str, report: &mut Report) -> Option<Url> {
    let url = http_url(text, at, report)?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain {
        report.fault(
            at,
            "has a query, fragment or user information",
            "give origin and path alone",
        );
        return None;
    }
    if url.as_str() != text {
        report.fault(
            at,
            "is not written as the URL standard prints it",
            format!("write {url}"),
        );
        return None;
    }
    Some(url)
}

fn api_keys(
    root: &mut Object<'_>,
    clients: &BTreeMap<String, Arc<Client>>,
    report: &mut Report,
) -> Vec<ApiKey> {
    let at = root.at("apiKeys");
    let items = match root.get("apiKeys") {
        None => return Vec::new(),
        Some(Tree::List(items)) => items,
        Some(other) => {
            report.fault(
                at,
                format!("is {}", other.kind()),
                "make it a list of objects",
            );
            return Vec::new();
        }
    };
    let mut keys: Vec<ApiKey> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(mut object) = Object::new(join(&at, &index.to_string()), item, report) else {
            continue;
        };
        let sha256 = object.required_text("sha256", report).and_then(|text| {
            let hash = hex(text);
            if hash.is_none() {
                report.fault(
                    object.at("sha256"),
                    "is no SHA-256",
                    "give 64 hexadecimal digits",
                );
            }
            hash
        });
        let client = object
            .required_text("client", report)
            .and_then(|name| named(clients, name, &object.at("client"), report));
        if sha256.is_some_and(|hash| keys.iter().any(|key| key.sha256 == hash)) {
            report.fault(
                object.at("sha256"),
                "is in the list twice",
                "keep one of them",
            );
        }
        object.report_unknown(report);
        if let (Some(sha256), Some(client)) = (sha256, client) {
            keys.push(ApiKey { sha256, client });
        }
    }
    keys
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

fn management(mut object: Object<'_>, report: &mut Report) -> Option<ManagementClient> {
    let application = application(&mut object, report);
    let enforce_connections = object.flag("enforceConnections", true, report);
    // The original's published example has it here; it says nothing.
    object.flag("authorizeStateRequired", false, report);
    let new = ["supportedConnectionsMap", "defaultManagementConnectionName"];
    let old = ["supportedConnections", "defaultCreateUserConnection"];
    let has = |keys: [&str; 2]| keys.iter().any(|key| object.has(key));
    let (has_new, has_old) = (has(new), has(old));
    if has_new && has_old {
        report.fault(
            &object.pointer,
            "has the new pair of connection settings and the deprecated one",
            format!("remove {} and {}", old[0], old[1]),
        );
    }
    let mut ids = BTreeMap::new();
    if let Some(tree) = object.get("supportedConnectionsMap")
        && let Some(map) = Object::new(object.at("supportedConnectionsMap"), tree, report)
    {
        if map.entries().next().is_none() {
            report.fault(
                &map.pointer,
                "is empty, and names no connection",
                "leave it out for all connections, or name one",
            );
        }
        for (name, tree) in map.entries() {
            if name.is_empty() {
                report.fault(
                    map.at(name),
                    "has an empty name",
                    "give the connection's name at Auth0",
                );
            }
            let Some(mut entry) = Object::new(map.at(name), tree, report) else {
                continue;
            };
            if let Some(id) = entry.required_text("connectionId", report) {
                let digits = id.strip_prefix("con_").unwrap_or_default();
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    report.fault(
                        entry.at("connectionId"),
                        "is no connection's id",
                        "give the one that Auth0 shows: con_ with letters and digits",
                    );
                }
                ids.insert(name.to_owned(), id.to_owned());
            }
            entry.report_unknown(report);
        }
    }
    let default = object
        .text("defaultManagementConnectionName", report)
        .map(str::to_owned);
    if default.as_ref().is_some_and(|name| !ids.contains_key(name)) {
        report.fault(
            object.at("defaultManagementConnectionName"),
            "is no key of supportedConnectionsMap",
            "use one of its keys, or add it there",
        );
    }
    let supported: Vec<String> = object
        .texts("supportedConnections", report)
        .into_iter()
        .map(|(_, c)| c.to_owned())
        .collect();
    let create_in = object
        .text("defaultCreateUserConnection", report)
        .map(str::to_owned);
    if let Some(name) = &create_in
        && !supported.is_empty()
        && !supported.contains(name)
    {
        report.fault(
            object.at("defaultCreateUserConnection"),
            "is not among supportedConnections",
            "use one of them, or add it there",
        );
    }
    if has_old {
        report.warn(&object.pointer, "uses the deprecated supportedConnections and defaultCreateUserConnection: imports need supportedConnectionsMap");
    }
    object.report_unknown(report);
    let connections = match (has_new, has_old) {
        (true, _) => ManagementConnections::Map { ids, default },
        (false, true) => ManagementConnections::Names {
            supported,
            default: create_in,
        },
        (false, false) => ManagementConnections::All,
    };
    Some(ManagementClient {
        application: application?,
        enforce_connections,
        connections,
    })
}

/// Looks at a document's text as JSON.
pub(super) fn parse(json: &str, report: &mut Report) -> Option<Tree> {
    // Some editors put a byte order mark in front.
    match serde_json::from_str(json.trim_start_matches('\u{feff}')) {
        Ok(tree) => Some(tree),
        Err(error) => {
            // The parser's own words may quote the document, and secrets are in it.
            let place = format!(
                "is no JSON: line {}, column {}",
                error.line(),
                error.column()
            );
            report.fault("config.json", place, "check the syntax there");
            None
        }
    }
}

//! A tenant's host name, and everything that follows from it.

use url::Url;

use crate::{AuthorizeRequest, LogoutRequest};

/// An Auth0 tenant (or its custom domain): issuer and endpoint URLs.
///
/// Two tenants are equal when their ASCII-serialised URLs are: spelling, letter case and
/// internationalised forms of a host never tell one from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    base: Url,
}

/// Why a text is no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// Neither a host name nor a URL.
    #[error("is neither a host name nor a URL")]
    Malformed,
    /// Plain http on a host that is not loopback, or another scheme.
    #[error("must use https (http is accepted for loopback hosts only)")]
    Insecure,
    /// Something beside scheme, host and port.
    #[error("must not have a path, query, fragment or user information")]
    NotBare,
}

impl Tenant {
    /// Reads a bare host (`acme.eu.auth0.com`, taken as https) or a URL with nothing but scheme,
    /// host and port. A trailing slash is accepted.
    ///
    /// ```
    /// let tenant = auth0_api::Tenant::parse("acme.eu.auth0.com")?;
    /// assert_eq!(tenant.issuer(), "https://acme.eu.auth0.com/");
    /// # Ok::<(), auth0_api::TenantError>(())
    /// ```
    ///
    /// # Errors
    /// [`TenantError`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, TenantError> {
        // The URL standard repairs these silently; in a setting they are a slip.
        let slip = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '%' | '@');
        if text.contains(slip) || text.contains(":///") {
            return Err(if text.contains('@') {
                TenantError::NotBare
            } else {
                TenantError::Malformed
            });
        }
        let absolute = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let base = Url::parse(&absolute).map_err(|_| TenantError::Malformed)?;
        let bare = base.path() == "/"
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !bare {
            return Err(TenantError::NotBare);
        }
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(&base) => {}
            _ => return Err(TenantError::Insecure),
        }
        if base.host().is_none() {
            return Err(TenantError::Malformed);
        }
        Ok(Self { base })
    }

    /// The issuer: `https://DOMAIN/`, always with the trailing slash.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.base.as_str()
    }

    /// URL that starts a browser sign-in (`GET /authorize`).
    #[must_use]
    pub fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Url {
        let mut url = self.endpoint("authorize");
        let max_age = request.max_age.map(|seconds| seconds.to_string());
        let optional = [
            ("audience", request.audience),
            ("connection", request.connection),
            ("prompt", request.prompt),
            ("login_hint", request.login_hint),
            ("screen_hint", request.screen_hint),
            ("ui_locales", request.ui_locales),
            ("organization", request.organization),
            ("invitation", request.invitation),
            ("max_age", max_age.as_deref()),
        ];
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", request.client_id)
                .append_pair("redirect_uri", request.redirect_uri)
                .append_pair("scope", request.scope)
                .append_pair("state", request.state)
                .append_pair("nonce", request.nonce);
            if let Some(challenge) = &request.code_challenge {
                query
                    .append_pair("code_challenge", challenge.as_str())
                    .append_pair("code_challenge_method", "S256");
            }
            for (name, value) in optional {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
        }
        url
    }

    /// URL that ends the browser's session at Auth0 (`GET /v2/logout`).
    #[must_use]
    pub fn logout_url(&self, request: &LogoutRequest<'_>) -> Url {
        let mut url = self.endpoint("v2/logout");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", request.client_id);
            if let Some(return_to) = request.return_to {
                query.append_pair("returnTo", return_to);
            }
        }
        url
    }

    /// True for a loopback tenant without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// URL of an endpoint below the tenant, for example `oauth/token`.
    pub(crate) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }
}

/// Does a URL name this machine: `localhost`, 127.0.0.0/8 or `[::1]`? Nothing is resolved.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodeVerifier;

    #[test]
    fn reads_hosts_and_urls() {
        for (text, issuer) in [
            ("acme.eu.auth0.com", "https://acme.eu.auth0.com/"),
            ("https://login.example.org", "https://login.example.org/"),
            ("https://login.example.org/", "https://login.example.org/"),
            (
                "https://login.example.org:8443",
                "https://login.example.org:8443/",
            ),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000/"),
            ("http://localhost", "http://localhost/"),
            ("http://[::1]:1", "http://[::1]:1/"),
            ("b\u{fc}cher.example", "https://xn--bcher-kva.example/"),
        ] {
            assert_eq!(
                Tenant::parse(text).map(|t| t.issuer().to_owned()),
                Ok(issuer.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_tenant() {
        for (text, error) in [
            ("", TenantError::Malformed),
            ("https://", TenantError::Malformed),
            ("https:///acme.eu.auth0.com", TenantError::Malformed),
            ("https://acme.eu.auth0.com\\x", TenantError::Malformed),
            (" acme.eu.auth0.com", TenantError::Malformed),
            ("acme.eu.auth0%2Ecom", TenantError::Malformed),
            ("https://@acme.eu.auth0.com", TenantError::NotBare),
            ("http://acme.eu.auth0.com", TenantError::Insecure),
            ("http://localhost.example.org", TenantError::Insecure),
            ("ftp://acme.eu.auth0.com", TenantError::Insecure),
            ("acme.eu.auth0.com/x", TenantError::NotBare),
            ("https://acme.eu.auth0.com?x", TenantError::NotBare),
            ("https://acme.eu.auth0.com#x", TenantError::NotBare),
            ("https://me:pw@acme.eu.auth0.com", TenantError::NotBare),
        ] {
            assert_eq!(Tenant::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn threat_35_an_encoded_name_is_not_the_name_it_hides() {
        assert!(Tenant::parse("xn--example-.org").is_err());
    }

    #[test]
    fn threat_19_values_never_become_parameters() {
        let tenant = Tenant::parse("acme.eu.auth0.com").unwrap();
        let url = tenant.authorize_url(&AuthorizeRequest {
            client_id: "app",
            redirect_uri: "https://app.example.org/cb?x=1&audience=evil",
            scope: "openid",
            state: "s&connection=evil#&redirect_uri=https://evil.example",
            nonce: "n",
            code_challenge: Some(CodeVerifier::new("v").challenge()),
            login_hint: Some("a&audience=https://evil.example"),
            max_age: Some(0),
            ..AuthorizeRequest::default()
        });
        let names: Vec<String> = url
            .query_pairs()
            .map(|(name, _)| name.into_owned())
            .collect();
        assert_eq!(
            names,
            [
                "response_type",
                "client_id",
                "redirect_uri",
                "scope",
                "state",
                "nonce",
                "code_challenge",
                "code_challenge_method",
                "login_hint",
                "max_age"
            ]
        );
        assert_eq!(url.fragment(), None);
    }

    #[test]
    fn logout_names_the_application() {
        let tenant = Tenant::parse("acme.eu.auth0.com").unwrap();
        let url = tenant.logout_url(&LogoutRequest {
            client_id: "app",
            return_to: Some("https://a.example/?x=1&y"),
        });
        assert_eq!(
            url.as_str(),
            "https://acme.eu.auth0.com/v2/logout?client_id=app&returnTo=https%3A%2F%2Fa.example%2F%3Fx%3D1%26y"
        );
    }
}

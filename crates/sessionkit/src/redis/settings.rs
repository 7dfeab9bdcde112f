//! Where Redis is, and how it is spoken to.

use std::fmt;
use std::time::Duration;

use redis::{ClientTlsConfig, ConnectionAddr, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};

use crate::EncryptionKeys;

/// Settings of a [`super::RedisStore`].
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// How the servers stand together.
    pub mode: RedisMode,
    /// Host and port of each server that may be asked first: the server itself, the sentinels, or some
    /// nodes of the cluster.
    pub hosts: Vec<(String, u16)>,
    /// ACL user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// ACL user at the sentinels, where they ask for one.
    pub sentinel_username: Option<String>,
    /// Password at the sentinels.
    pub sentinel_password: Option<SecretString>,
    /// TLS, to sentinels and servers alike.
    pub tls: Option<RedisTls>,
    /// Begins every key: two scopes never see each other. Letters, digits and `_.:-`.
    pub scope: String,
    /// Keys that seal what is stored.
    pub keys: EncryptionKeys,
    /// Longest wait for a connection. 2 s by default.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, and for a connection that is being restored. 2 s by default.
    pub response_timeout: Duration,
    /// Most commands under way at a time; more are refused. 4096 by default.
    pub in_flight: usize,
    /// Most sessions in the near cache; 0 switches it off. 10 000 by default. Not used with a cluster.
    pub near_cache: usize,
    /// Longest time a session is served from the near cache. 5 s by default.
    pub near_cache_age: Duration,
}

/// How the servers stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// A primary that sentinels know.
    Sentinel {
        /// The primary's name at the sentinels.
        master_name: String,
    },
    /// Redis Cluster.
    Cluster,
}

/// TLS to Redis.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// Certificates (PEM) of the authority to trust. `None` trusts those of the system.
    pub ca: Option<Vec<u8>>,
    /// Our certificate chain and its private key (PEM), where the server asks for one.
    pub client: Option<(Vec<u8>, SecretString)>,
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("ca", &self.ca.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisSettingsError {
    /// No server named.
    #[error("no Redis host given")]
    NoHost,
    /// The scope would not make unambiguous keys.
    #[error("the scope {0:?} may hold letters, digits and _ . : - only")]
    Scope(String),
    /// Certificates or key cannot be used.
    #[error("the TLS certificates for Redis cannot be used")]
    Tls(#[source] redis::RedisError),
    /// There is no runtime to work in.
    #[error("there is no tokio runtime to work in")]
    NoRuntime,
}

impl RedisSettings {
    /// One server, without TLS, with the defaults.
    #[must_use]
    pub fn new(host: &str, port: u16, keys: EncryptionKeys) -> Self {
        Self {
            mode: RedisMode::Standalone,
            hosts: vec![(host.to_owned(), port)],
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls: None,
            scope: "sessions".to_owned(),
            keys,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            in_flight: 4096,
            near_cache: 10_000,
            near_cache_age: Duration::from_secs(5),
        }
    }

    pub(super) fn validate(&self) -> Result<(), RedisSettingsError> {
        if self.hosts.is_empty() {
            return Err(RedisSettingsError::NoHost);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if !self.scope.chars().all(fits) {
            return Err(RedisSettingsError::Scope(self.scope.clone()));
        }
        for (host, port) in &self.hosts {
            self.client(host, *port, false)
                .map_err(RedisSettingsError::Tls)?;
        }
        Ok(())
    }

    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        let tls = self.tls.as_ref()?;
        Some(TlsCertificates {
            client_tls: tls.client.as_ref().map(|(cert, key)| ClientTlsConfig {
                client_cert: cert.clone(),
                client_key: key.expose_secret().as_bytes().to_vec(),
            }),
            root_cert: tls.ca.clone(),
        })
    }

    pub(super) fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        if self.tls.is_none() {
            return ConnectionAddr::Tcp(host.to_owned(), port);
        }
        ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        }
    }

    /// A client of one server, or of one sentinel.
    pub(super) fn client(
        &self,
        host: &str,
        port: u16,
        sentinel: bool,
    ) -> redis::RedisResult<redis::Client> {
        use redis::IntoConnectionInfo as _;
        let (username, password) = if sentinel {
            (&self.sentinel_username, &self.sentinel_password)
        } else {
            (&self.username, &self.password)
        };
        // RESP3 carries invalidations beside answers. Sentinels have none to send.
        let protocol = if sentinel {
            redis::ProtocolVersion::RESP2
        } else {
            redis::ProtocolVersion::RESP3
        };
        // A name for the connection is one more answer to wait for, and nobody needs it.
        let mut redis = redis::RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_skip_set_lib_name();
        if let Some(username) = username {
            redis = redis.set_username(username);
        }
        if let Some(password) = password {
            redis = redis.set_password(password.expose_secret());
        }
        let info = self.address(host, port).into_connection_info()?;
        let info = info.set_redis_settings(redis);
        match self.certificates() {
            Some(certificates) => redis::Client::build_with_tls(info, certificates),
            None => redis::Client::open(info),
        }
    }
}

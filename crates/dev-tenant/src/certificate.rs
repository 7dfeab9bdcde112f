//! A certificate made at the start, for this process only.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// The acceptor and the certificate in PEM.
#[derive(Clone)]
pub(crate) struct MadeCertificate {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) pem: String,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// For `localhost`, `127.0.0.1`, `::1` and one more host.
pub(crate) fn make(host: Option<&str>) -> Result<MadeCertificate, BoxError> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(host.map(str::to_owned));
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    // Named, since a process with two providers has no default one.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(MadeCertificate {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        pem: cert.pem(),
    })
}

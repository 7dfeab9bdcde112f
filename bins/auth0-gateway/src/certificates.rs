//! Looks at certificates and keys before they are used: one that cannot be read is a fault of the
//! configuration, and not an outage that the log tells of.

use gateway_core::config::{self, Environment, Fault, Faults, Loaded, Settings};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use secrecy::ExposeSecret as _;

/// Reads the configuration and looks at the certificates it names.
pub(crate) fn load(environment: &dyn Environment) -> Result<Loaded, Faults> {
    let loaded = config::load(environment)?;
    let faults = faults(environment, &loaded.settings);
    if faults.is_empty() {
        return Ok(loaded);
    }
    Err(Faults(faults))
}

/// What is wrong with the certificates that the settings name.
fn faults(environment: &dyn Environment, settings: &Settings) -> Vec<Fault> {
    // The name that the TLS library itself asks for.
    const AUTHORITIES: &str = "SSL_CERT_FILE";
    let mut faults = Vec::new();
    let mut note = |location: &str, problem: String, mend: &str| {
        faults.push(Fault {
            location: location.to_owned(),
            problem,
            mend: mend.to_owned(),
        });
    };
    if let Some(redis) = &settings.redis {
        if let Some(ca) = &redis.ca
            && let Err(problem) = authorities(ca.as_bytes())
        {
            note(
                "REDIS_CA",
                problem,
                "give the authority's certificate in PEM",
            );
        }
        if let Some((certificate, key)) = &redis.client_certificate
            && let Err((location, problem, mend)) = pair(certificate, key.expose_secret())
        {
            note(location, problem, mend);
        }
    }
    if let Some(path) = environment
        .variable(AUTHORITIES)
        .filter(|path| !path.is_empty())
    {
        // As bytes: around the certificates there may be anything.
        let found = match std::fs::read(&path) {
            Ok(pem) => bundle(&pem),
            Err(error) => Err(format!(
                "names a file that cannot be read ({})",
                error.kind()
            )),
        };
        if let Err(problem) = found {
            let mend = "name a file of certificates in PEM, or remove it for the system's";
            note(AUTHORITIES, problem, mend);
        }
    }
    faults
}

/// Every one of a list that is given for one purpose can be trusted.
fn authorities(pem: &[u8]) -> Result<(), String> {
    let found = certificates(pem)?;
    let some = !found.is_empty();
    match RootCertStore::empty().add_parsable_certificates(found) {
        (_, 0) if some => Ok(()),
        _ => Err("holds no certificate, or one that cannot be read".to_owned()),
    }
}

/// One of a bundle can be trusted: those of systems hold odd ones, which TLS leaves out.
fn bundle(pem: &[u8]) -> Result<(), String> {
    let found = CertificateDer::pem_slice_iter(pem).flatten();
    match RootCertStore::empty().add_parsable_certificates(found) {
        (0, _) => Err("holds no certificate that can be read".to_owned()),
        _ => Ok(()),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        // The parser's own words may quote what it read.
        .map_err(|_| "is no PEM".to_owned())
}

/// Our own certificate and its key.
fn pair(certificate: &str, key: &str) -> Result<(), (&'static str, String, &'static str)> {
    let of_certificate = |problem: String| {
        let mend = "give our own certificate (X.509 version 3) first, in PEM";
        ("REDIS_CLIENT_CERT", problem, mend)
    };
    let of_key = |problem: &str| {
        let mend = "give the private key of REDIS_CLIENT_CERT in PEM";
        ("REDIS_CLIENT_KEY", problem.to_owned(), mend)
    };
    let chain = certificates(certificate.as_bytes()).map_err(of_certificate)?;
    let own = chain
        .first()
        .ok_or_else(|| of_certificate("holds no certificate".to_owned()))?;
    ParsedCertificate::try_from(own)
        .map_err(|error| of_certificate(format!("cannot be used ({error})")))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .ok()
        .and_then(|key| default_provider().key_provider.load_private_key(key).ok())
        .ok_or_else(|| of_key("holds no private key that can be read"))?;
    // A key that cannot say what it belongs to is taken as it is.
    match CertifiedKey::new(chain, key).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(of_key("is the key of another certificate"))
        }
        _ => Ok(()),
    }
}

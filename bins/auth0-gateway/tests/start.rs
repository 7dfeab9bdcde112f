//! The real binary, where it cannot start: the last line says which setting, what is wrong and what to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";
const OTHER_KEY: &str = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=";
const CONFIG: &str = r#"{"clients": {"app": {"auth0Url": "http://127.0.0.1:1", "clientId": "id",
    "clientSecret": "secret", "redirectUrl": "http://localhost/callback", "scopes": ["profile"]}},
    "managementClient": {"auth0Url": "http://127.0.0.1:1", "clientId": "id", "clientSecret": "secret"}}"#;

/// A certificate without extensions, from before version 3.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBFzCBvQIUd4tLnZxXCF44fl+v9vJCs7cIHkowCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwIBcNMjYxMTI0MTk0NDIzWhgPMjEyNjEwMzExOTQ0MjNaMA0xCzAJ
BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeHRAcGj+QDhlxELM
iid1DFbJvhJptii8ayspzQkUwNXM9/Y7mvH6BEKhvNlvUd7as90WpkreaUf423nL
AYEOrjAKBggqhkjOPQQDAgNJADBGAiEAgeU2OMz/AR3AKSqrDiFrKdsePnPbfBR9
zzDtaMzVIu8CIQCwZ+e+L46ZOYeAxI2uvfbmNaIvCi/WscZAHbklPaz6iQ==
-----END CERTIFICATE-----";

fn command(folder: &Path, variables: &[(&str, &str)]) -> Command {
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth0-gateway"));
    command
        .current_dir(folder)
        .env("HTTP_HOST", "127.0.0.1")
        .env("HTTP_PORT", "0")
        .env("DELAY_SHUTDOWN_SECONDS", "0")
        .envs(variables.iter().copied());
    command
}

/// It starts, and stops when told to.
fn starts(folder: &Path, variables: &[(&str, &str)]) {
    use std::io::{BufRead as _, BufReader};
    let mut command = command(folder, variables);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listens = lines
        .map_while(Result::ok)
        .any(|line| line.contains("\"listening\""));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(listens);
}

/// It does not start, and says all of this.
fn refuses(folder: &Path, variables: &[(&str, &str)], status: i32, words: &[&str]) {
    let mut command = command(folder, variables);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    // One that starts after all must not be waited for.
    while child.try_wait().unwrap().is_none() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let said = format!("{out}{err}");
    assert_eq!(output.status.code(), Some(status), "{said}");
    let last = said.lines().last().unwrap();
    for word in words {
        assert!(last.contains(word), "no {word:?} in {last}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &[]);
    command.arg("check-config");
    // Taken for none, the first would leave the management routes open.
    let names = ["MANAGEMENT_API_KEYS", "REDIS_PASSWORD_FILE"];
    for name in names {
        command.env(name, OsStr::from_bytes(b"cl\xe9-0123456789-abcdef"));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for name in names {
        assert!(said.contains(&format!("{name}: is not UTF-8")), "{said}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let junk = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
    let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (own, other) = (made(), made());
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let other_key = other.signing_key.serialize_pem();
    let (junk_certificate, junk_key) = (junk("CERTIFICATE"), junk("PRIVATE KEY"));
    std::fs::write(folder.join("junk.pem"), &junk_certificate).unwrap();
    std::fs::write(folder.join("good.pem"), &certificate).unwrap();
    let odd = [
        b"# caf\xe9\n",
        junk_certificate.as_bytes(),
        certificate.as_bytes(),
    ]
    .concat();
    std::fs::write(folder.join("bundle.pem"), odd).unwrap();
    let client = |certificate, key| {
        [
            ("REDIS_CLIENT_CERT", certificate),
            ("REDIS_CLIENT_KEY", key),
        ]
        .to_vec()
    };
    let good = client(certificate.as_str(), key.as_str());
    for (name, variables) in [
        ("REDIS_CA", vec![("REDIS_CA_FILE", "junk.pem")]),
        ("REDIS_CLIENT_CERT", client(&junk_certificate, &key)),
        ("REDIS_CLIENT_CERT", client(VERSION_1, &key)),
        ("REDIS_CLIENT_KEY", client(&certificate, &junk_key)),
        ("REDIS_CLIENT_KEY", client(&certificate, &other_key)),
        ("SSL_CERT_FILE", vec![("SSL_CERT_FILE", "missing.pem")]),
        ("SSL_CERT_FILE", vec![("SSL_CERT_FILE", "config.json")]),
        ("SSL_CERT_FILE", vec![("SSL_CERT_FILE", "junk.pem")]),
    ] {
        let variables = [&[("REDIS_HOSTS", "127.0.0.1:1")], &*variables].concat();
        refuses(folder, &variables, 2, &[&format!("  {name}: ")]);
    }
    let more = [
        ("REDIS_HOSTS", "127.0.0.1:1"),
        ("REDIS_CA_FILE", "good.pem"),
        ("SSL_CERT_FILE", "bundle.pem"),
    ];
    starts(folder, &[&good, &more[..]].concat());
}

#[test]
fn a_session_file_that_cannot_be_used_is_named_with_its_setting_and_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let nowhere = [("SESSION_STORE_PATH", "missing/sessions.redb")];
    let words = [
        "SESSION_STORE_PATH",
        "missing/sessions.keys",
        "No such file",
    ];
    refuses(folder, &nowhere, 1, &words);

    starts(folder, &[]);
    let file = folder.join("sessions.redb");
    let length = std::fs::metadata(&file).unwrap().len();
    let open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.set_len(length / 2).unwrap();
    let words = [
        "SESSION_STORE_PATH",
        "sessions.redb is damaged",
        "put it back",
    ];
    refuses(folder, &[], 1, &words);

    let keys = folder.join("sessions.keys");
    std::fs::write(&keys, "no key").unwrap();
    let words = [
        "SESSION_STORE_PATH",
        "sessions.keys is damaged",
        "not base64",
    ];
    refuses(folder, &[], 1, &words);
}

#[test]
fn a_folder_for_imports_that_cannot_be_used_is_named_with_its_setting_and_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("file"), "").unwrap();
    for (path, cause) in [
        ("/proc/x", "No such file"),
        ("file", "File exists"),
        ("file/imports", "Not a directory"),
        // There, and not to be written, whoever asks.
        ("/proc/self", "os error"),
    ] {
        let variables = [("IMPORT_FOLDER", path), ("SESSION_STORE", "memory")];
        let words = ["IMPORT_FOLDER", path, cause, "this process may write"];
        refuses(folder, &variables, 1, &words);
    }
    // On Redis they wait there.
    let redis = [("IMPORT_FOLDER", "/proc/x"), ("REDIS_HOSTS", "127.0.0.1:1")];
    starts(folder, &redis);

    starts(folder, &[("IMPORT_FOLDER", "a/b")]);
    let made = folder.join("a/b");
    let mode = std::fs::metadata(&made).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&made).unwrap().count(), 0);
}

#[test]
fn a_lost_key_file_is_asked_back_and_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    starts(folder, &[]);
    let keys = folder.join("sessions.keys");
    assert_eq!(
        std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let kept = std::fs::read(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    let words = ["sessions.keys is not", "backup", "SESSION_ENCRYPTION_KEYS"];
    refuses(folder, &[], 1, &words);
    assert!(!keys.exists());
    std::fs::write(&keys, kept).unwrap();
    starts(folder, &[]);
}

#[test]
fn a_faulty_encryption_key_is_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let words = [
        "SESSION_ENCRYPTION_KEYS",
        "2 bytes",
        "openssl rand -base64 32",
    ];
    refuses(folder, &[("SESSION_ENCRYPTION_KEYS", "abc")], 2, &words);
    let twice = format!("{KEY},{OTHER_KEY},{KEY}");
    let words = ["SESSION_ENCRYPTION_KEYS", "key 3 is given twice"];
    refuses(folder, &[("SESSION_ENCRYPTION_KEYS", &twice)], 2, &words);
}

#[test]
fn management_keys_that_are_none_are_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["MANAGEMENT_API_KEYS", "no entry", "or remove it"];
    let none = [("MANAGEMENT_API_KEYS", ",")];
    refuses(folder.path(), &none, 2, &words);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (setting, other) in [
        ("HTTP_PORT", "MANAGEMENT_HTTP_PORT"),
        ("MANAGEMENT_HTTP_PORT", "HTTP_PORT"),
    ] {
        let variables = [(setting, port.as_str()), (other, "0")];
        let said = format!("\"{setting}: cannot listen on 127.0.0.1:{port}");
        let words = [&said, "Address already in use", "another port"];
        refuses(folder.path(), &variables, 1, &words);
    }
    // Of an address that is not this machine's (RFC 5737).
    let elsewhere = [("HTTP_HOST", "192.0.2.1"), ("MANAGEMENT_ACCESS", "open")];
    let words = ["HTTP_HOST: cannot listen on 192.0.2.1", "own addresses"];
    refuses(folder.path(), &elsewhere, 1, &words);
}

#[test]
fn one_port_for_two_listeners_is_a_fault_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "MANAGEMENT_HTTP_PORT",
        "8080",
        "is HTTP_PORT too",
        "port of its own",
    ];
    let variables = [("HTTP_PORT", ""), ("MANAGEMENT_HTTP_PORT", "8080")];
    refuses(folder.path(), &variables, 2, &words);
}

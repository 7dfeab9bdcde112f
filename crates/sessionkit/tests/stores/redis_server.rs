//! Starts and stops real servers.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
    arguments: Vec<String>,
    tls: bool,
    child: Child,
}

/// Needs `redis-server` to be installed.
fn spawn(arguments: &[String], folder: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec!["--port".to_owned(), port.to_string()];
        arguments.extend(["--save", ""].map(str::to_owned));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Self::run(port, arguments, tempfile::tempdir().unwrap(), false)
    }

    /// One that asks for certificates, with those it needs in its folder.
    pub(crate) fn start_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // Two certificates of one name are told apart by nobody.
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "authority");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let params = rcgen::CertificateParams::new(names).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        write("ca.pem", ca_cert.pem()).unwrap();
        write("cert.pem", cert.pem()).unwrap();
        write("key.pem", key.serialize_pem()).unwrap();
        let port = free_port();
        let arguments = [
            "--port",
            "0",
            "--tls-port",
            &port.to_string(),
            "--save",
            "",
            "--tls-ca-cert-file",
            "ca.pem",
            "--tls-cert-file",
            "cert.pem",
            "--tls-key-file",
            "key.pem",
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self::run(port, arguments, folder, true)
    }

    fn run(port: u16, arguments: Vec<String>, folder: tempfile::TempDir, tls: bool) -> Self {
        let child = spawn(&arguments, folder.path());
        let server = Self {
            port,
            folder,
            arguments,
            tls,
            child,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let start = Instant::now();
        loop {
            // One with a password is up, too.
            let answer = self.cli(&["PING"]);
            if answer.contains("PONG") || answer.contains("NOAUTH") {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pem(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    pub(crate) fn cli(&self, command: &[&str]) -> String {
        self.command(&[], command)
    }

    pub(crate) fn cli_with(&self, password: &str, command: &[&str]) -> String {
        self.command(&["--no-auth-warning", "-a", password], command)
    }

    fn command(&self, options: &[&str], command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(options);
        if self.tls {
            cli.args([
                "-h",
                "localhost",
                "--tls",
                "--cacert",
                "ca.pem",
                "--cert",
                "cert.pem",
            ]);
            cli.args(["--key", "key.pem"]);
        }
        let output = cli
            .args(command)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        text
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.arguments, self.folder.path());
        self.wait();
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A primary, a replica and a sentinel.
pub(crate) struct Sentinel {
    pub(crate) port: u16,
    primary: std::sync::Mutex<Server>,
    replica: Server,
    sentinel: Server,
}

impl Sentinel {
    pub(crate) fn start() -> Self {
        let primary = Server::start();
        let replica = Server::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            primary.port
        );
        std::fs::write(folder.path().join("sentinel.conf"), text).unwrap();
        let arguments = vec!["sentinel.conf".to_owned(), "--sentinel".to_owned()];
        let sentinel = Server::run(port, arguments, folder, false);
        Self {
            port,
            primary: primary.into(),
            replica,
            sentinel,
        }
    }

    /// Until the replica has all, and the sentinel knows it.
    pub(crate) fn wait_for_replica(&self) {
        let start = Instant::now();
        loop {
            let up = self
                .replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up");
            let known = self.sentinel.cli(&["SENTINEL", "REPLICAS", "main"]);
            if up && known.contains(&self.replica.port.to_string()) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{known}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let waited = self.primary.lock().unwrap().cli(&["WAIT", "1", "5000"]);
        assert_eq!(waited.trim(), "1");
    }

    pub(crate) fn kill_primary(&self) {
        self.primary.lock().unwrap().kill();
    }
}

/// Three primaries, and as many replicas where they are asked for.
pub(crate) struct Cluster(Vec<Server>);

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::of(3, "0")
    }

    pub(crate) fn start_with_replicas() -> Self {
        Self::of(6, "1")
    }

    fn of(servers: usize, replicas: &str) -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
        let servers: Vec<Server> = (0..servers).map(|_| Server::start_with(&options)).collect();
        let node = |server: &Server| format!("127.0.0.1:{}", server.port);
        let nodes: Vec<String> = servers.iter().map(node).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(nodes.iter().map(String::as_str));
        create.extend(["--cluster-replicas", replicas, "--cluster-yes"]);
        servers[0].cli(&create);
        let begun = Instant::now();
        let ready = |server: &Server| {
            server
                .cli(&["CLUSTER", "INFO"])
                .contains("cluster_state:ok")
        };
        let linked = |server: &Server| {
            let info = server.cli(&["INFO", "replication"]);
            !info.contains("role:slave") || info.contains("master_link_status:up")
        };
        while !servers.iter().all(|server| ready(server) && linked(server)) {
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(servers)
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.0.iter().map(|server| server.port).collect()
    }

    /// Kills a primary once its replica has all that was written, and says that there was one.
    pub(crate) fn kill_a_primary(&mut self) {
        let primary =
            |server: &Server| server.cli(&["INFO", "replication"]).contains("role:master");
        let at = self.0.iter().position(primary).unwrap();
        assert_eq!(self.0[at].cli(&["WAIT", "1", "5000"]).trim(), "1");
        self.0[at].kill();
    }
}

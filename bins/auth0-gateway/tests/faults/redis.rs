//! Redis servers and sentinels as processes.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A free one, of which the cluster's bus (10 000 above) can make its own.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

pub(crate) struct Redis {
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Child,
}

fn spawn(arguments: &[String], folder: &Path) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Redis {
    /// One that writes down each change before it answers, so that a restart loses nothing.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let mut arguments = vec!["--port", &port_text, "--bind", "127.0.0.1", "--save", ""];
        arguments.extend_from_slice(more);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self::run(port, arguments, tempfile::tempdir().unwrap())
    }

    fn run(port: u16, arguments: Vec<String>, folder: tempfile::TempDir) -> Self {
        let child = spawn(&arguments, folder.path());
        let server = Self {
            port,
            folder,
            arguments,
            child,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let since = Instant::now();
        while !self.cli(&["PING"]).contains("PONG") {
            assert!(since.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn cli(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["--no-auth-warning", "-p", &self.port.to_string()])
            .args(command)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it stand still: it answers nobody, and keeps its connections.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &process]).status();
        assert!(sent.unwrap().success());
    }

    /// Puts something in the place of the file that it saves to.
    pub(crate) fn take_file(&self) {
        let file = self.folder.path().join("dump.rdb");
        let _ = std::fs::remove_file(&file);
        std::fs::create_dir_all(file.join("in the way")).unwrap();
    }

    /// Takes that away again, and waits until it has saved.
    pub(crate) fn give_file(&self) {
        std::fs::remove_dir_all(self.folder.path().join("dump.rdb")).unwrap();
        let since = Instant::now();
        while self.cli(&["SET", "probe", "1"]).contains("MISCONF") {
            assert!(since.elapsed() < Duration::from_secs(20));
            self.cli(&["BGSAVE"]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.arguments, self.folder.path());
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A primary, a replica and a sentinel.
pub(crate) struct Sentinel {
    pub(crate) primary: Redis,
    replica: Redis,
    sentinel: Redis,
}

impl Sentinel {
    pub(crate) fn start() -> Self {
        let primary = Redis::start_with(&[]);
        let port = primary.port.to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
        let folder = tempfile::tempdir().unwrap();
        let own = free_port();
        let text = format!(
            "port {own}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        );
        std::fs::write(folder.path().join("sentinel.conf"), text).unwrap();
        let arguments = vec!["sentinel.conf".to_owned(), "--sentinel".to_owned()];
        let sentinel = Redis::run(own, arguments, folder);
        let all = Self {
            primary,
            replica,
            sentinel,
        };
        let since = Instant::now();
        loop {
            let info = all.replica.cli(&["INFO", "replication"]);
            let known = all.sentinel.cli(&["SENTINEL", "REPLICAS", "main"]);
            if info.contains("master_link_status:up")
                && known.contains(&all.replica.port.to_string())
            {
                return all;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{info} {known}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn host(&self) -> String {
        self.sentinel.host()
    }

    /// Until the replica has all that was written so far.
    pub(crate) fn settle(&self) {
        assert_eq!(self.primary.cli(&["WAIT", "1", "5000"]).trim(), "1");
    }
}

/// Three primaries and a replica of each.
pub(crate) struct Cluster(Vec<Redis>);

impl Cluster {
    pub(crate) fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
        let servers: Vec<Redis> = (0..6).map(|_| Redis::start_with(&options)).collect();
        let hosts: Vec<String> = servers.iter().map(Redis::host).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(hosts.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        servers[0].cli(&create);
        let all = Self(servers);
        let since = Instant::now();
        while !all.0.iter().all(Self::is_ready) {
            assert!(since.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(50));
        }
        all
    }

    fn is_ready(server: &Redis) -> bool {
        let info = server.cli(&["INFO", "replication"]);
        let linked = info.contains("role:master") || info.contains("master_link_status:up");
        linked
            && server
                .cli(&["CLUSTER", "INFO"])
                .contains("cluster_state:ok")
    }

    pub(crate) fn hosts(&self) -> String {
        let hosts: Vec<String> = self.0.iter().map(Redis::host).collect();
        hosts.join(",")
    }

    /// Kills a primary.
    pub(crate) fn kill_one(&mut self) {
        let primary =
            |server: &&mut Redis| server.cli(&["INFO", "replication"]).contains("role:master");
        self.0.iter_mut().find(primary).unwrap().kill();
    }

    /// Until the replicas have all that was written so far.
    pub(crate) fn settle(&self) {
        for server in &self.0 {
            if server.cli(&["INFO", "replication"]).contains("role:master") {
                // Counts what this connection wrote, so it waits for a write of its own.
                let written = server.cli(&["WAIT", "1", "5000"]);
                assert_eq!(written.trim(), "1");
            }
        }
    }
}

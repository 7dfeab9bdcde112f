//! Redis servers as processes.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) struct Redis {
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
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
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        Self::run(port, &arguments, tempfile::tempdir().unwrap())
    }

    fn run(port: u16, arguments: &[String], folder: tempfile::TempDir) -> Self {
        let child = spawn(arguments, folder.path());
        let server = Self {
            port,
            _folder: folder,
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
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The server as a process of its own, and programs that are its clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything may take, on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `tickcast serve` on a free port; it ends with this value.
pub struct Server {
    process: Process,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary under test, without what the test's own environment would set.
fn tickcast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TICKCAST_")) {
        command.env_remove(name);
    }
    command
}

/// Runs another verb of the binary to its end; returns what it printed.
pub fn run(arguments: &[&str]) -> String {
    let output = tickcast(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tickcast {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    pub fn start(arguments: &[&str]) -> Server {
        Server::start_at("127.0.0.1:0", arguments)
    }

    /// The same at an address of the test's choice.
    pub fn start_at(address: &str, arguments: &[&str]) -> Server {
        let mut command = tickcast(&["serve", "--listen", address, "--log", "warn"]);
        let mut process = Process(command.args(arguments).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.trim().strip_prefix("ws://")?.strip_suffix("/ws")?.to_owned()))
            .unwrap_or_else(|| panic!("tickcast serve {arguments:?} printed no address"));
        // It prints some lines more, in the same write.
        assert!(lines.map_while(Result::ok).any(|line| line.contains("Ctrl-C")));
        Server { process, address }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends SIGTERM and waits for the end; how it ended, and how long it took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let kill = format!("kill -TERM {}", self.process.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                return (status, started.elapsed());
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One plain HTTP exchange; the body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {answer}");
        body.to_owned()
    }

    /// Waits until a counter is at least so much.
    pub fn until_counter(&self, name: &str, least: u64) {
        let started = Instant::now();
        while self.counter(name) < least {
            assert!(started.elapsed() < PATIENCE, "{name} is {}, below {least}", self.counter(name));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The sum of a counter over all shards.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = self.http("GET", "/metrics", "");
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// A client in another language, under way.
pub struct Client {
    process: Process,
    stdout: BufReader<ChildStdout>,
    name: String,
}

impl Client {
    pub fn start(program: &Path, arguments: &[&str]) -> Client {
        let mut command = Command::new(program);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
        let mut process =
            Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client"));
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        Client { process, stdout, name: format!("{} {}", program.display(), arguments.join(" ")) }
    }

    /// Waits for a line that it prints on its way.
    pub fn expect_line(&mut self, expected: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        if line.trim_end() != expected {
            self.fail(&format!("printed {line:?} instead of {expected:?}"));
        }
    }

    /// What it says at its end.
    pub fn summary(mut self) -> Value {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        if !self.process.0.wait().unwrap().success() {
            self.fail("failed");
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.name))
    }

    fn fail(&mut self, what: &str) -> ! {
        let mut errors = String::new();
        let _ = self.process.0.kill();
        self.process.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        panic!("{} {what}\n{errors}", self.name);
    }
}

/// The number at a path such as `compared/book`.
pub fn number(value: &Value, path: &str) -> u64 {
    let found = value.pointer(&format!("/{path}"));
    found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {path} in {value}"))
}

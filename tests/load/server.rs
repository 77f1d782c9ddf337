//! The real server as a process of its own: started on a free port, watched through `/metrics` and `/proc`, killed when
//! dropped.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// How long anything may take that is a matter of milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One server at a time: figures of a test are its own.
static TURN: Mutex<()> = Mutex::new(());

/// A running `tickcast serve`.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: NamedTempFile,
    /// Kept open, so that the server can print.
    _out: BufReader<ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    /// Starts `tickcast serve` on a free port of loopback and waits until it says where it listens.
    pub fn start(arguments: &[&str]) -> Server {
        Server::start_fed(arguments, Stdio::null())
    }

    /// As [`Server::start`], with something on its standard input.
    pub fn start_fed(arguments: &[&str], input: Stdio) -> Server {
        let log = NamedTempFile::new().unwrap();
        let to = log.reopen().unwrap().into();
        Server::start_as(arguments, input, log, to)
    }

    /// As [`Server::start`], with something else for its standard error: [`Server::log`] is empty.
    #[allow(dead_code, reason = "the load tests alone let the log go where it goes")]
    pub fn start_with_log(arguments: &[&str], log: Stdio) -> Server {
        Server::start_as(arguments, Stdio::null(), NamedTempFile::new().unwrap(), log)
    }

    fn start_as(arguments: &[&str], input: Stdio, log: NamedTempFile, error: Stdio) -> Server {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(error)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            if out.read_line(&mut line).unwrap() == 0 {
                let status = child.wait().unwrap();
                panic!("no greeting, {status}: {}", fs::read_to_string(log.path()).unwrap());
            }
            let url = line.trim().strip_prefix("ws://").and_then(|url| url.strip_suffix("/ws"));
            if let Some(address) = url {
                break address.parse().unwrap();
            }
        };
        Server { child, address, log, _out: out, _turn: turn }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has printed to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// It runs, and none of its threads has panicked.
    pub fn assert_well(&mut self) {
        let ended = self.child.try_wait().unwrap();
        let log = self.log();
        assert!(ended.is_none(), "the server ended, {ended:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Body of the answer to `GET path`.
    pub fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// Body of the answer to `POST path`.
    pub fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.exchange(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn exchange(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        assert!(head.starts_with("HTTP/1.1 200"), "{request}: {answer}");
        body.to_owned()
    }

    /// Every metric, summed over its labels.
    pub fn metrics(&self) -> Metrics {
        let mut sums = BTreeMap::new();
        for line in self.get("/metrics").lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            *sums.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().unwrap();
        }
        Metrics(sums)
    }

    /// Waits until the metrics are as they should be, and returns them; panics after [`PATIENCE`].
    pub fn settled(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        self.settled_within(PATIENCE, what, condition)
    }

    /// The same with another patience, for what takes its time by design.
    pub fn settled_within(
        &self,
        patience: Duration,
        what: &str,
        condition: impl Fn(&Metrics) -> bool,
    ) -> Metrics {
        let began = Instant::now();
        loop {
            let metrics = self.metrics();
            if condition(&metrics) {
                return metrics;
            }
            assert!(
                began.elapsed() < patience,
                "{what}: not after {patience:?}: {metrics:#?}\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Nobody is left: sessions, subscriptions, bytes that wait, handshakes. (The one connection that asks is itself
    /// none of these but the last.)
    pub fn wait_until_empty(&self) {
        self.settled("nobody is left", |metrics| {
            let left = ["tickcast_sessions", "tickcast_subscriptions", "tickcast_outbox_bytes"];
            left.iter().all(|name| metrics.get(name) == 0.0)
                && metrics.get("tickcast_door_connections") <= 1.0
        });
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Resident bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Bytes of address space.
    pub fn address_space(&self) -> u64 {
        self.memory("VmSize:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// Processor time taken so far by all its threads.
    pub fn processor_time(&self) -> Duration {
        processor_time(&format!("/proc/{}/stat", self.child.id()))
    }

    /// Kernel's number of one of its threads.
    pub fn thread(&self, name: &str) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let found = tasks
            .map(|task| task.unwrap().path())
            .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name));
        found.and_then(|task| task.file_name()?.to_str()?.parse().ok()).expect(name)
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Sends a signal and waits for the end.
    pub fn end_with(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "{signal} did not end it: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of the process of this test so far.
pub fn own_processor_time() -> Duration {
    processor_time("/proc/self/stat")
}

fn processor_time(stat: &str) -> Duration {
    let stat = fs::read_to_string(stat).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Hundredths of a second on every architecture that Rust's standard library runs on.
    Duration::from_millis(ticks * 10)
}

/// Metrics by name.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// One of them; panics where it does not exist.
    pub fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no metric {name} in {:#?}", self.0))
    }
}

//! The server that is measured: started for the run, or running somewhere.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::BenchError;
use crate::client::Address;

/// How long a server may take until it says where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(3);
/// Steps in which its end is waited for.
const END_STEP: Duration = Duration::from_millis(10);

/// A server that was started for this run, and ends with it.
pub(super) struct Server {
    process: Process,
    address: Address,
}

/// A process that ends when it is dropped.
struct Process {
    child: Child,
    /// Its end tells the process to end.
    stdin: Option<ChildStdin>,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Nanoseconds of CPU of all its threads.
    pub cpu_ns: u64,
    /// Nanoseconds that the kernel spent in soft interrupts, where they are told: on the server's core if it is pinned,
    /// else on all.
    pub softirq_ns: u64,
    /// Resident bytes.
    pub resident: u64,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub fn start(command: &[String], core: Option<usize>) -> Result<Server, BenchError> {
        let failed = |fault: String| BenchError::Start { command: command.join(" "), fault };
        let Some((program, arguments)) = command.split_first() else {
            return Err(failed("no program".into()));
        };
        // The server keeps its core; this thread goes back where it was.
        let pinned = core.map(Pinned::to).transpose().map_err(BenchError::System)?;
        let spawned =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        drop(pinned);
        let mut child = spawned.map_err(|error| failed(error.to_string()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            // What it prints later is nobody's; reading it keeps the pipe from filling.
            for line in
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok)
            {
                // The first is what is waited for.
                let _ = said.send(line);
            }
        });
        let process = Process { child, stdin };
        let line = heard
            .recv_timeout(START_TIMEOUT)
            .map_err(|_| failed("it does not say where it listens".into()))?;
        let address = line.trim().parse().map_err(|error| failed(format!("{error}")))?;
        Ok(Server { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.process.child.id()
    }

    /// Makes it publish.
    pub fn publish(&mut self) -> io::Result<()> {
        self.process.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"start\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let steps = END_TIMEOUT.as_millis() / END_STEP.as_millis();
        for _ in 0..steps {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(END_STEP);
        }
        // Gone already, or not to be killed: either way there is nothing else to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps this thread, and what it starts meanwhile, on one core; back where it was when dropped.
pub(super) struct Pinned(CpuSet);

impl Pinned {
    pub fn to(core: usize) -> io::Result<Pinned> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one)?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Where it cannot go back, it stays.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// The cores that this thread may use.
pub(super) fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// What a process has used; `None` where the system does not say.
pub(super) fn usage(process: u32, core: Option<usize>) -> Option<Usage> {
    let mut cpu_ns = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let path = task.ok()?.path().join("schedstat");
        // A thread that has ended meanwhile is left out.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        cpu_ns += text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    }
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let resident = field(&status, "VmRSS:").unwrap_or(0) * 1_024;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = core.map_or("cpu".to_owned(), |core| format!("cpu{core}"));
    let softirq = stat.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some(&name)).then(|| fields.nth(6)?.parse::<u64>().ok()).flatten()
    });
    // In hundredths of a second, whatever the kernel's own clock does.
    Some(Usage { cpu_ns, softirq_ns: softirq.unwrap_or(0) * 10_000_000, resident })
}

/// Nanoseconds of CPU of this process, threads that have ended included, in steps of 10 ms; 0 where the system does not
/// say.
pub(super) fn own_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 10_000_000
}

/// The number behind a name in the lines of a file of `/proc`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The sum of a metric over its labels.
pub(super) fn metric(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_labels() {
        let text =
            "# HELP a_total x\na_total{shard=\"0\"} 2\na_total{shard=\"1\"} 3.5\na_total_more 9\nb 7\n";
        assert_eq!(metric(text, "a_total"), Some(5.5));
        assert_eq!(metric(text, "b"), Some(7.0));
        assert_eq!(metric(text, "c"), None);
    }

    #[test]
    fn a_thread_is_kept_on_a_core_for_a_time() {
        let before = cores();
        let pinned = Pinned::to(before[0]).unwrap();
        assert_eq!(cores(), before[..1]);
        drop(pinned);
        assert_eq!(cores(), before);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = usage(std::process::id(), None).unwrap();
        assert!(usage.cpu_ns > 0 && usage.resident > 1 << 20, "{usage:?}");
        assert_eq!(super::usage(u32::MAX, None), None);
        let begun = own_cpu_ns();
        while own_cpu_ns() < begun + 20_000_000 {
            std::hint::black_box(begun);
        }
    }

    #[test]
    fn a_server_that_says_nothing_or_nonsense_is_named_with_its_fault() {
        for (command, fault) in [
            (&["false"][..], "does not say where it listens"),
            (&["echo", "hello"], "\"hello\" is no address"),
            (&["/no/such/program"], "No such file"),
        ] {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            let Err(error) = Server::start(&command, None) else { panic!("{command:?} serves") };
            let text = error.to_string();
            assert!(text.contains(fault) && text.contains(&command[0]), "{text}");
        }
    }
}

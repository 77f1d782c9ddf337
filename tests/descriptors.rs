//! The accept loop at the limit of open files: it must neither spin nor stay shut.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server's process; ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// User and system time of all threads, in the kernel's hundredths of a second.
    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        after_name.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }
}

fn line_with(lines: &mut impl Iterator<Item = std::io::Result<String>>, part: &str) -> String {
    lines.map(|line| line.unwrap()).find(|line| line.contains(part)).expect(part)
}

#[test]
fn at_the_limit_of_open_files_the_door_waits_quietly_and_opens_again() {
    let mut server = Server(
        Command::new("sh")
            .args(["-c", "ulimit -n 96 && exec \"$0\" serve --listen 127.0.0.1:0 --rate 1 --shards 1"])
            .arg(assert_cmd::cargo::cargo_bin("tickcast"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut out = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let url = line_with(&mut out, "ws://");
    let address = url.trim().trim_start_matches("ws://").trim_end_matches("/ws");

    let taken: Vec<_> = (0..128).map(|_| TcpStream::connect(address).unwrap()).collect();
    line_with(&mut log, "cannot accept connections");
    let (before, began) = (server.cpu_ticks(), Instant::now());
    // Nothing comes on a connection that is still in the backlog: this waits for a second.
    let mut waiting = taken.last().unwrap();
    waiting.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(waiting.read(&mut [0]).is_err());
    let share = (server.cpu_ticks() - before) as f64 / 100.0 / began.elapsed().as_secs_f64();
    assert!(share <= 0.05, "{:.0} % of a core at the limit", share * 100.0);

    let began = Instant::now();
    drop(taken);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    println!("{:.1} % of a core at the limit, open again after {:?}", share * 100.0, began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    line_with(&mut log, "accepting connections again");
}

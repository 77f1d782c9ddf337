//! Recordings, by `tickcast serve --record` and `tickcast record`: what is published, or received, is in the files, whatever
//! happens to the disk, the server or the connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tickcast::feed::repair::repair;
use tickcast::feed::verify::verify;
use tickcast::feed::{Reader, loss_reason};
use tickcast::model::{Deriver, Event, Level, Order, Primary, PrimaryKind, Side, primary_flags};

mod common;
#[path = "load/server.rs"]
#[allow(dead_code, reason = "made for the load tests, which use all of it")]
mod server;

use server::Server;

const MARKET: [&str; 4] = ["--symbols", "4", "--seed", "7"];

/// What can be read of a file.
fn records(path: &Path) -> Vec<Primary> {
    let mut reader = Reader::open(path).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block);
    }
    records
}

/// What the clients of a replay of those files, one after the other, hold in the end: levels, and orders by their places.
fn books(paths: &[PathBuf]) -> Vec<[(Vec<Level>, Vec<Order>); 2]> {
    let catalog = Reader::open(&paths[0]).unwrap().catalog().clone();
    let (mut deriver, mut events) = (Deriver::new(catalog.clone()), Vec::new());
    for primary in paths.iter().flat_map(|path| records(path)) {
        deriver.apply(&primary, &mut events).unwrap();
        events.clear();
    }
    assert_eq!(deriver.inconsistencies(), 0);
    let side_of = |number, side| {
        (deriver.book(number).levels(side).collect(), deriver.orders(number).orders(side).collect())
    };
    catalog.iter().map(|(number, _)| [Side::Bid, Side::Ask].map(|side| side_of(number, side))).collect()
}

/// The digest of what is derived of these records, as `tickcast simulate --digest` takes it.
fn digest(path: &Path) -> u32 {
    let reader = Reader::open(path).unwrap();
    let (mut deriver, mut events) = (Deriver::new(reader.catalog().clone()), Vec::<Event>::new());
    records(path).iter().for_each(|primary| deriver.apply(primary, &mut events).unwrap());
    events.iter().fold(0, |crc, event| crc32c::crc32c_append(crc, &event.digest_bytes()))
}

/// The files of a recording, in their order.
fn files(first: &Path) -> Vec<PathBuf> {
    let further = (2..).map(|number| first.with_extension(format!("{number}.feed")));
    std::iter::once(first.to_owned()).chain(further).take_while(|path| path.exists()).collect()
}

fn serve(file: &Path, arguments: &[&str]) -> Server {
    Server::start(&[&["--record", file.to_str().unwrap()], arguments].concat())
}

fn is_whole(path: &Path) -> bool {
    verify(path, &mut |_, _| {}).unwrap().ok
}

#[test]
fn a_recorded_run_is_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (run, simulated) = (folder.path().join("run.feed"), folder.path().join("simulated.feed"));
    let server = serve(&run, &[&MARKET[..], &["--ticks", "20000", "--rate", "max"]].concat());
    server.settled("the end", |metrics| {
        metrics.get("tickcast_source_ended") == 1.0
            && metrics.get("tickcast_record_waiting") == 0.0
            && metrics.get("tickcast_record_records_total") > 20_000.0
    });
    let metrics = server.metrics();
    assert_eq!(metrics.get("tickcast_record_lost_total"), 0.0);
    assert!(server.end_with("TERM").success());
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["simulate", "--ticks", "20000", "--digest", "--out", simulated.to_str().unwrap()])
        .args(MARKET)
        .output()
        .unwrap();
    assert!(records(&run) == records(&simulated), "record for record");
    let told = String::from_utf8(output.stdout).unwrap();
    let expected: u32 =
        told.lines().find_map(|line| line.strip_prefix("crc32c = ")).unwrap().parse().unwrap();
    assert_eq!(digest(&run), expected, "and so all that is published");
    assert!(is_whole(&run));
}

#[test]
fn each_of_the_files_of_a_recording_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (first, whole) = (folder.path().join("day.feed"), folder.path().join("whole.feed"));
    // A file of an earlier recording is passed over.
    fs::write(folder.path().join("day.3.feed"), "not ours").unwrap();
    let limits = ["--record-rotate-bytes", "65536", "--ticks", "40000", "--rate", "max"];
    let server = serve(&first, &[&MARKET[..], &limits].concat());
    server.settled("the end", |metrics| {
        metrics.get("tickcast_source_ended") == 1.0 && metrics.get("tickcast_record_waiting") == 0.0
    });
    assert!(server.end_with("TERM").success());
    fs::remove_file(folder.path().join("day.3.feed")).unwrap();
    let mut paths = vec![first.clone(), folder.path().join("day.2.feed")];
    paths.extend(
        (4..).map(|number| folder.path().join(format!("day.{number}.feed"))).take_while(|p| p.exists()),
    );
    assert!(paths.len() >= 4, "{paths:?}");

    let simulate = ["simulate", "--ticks", "40000", "--out", whole.to_str().unwrap()];
    assert!(
        Command::new(env!("CARGO_BIN_EXE_tickcast")).args(simulate).args(MARKET).status().unwrap().success()
    );
    let is_news = |primary: &&Primary| primary.flags & primary_flags::SNAPSHOT == 0;
    let news: Vec<Primary> =
        paths.iter().flat_map(|path| records(path)).filter(|primary| is_news(&primary)).collect();
    let expected: Vec<Primary> = records(&whole).into_iter().filter(|primary| is_news(&primary)).collect();
    assert!(news == expected, "together they are the run");
    let at_the_end = books(&[whole]);
    assert_eq!(books(&paths[paths.len() - 1..]), at_the_end, "the last by itself");
    assert_eq!(books(&paths), at_the_end);
    assert!(paths.iter().all(|path| is_whole(path)));
}

#[test]
fn history_that_ends_ends_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (source, first) = (folder.path().join("source.feed"), folder.path().join("loop.feed"));
    let simulate = ["simulate", "--ticks", "500", "--symbols", "2", "--out", source.to_str().unwrap()];
    assert!(Command::new(env!("CARGO_BIN_EXE_tickcast")).args(simulate).status().unwrap().success());
    let server = serve(&first, &["--replay", source.to_str().unwrap(), "--loop", "--speed", "1000"]);
    server.settled("three files", |metrics| metrics.get("tickcast_record_files_total") >= 3.0);
    assert!(server.end_with("INT").success());
    let paths = files(&first);
    let expected = records(&source);
    assert!(paths.len() >= 3 && paths.iter().all(|path| is_whole(path)));
    for path in &paths[..paths.len() - 1] {
        assert!(records(path) == expected, "{}: one pass", path.display());
    }
}

#[test]
fn files_begin_anew_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("day.feed");
    let times = ["--record-rotate", "1s", "--record-flush", "100ms", "--rate", "2000"];
    let server = serve(&first, &[&MARKET[..], &times].concat());
    server.settled("three files", |metrics| metrics.get("tickcast_record_files_total") >= 3.0);
    assert!(server.end_with("TERM").success());
    let paths = files(&first);
    assert!(paths.iter().all(|path| is_whole(path)));
    assert_eq!(books(&paths[paths.len() - 1..]), books(&paths));
}

#[test]
fn a_folder_that_comes_back_is_recorded_into_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let times = ["--record-rotate", "1s", "--record-flush", "100ms", "--rate", "2000"];
    let server = serve(&gone.join("day.feed"), &[&MARKET[..], &times].concat());
    fs::remove_dir_all(&gone).unwrap();
    server
        .settled("a folder that is gone", |metrics| metrics.get("tickcast_record_write_errors_total") > 0.0);
    fs::create_dir(&gone).unwrap();
    server.settled("a second file", |metrics| metrics.get("tickcast_record_files_total") >= 2.0);
    let log = server.log();
    assert!(server.end_with("TERM").success());
    assert!(log.contains("the recording waits: cannot create"), "{log}");
    assert_eq!(log.matches("the disk takes the recording again").count(), 1, "{log}");
}

#[test]
fn nothing_is_overwritten_and_what_cannot_be_written_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there.feed");
    fs::write(&path, "precious").unwrap();
    let missing = folder.path().join("none/a.feed");
    for (file, expected) in [(&path, "nothing is overwritten"), (&missing, "No such file or directory")] {
        let output = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["serve", "--listen", "127.0.0.1:0", "--record", file.to_str().unwrap()])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(message.contains(expected) && message.contains(file.to_str().unwrap()), "{message}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// Killed at any moment a recorder has lost no more than one flush interval, and what it left is made whole.
#[test]
fn a_killed_recorder_loses_at_most_a_flush_interval() {
    let folder = tempfile::tempdir().unwrap();
    const FLUSH: Duration = Duration::from_millis(100);
    let rate = 20_000.0;
    let mut most = Duration::ZERO;
    for run in 0..20_u64 {
        let path = folder.path().join(format!("{run}.feed"));
        let server = serve(&path, &[&MARKET[..], &["--record-flush", "100ms", "--rate", "20000"]].concat());
        // Not the same moment within the interval each time.
        let ticks = 3_000.0 + (run.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51) as f64;
        let before = server.settled("a moment", |metrics| metrics.get("tickcast_ticks_total") >= ticks);
        server.signal("KILL");
        drop(server);
        let published = before.get("tickcast_ticks_total");
        // A kill may be too early for the first block.
        let repaired = repair(&path, None, &mut |_, _| {}).unwrap();
        assert!(is_whole(&path));
        let recorded = records(&path);
        assert_eq!(recorded.len() as u64, repaired.records);
        let is_tick = |primary: &&Primary| primary.is_last() && primary.flags & primary_flags::SNAPSHOT == 0;
        let lost = published - recorded.iter().filter(is_tick).count() as f64;
        most = most.max(Duration::from_secs_f64((lost / rate).max(0.0)));
    }
    println!("killed 20 times: at most {most:?} of the market lost");
    // The interval, and as long as a thread may wait for its turn on a machine that is busy with other tests.
    assert!(most < FLUSH + Duration::from_millis(900), "{most:?}");
}

/// How long it may take on a busy machine to fill the recorder's queue.
const LONG: Duration = Duration::from_secs(120);

/// A disk of so many KiB; `None` where this process may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, kibibytes: u32) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let size = format!("size={kibibytes}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_holds_up_nobody_and_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 24 * 1_024) else {
        return common::skip("only root may mount a small disk");
    };
    // Something that can be taken away.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 24 * 1_024 * 1_024 - 256 * 1_024]).unwrap();
    let (path, whole) = (disk.0.join("day.feed"), folder.path().join("whole.feed"));
    let market = [&MARKET[..], &["--ticks", "600000"]].concat();
    let mut server = serve(&path, &[&market[..], &["--record-flush", "100ms", "--rate", "200000"]].concat());
    let full = server.settled_within(LONG, "a full disk", |metrics| {
        metrics.get("tickcast_record_write_errors_total") > 0.0
    });
    let lossy =
        server.settled_within(LONG, "losses", |metrics| metrics.get("tickcast_record_lost_total") > 20_000.0);
    // The market went on all the time, as fast as before.
    assert!(lossy.get("tickcast_ticks_total") > full.get("tickcast_ticks_total") + 20_000.0);
    assert_eq!(server.get("/readyz"), "ready\n");
    server.assert_well();
    let log = server.log();
    assert!(log.contains("the recording waits: cannot write") && log.contains("No space left"), "{log}");
    assert_eq!(log.matches("the recording waits").count(), 1, "it is said once: {log}");
    // With room again it goes on, and the books are right again.
    fs::remove_file(&ballast).unwrap();
    let ended = server.settled_within(LONG, "the end", |metrics| {
        metrics.get("tickcast_source_ended") == 1.0 && metrics.get("tickcast_record_waiting") == 0.0
    });
    assert!(server.end_with("TERM").success());
    let reader = Reader::open(&path).unwrap();
    assert!(reader.is_complete() && is_whole(&path));
    assert!(reader.losses().iter().all(|at| at.loss.reason == loss_reason::REFUSED));
    let declared: u64 = reader.losses().iter().filter_map(|at| at.loss.known_records()).sum();
    assert_eq!(declared as f64, ended.get("tickcast_record_lost_total"), "every record of it");
    let simulate = ["simulate", "--ticks", "600000", "--out", whole.to_str().unwrap()];
    assert!(
        Command::new(env!("CARGO_BIN_EXE_tickcast")).args(simulate).args(MARKET).status().unwrap().success()
    );
    assert_eq!(books(&[path]), books(&[whole]));
}

/// `tickcast record`, killed when dropped.
struct Client(Child);

impl Client {
    fn start(server: &Server, file: &Path, arguments: &[&str]) -> Client {
        let url = format!("ws://{}/ws", server.address());
        let child = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["record", "--url", &url, "--out", file.to_str().unwrap()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Client(child)
    }

    /// Stops it; what it printed.
    fn stop(mut self, signal: &str) -> String {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let mut told = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut told).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}: {told}");
        told
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until every client was handed everything.
fn until_heard(server: &Server, sessions: f64) {
    server.settled("the end of the market", |metrics| {
        metrics.get("tickcast_source_ended") == 1.0
            && metrics.get("tickcast_sessions") == sessions
            && metrics.get("tickcast_outbox_bytes") == 0.0
    });
}

/// Waits until a recording that goes on has come so far.
fn until_recorded(path: &Path, is_there: impl Fn(&[[(Vec<Level>, Vec<Order>); 2]]) -> bool) {
    let began = Instant::now();
    while !is_there(&books(&[path.to_owned()])) {
        assert!(began.elapsed() < server::PATIENCE, "{} never got there", path.display());
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

fn simulated(folder: &Path, ticks: &str, market: &[&str]) -> PathBuf {
    let path = folder.join("simulated.feed");
    let simulate = ["simulate", "--ticks", ticks, "--out", path.to_str().unwrap()];
    let status = Command::new(env!("CARGO_BIN_EXE_tickcast")).args(simulate).args(market).status().unwrap();
    assert!(status.success());
    path
}

#[test]
fn a_client_that_records_has_the_books_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[&MARKET[..], &["--ticks", "12000", "--rate", "4000"]].concat());
    let paths = ["orders", "book", "quotes"].map(|name| folder.path().join(format!("{name}.feed")));
    let [orders, levels, quotes] = &paths;
    // It joins a market that runs.
    server.settled("a market", |metrics| metrics.get("tickcast_ticks_total") > 500.0);
    let clients = [
        Client::start(&server, orders, &[]),
        Client::start(&server, levels, &["--channels", "book", "trades"]),
        Client::start(&server, quotes, &["--channels", "quotes", "--symbols", "*"]),
    ];
    until_heard(&server, 3.0);
    let expected = books(&[simulated(folder.path(), "12000", &MARKET)]);
    // Every order in its place; every level; the best of them.
    until_recorded(orders, |found| found == expected);
    until_recorded(levels, |found| {
        found
            .iter()
            .zip(&expected)
            .all(|(it, expected)| [0, 1].map(|s| &it[s].0) == [0, 1].map(|s| &expected[s].0))
    });
    until_recorded(quotes, |found| {
        let best = |it: &[(Vec<Level>, Vec<Order>); 2]| [0, 1].map(|side| it[side].0.first().copied());
        found.iter().zip(&expected).all(|(it, expected)| best(it) == best(expected))
    });
    for client in clients {
        let told = client.stop("INT");
        assert!(told.contains("merged by the server "), "{told}");
    }
    assert!(paths.iter().all(|path| is_whole(path)));
    // Each record says when it was received, and only what was there before is a snapshot.
    let all = records(orders);
    assert!(all.iter().all(|primary| primary.ts_recv_ns > primary.ts_event_ns.min(1 << 60)));
    assert!(all.iter().any(|primary| primary.flags & primary_flags::SNAPSHOT == 0));
    assert!(all.iter().any(|primary| primary.kind() == Some(PrimaryKind::Trade)));
}

#[test]
fn what_a_client_misses_is_declared_and_the_books_are_right_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.feed");
    let server = Server::start(&[&MARKET[..], &["--rate", "2000"]].concat());
    let address = server.address().to_string();
    let client = Client::start(&server, &path, &[]);
    server.settled("a session", |metrics| metrics.get("tickcast_delivered_total") > 1_000.0);
    drop(server);
    // Another history, under the same address.
    let market = ["--symbols", "4", "--seed", "9"];
    let server = Server::start(
        &[&["--listen", &address], &market[..], &["--ticks", "6000", "--rate", "2000"]].concat(),
    );
    until_heard(&server, 1.0);
    let expected = books(&[simulated(folder.path(), "6000", &market)]);
    until_recorded(&path, |found| found == expected);
    let told = client.stop("TERM");
    assert!(told.contains("lost an unknown number"), "{told}");
    let reader = Reader::open(&path).unwrap();
    let reset = |number: u32| {
        let of_it = reader.losses().iter().filter(|at| at.loss.instrument == number);
        of_it.filter(|at| at.loss.reason == loss_reason::RESET).count()
    };
    assert_eq!([0, 1, 2, 3].map(reset), [1; 4], "{:?}", reader.losses());
    assert!(is_whole(&path));
}

#[test]
fn a_client_whose_disk_is_full_says_what_is_left_and_how_to_finish_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk"), 128) else {
        return common::skip("only root may mount a small disk");
    };
    let path = disk.0.join("day.feed");
    let server = Server::start(&[&MARKET[..], &["--rate", "20000"]].concat());
    let url = format!("ws://{}/ws", server.address());
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["record", "--url", &url, "--out", path.to_str().unwrap()])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let reader = Reader::open(&path).unwrap();
    assert!(!reader.is_complete() && reader.records() > 0);
    let left = format!(
        "{} holds {} records and was not finished: `tickcast repair`",
        path.display(),
        reader.records()
    );
    assert!(message.contains("No space left") && message.contains(&left), "{message}");
    let whole = folder.path().join("whole.feed");
    let repair = ["repair", path.to_str().unwrap(), "--out", whole.to_str().unwrap()];
    assert!(Command::new(env!("CARGO_BIN_EXE_tickcast")).args(repair).status().unwrap().success());
    assert_eq!(Reader::open(&whole).unwrap().records(), reader.records());
}

#[test]
fn a_client_records_for_a_time_and_refuses_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.feed");
    let server = Server::start(&[&MARKET[..], &["--rate", "500"]].concat());
    let url = format!("ws://{}/ws", server.address());
    let record = |arguments: &[&str]| {
        let arguments = [&["record", "--url", &url, "--out", path.to_str().unwrap()], arguments].concat();
        Command::new(env!("CARGO_BIN_EXE_tickcast")).args(arguments).output().unwrap()
    };
    for (arguments, code, expected) in [
        (&["--symbols", "NOPE"][..], 1, "the server has no instrument \"NOPE\"; it has BTC-USD"),
        (&["--channels", "bars"], 2, "allowed: quotes, trades, book, orders, status"),
        (&["--duration", "soon"], 2, "allowed: a number with ms, s, m, h or d, such as 250ms"),
    ] {
        let output = record(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(!path.exists(), "nothing is begun");
    }
    // A stream that is not there is known only once the file was begun.
    let nowhere = url.replace("/ws", "/nowhere");
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["record", "--url", &nowhere, "--out", path.to_str().unwrap()])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("404"), "{message}");
    assert!(!path.exists(), "nothing is left");
    let output = record(&["--duration", "1s", "--symbols", "BTC-USD"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reader = Reader::open(&path).unwrap();
    assert!(reader.is_complete() && reader.records() > 10);
    assert_eq!(
        reader.catalog().instruments().iter().map(|it| it.symbol.as_str()).collect::<Vec<_>>(),
        ["BTC-USD"]
    );
    let again = record(&["--duration", "1s"]);
    assert!(String::from_utf8(again.stderr).unwrap().contains("nothing is overwritten"));
    // To go on with it is another thing: what is missing between is declared, the rest follows.
    let first = records(&path);
    let other = record(&["--append", "--duration", "1s", "--symbols", "ETH-USD"]);
    let message = String::from_utf8(other.stderr).unwrap();
    assert!(message.contains("begun with other instruments") && message.contains("ETH-USD"), "{message}");
    assert!(is_whole(&path) && records(&path) == first, "nothing was changed");
    for rounds in 1..=2 {
        let output = record(&["--append", "--duration", "1s", "--symbols", "BTC-USD"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("lost an unknown number"), "{told}");
        let all = records(&path);
        assert!(is_whole(&path) && all.len() > first.len() + 10 && all.starts_with(&first));
        let reader = Reader::open(&path).unwrap();
        let declared: Vec<_> = reader.losses().iter().map(|at| at.loss.reason).collect();
        assert_eq!(declared, vec![loss_reason::MISSED; rounds]);
    }
}

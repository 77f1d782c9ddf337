//! `tickcast simulate` as a user meets it, and what its files hold: the simulated market itself.

use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use tempfile::TempDir;
use tickcast::feed::inspect::inspect;
use tickcast::feed::{Replay, ReplaySettings, Speed};
use tickcast::model::{Deriver, Event, Primary};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

/// Exit code, standard output, standard error.
fn simulate(line: &str, out: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::cargo_bin("tickcast").unwrap();
    command.arg("simulate").args(line.split_whitespace());
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}

/// Everything that a source says, and the events that follow from it.
fn all(mut source: impl Source) -> (Vec<Primary>, Vec<[u8; 64]>) {
    let mut deriver = Deriver::new(Arc::clone(&source.catalog()));
    let (mut primaries, mut events, mut batch) = (Vec::new(), Vec::new(), Vec::<Primary>::new());
    loop {
        let next = source.poll(0, &mut batch).unwrap();
        for primary in &batch {
            deriver.apply(primary, &mut events).unwrap();
        }
        primaries.append(&mut batch);
        if next == Next::Ended {
            let bytes = events.iter().map(Event::digest_bytes).collect();
            return (primaries, bytes);
        }
        assert_eq!(next, Next::Now);
    }
}

#[test]
fn a_file_holds_the_simulated_market_and_gives_it_back() {
    let folder = TempDir::new().unwrap();
    let [first, second, other] = ["first", "second", "other"].map(|name| folder.path().join(name));
    let (code, said, errors) = simulate("--ticks 3000 --symbols 3 --seed 7", Some(&first));
    assert_eq!((code, errors.as_str()), (0, ""), "no progress bar in a pipe");

    let instruments = profiles(3);
    let settings = SimulationSettings { seed: 7, instruments, rate: Rate::Max, ticks: Some(3_000) };
    let (primaries, events) = all(Simulation::new(settings).unwrap());
    let report = inspect(&first, &mut |_, _| {}).unwrap();
    assert!(said.contains(&format!("{} records, 3 symbols", primaries.len())), "{said}");
    assert_eq!(report.source, "simulated market: 3 symbols, 3000 ticks, seed 7");
    assert_eq!(report.fault, None, "complete");
    assert_eq!(
        (report.records, report.events),
        (primaries.len() as u64, 3_003),
        "an opening each, then the ticks"
    );
    assert_eq!(report.inconsistencies, 0);

    let at_once = ReplaySettings { speed: Speed::MAX, ..ReplaySettings::default() };
    let replayed = all(Replay::open(std::slice::from_ref(&first), at_once).unwrap());
    assert!(replayed == (primaries, events), "a replay says what the simulation said");

    assert_eq!(simulate("--ticks 3000 --symbols 3 --seed 7", Some(&second)).0, 0);
    assert_eq!(simulate("--ticks 3000 --symbols 3 --seed 8", Some(&other)).0, 0);
    let bytes = |path| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&second), "one seed, one file");
    assert!(bytes(&first) != bytes(&other), "another seed, another file");
}

#[test]
fn the_digest_is_the_golden_one() {
    let golden = include_str!("data/sim_digest.txt");
    let lines: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    let (code, said, errors) = simulate("--ticks 100000 --seed 1 --symbols 20 --digest", None);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_list_of_instruments_is_simulated() {
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/instruments.toml");
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("own.feed");
    let (code, said, errors) = simulate(&format!("--ticks 500 --symbols {list} --digest"), Some(&out));
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(said.contains("symbols = 4\n"), "{said}");
    let symbols: Vec<_> =
        inspect(&out, &mut |_, _| {}).unwrap().instruments.into_iter().map(|known| known.symbol).collect();
    assert_eq!(symbols, ["ACME", "TUNA-USD", "NOK-SEK", "RARE.B"]);
}

/// The blocks of code of `feeds/README.md`, in order.
fn blocks() -> Vec<&'static str> {
    include_str!("../feeds/README.md").split("```\n").skip(1).step_by(2).collect()
}

#[test]
fn the_files_of_feeds_are_those_that_their_commands_make() {
    let folder = TempDir::new().unwrap();
    let commands: Vec<&str> = blocks()
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.strip_prefix("tickcast simulate "))
        .collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let (line, file) = command.split_once(" --out ").unwrap();
        let made = folder.path().join(Path::new(file).file_name().unwrap());
        let (code, _, errors) = simulate(line, Some(&made));
        assert_eq!(code, 0, "{errors}");
        let kept = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(kept.len() < 300 * 1_024, "{file} is small");
        assert!(std::fs::read(&made).unwrap() == kept, "{file} is not what its command makes: make feeds");
    }
}

#[test]
fn what_is_said_of_the_files_of_feeds_is_what_inspect_prints() {
    let said: Vec<_> = blocks().into_iter().filter(|block| block.starts_with("feeds/")).collect();
    assert_eq!(said.len(), 3);
    for block in said {
        let file = block.lines().next().unwrap();
        let mut inspect = Command::cargo_bin("tickcast").unwrap();
        let output =
            inspect.current_dir(env!("CARGO_MANIFEST_DIR")).args(["inspect", file]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.starts_with(block), "{printed}");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    let (code, _, errors) = simulate("--ticks 0 --seed -1 --symbols 100001 --digest", None);
    assert_eq!(code, 2);
    for part in [
        "3 settings are wrong",
        "ticks: \"0\" (flag --ticks); allowed: whole number, 1 to 18446744073709551615",
        "seed: \"-1\" (flag --seed); allowed: whole number, 0 to 18446744073709551615",
        "symbols: \"100001\" (flag --symbols); allowed: 1 to 100000, or the path of a TOML file",
    ] {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
    for (line, part) in [("--digest", "--ticks <N>"), ("--ticks 5", "--out <FILE>"), ("--rate 5", "'--rate'")]
    {
        let (code, _, errors) = simulate(line, None);
        assert!(code == 2 && errors.contains(part), "{line}: {errors}");
    }
    let (code, _, errors) = simulate("--ticks 5 --symbols missing.toml --digest", None);
    assert!(code == 1 && errors.contains("cannot read the instruments of missing.toml"), "{errors}");
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("kept.feed");
    std::fs::write(&path, "mine").unwrap();
    let (code, _, errors) = simulate("--ticks 5", Some(&path));
    assert!(code == 1 && errors.contains("kept.feed exists; a simulation overwrites nothing"), "{errors}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let (code, _, errors) = simulate("--ticks 5", Some(&folder.path().join("no/such/folder.feed")));
    assert!(code == 1 && errors.contains("cannot create"), "{errors}");
}

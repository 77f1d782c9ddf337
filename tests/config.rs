//! Settings as a user meets them: on the command line of the binary.

use assert_cmd::Command;
use tempfile::TempDir;

fn tickcast(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tickcast").unwrap();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TICKCAST_")) {
        command.env_remove(name);
    }
    command.args(args);
    command
}

/// Exit code, standard output, standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}

#[test]
fn wrong_usage_is_code_2_and_help_is_code_0() {
    for (args, part) in [
        (&["serve", "--sped", "2"][..], "--sped"),
        (&["serve", "stray"], "stray"),
        (&["serve", "--rate"], "--rate"),
        (&["fly"], "fly"),
        (&[], "Usage"),
    ] {
        let (code, out, error) = outcome(&mut tickcast(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(error.contains(part), "{error}");
    }
    for args in [&["--help"][..], &["--version"], &["serve", "--help"], &["help", "serve"]] {
        assert_eq!(outcome(&mut tickcast(args)).0, 0, "{args:?}");
    }
    let (_, help, _) = outcome(&mut tickcast(&["serve", "--help"]));
    assert!(help.contains("Example:\n  tickcast serve "), "{help}");
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let args = ["serve", "--rate", "fast", "--loop", "--slow-consumer", "block", "--listen=here"];
    let (code, out, error) = outcome(tickcast(&args).env("TICKCAST_SHARDS", "none"));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.starts_with("error: 5 settings are wrong\n"), "{error}");
    for line in [
        "  rate: \"fast\" (flag --rate); allowed: ticks per second, 1 to 1000000000, or max",
        "  loop: \"true\" (flag --loop); allowed: only with a replay (replay FILE)",
        "  slow_consumer: \"block\" (flag --slow-consumer); allowed: conflate or disconnect; block only with a replay (replay FILE)",
        "  listen: \"here\" (flag --listen); allowed: IP address and port, such as 127.0.0.1:8765 or [::]:8765",
        "  shards: \"none\" (environment TICKCAST_SHARDS); allowed: whole number, 1 to 256",
    ] {
        assert!(error.lines().any(|found| found == line), "{line}\nis not in\n{error}");
    }
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tickcast.toml");
    std::fs::write(&path, "seed = 1\nrate = \"max\"\nshards = 2\nlog_format = \"json\"\n").unwrap();
    let path = path.to_str().unwrap();
    let mut command = tickcast(&["serve", "--check", "--config", path, "--seed", "3"]);
    command.env("TICKCAST_SEED", "2").env("TICKCAST_SHARDS", "3").env("TICKCAST_SYMBOL", "1");
    let (code, out, error) = outcome(&mut command);
    assert_eq!(code, 0, "{error}");
    for line in ["seed = \"3\"", "rate = \"max\"", "shards = 3", "log_format = \"json\"", "symbols = 20"] {
        assert!(out.lines().any(|found| found == line), "{line}\nis not in\n{out}");
    }
    assert_eq!(
        error,
        "warning: TICKCAST_SYMBOL in the environment is no setting; `tickcast serve --help` lists them\n"
    );

    // The file that the environment names, beaten by the flag.
    let (code, out, _) = outcome(tickcast(&["serve", "--check"]).env("TICKCAST_CONFIG", path));
    assert_eq!((code, out.contains("shards = 2")), (0, true), "{out}");
    let (code, _, error) =
        outcome(tickcast(&["serve", "--config", "/no/such.toml"]).env("TICKCAST_CONFIG", path));
    assert_eq!(code, 2);
    assert!(
        error.contains("config: \"/no/such.toml\" (flag --config); allowed: a TOML file that can be read"),
        "{error}"
    );
}

#[test]
fn a_port_in_use_is_a_failure_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, error) = outcome(&mut tickcast(&["serve", "--listen", &address]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains(&format!("cannot listen on {address}: Address already in use")), "{error}");
    assert!(error.contains("--listen"), "{error}");
}

//! Runs the decoders in other languages over the golden files.

use std::process::Command;

/// Runs one language's tests, or says why not; with `TICKCAST_REQUIRE_ALL=1` a language that is missing is a failure.
fn run(program: &str, arguments: &[&str]) {
    assert!(crate::folder().is_dir());
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match output {
        Ok(output) => assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => {
            let required = std::env::var_os("TICKCAST_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!required, "{program}: {error}");
            println!("skipped: {program}: {error}");
        }
    }
}

#[test]
fn python_reads_the_golden_files() {
    run(
        "python3",
        &["-B", "-m", "unittest", "discover", "-s", "tests/clients/python", "-p", "test_golden.py"],
    );
}

#[test]
fn javascript_reads_the_golden_files() {
    run("node", &["--test", "tests/clients/js/golden.test.mjs"]);
}

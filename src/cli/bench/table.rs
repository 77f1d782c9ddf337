//! The result of a run, for people.

use std::fmt::Write;

use crate::bench::{CaughtUp, Outcome, Percentiles, count};

/// A rate as people write it.
pub(super) fn per_second(value: f64, what: &str) -> String {
    format!("{} {what}/s", count(value))
}

fn percentiles(name: &str, of: &Percentiles) -> String {
    let micro = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
    format!(
        "  {name:<26} {:>11} {:>11} {:>11} {:>11}\n",
        micro(of.p50),
        micro(of.p99),
        micro(of.p999),
        micro(of.max)
    )
}

/// What was wrong, in a line.
pub(super) fn faults(outcome: &Outcome) -> String {
    let faults = &outcome.faults;
    if outcome.messages == 0 && faults.is_empty() {
        return "no message came".into();
    }
    let mut text = format!(
        "{} gaps ({} sequences missing), {} repeated, {} wrong checksums, {} connections lost",
        faults.gaps, faults.missing, faults.repeated, faults.checksums, faults.connections
    );
    if !faults.reasons.is_empty() {
        let _ = write!(text, ": {}", faults.reasons.join("; "));
    }
    text
}

/// The whole result.
pub(super) fn table(outcome: &Outcome) -> String {
    let mut out = String::new();
    let each = outcome.symbols_per_connection.map_or("all".to_owned(), |each| each.to_string());
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}: {} {}, {} of {each} of {} symbols each; {:.1} s, read {}",
        outcome.workload,
        outcome.connections,
        if outcome.connections == 1 { "client" } else { "clients" },
        outcome.channels.join(" "),
        outcome.symbols,
        outcome.seconds,
        outcome.reading,
    );
    let _ = writeln!(
        out,
        "  {}   {}   {:.1} MB/s",
        per_second(outcome.frames_per_second, "frames"),
        per_second(outcome.messages_per_second, "messages"),
        outcome.bytes_per_second / 1e6,
    );
    if outcome.latency.count > 0 {
        let _ = writeln!(
            out,
            "  {:<26} {:>11} {:>11} {:>11} {:>11}",
            "latency, microseconds", "p50", "p99", "p99.9", "max"
        );
        out += &percentiles("from when it was due", &outcome.latency);
        out += &percentiles("from the publish stamp", &outcome.latency_from_publish);
    }
    if let Some(CaughtUp { surges, p50, max }) = outcome.caught_up {
        let _ = writeln!(
            out,
            "  caught up  {:.1} ms after a surge in the median of {surges}, {:.1} ms at most",
            p50 as f64 / 1e6,
            max as f64 / 1e6,
        );
    }
    if let Some(server) = &outcome.server {
        let _ = write!(
            out,
            "  server     {:.2} cores, {:.0} ns a frame, {} a CPU second",
            server.cores,
            server.ns_per_frame,
            count(server.frames_per_cpu_second) + " frames",
        );
        if let Some(messages) = server.messages_per_write {
            let _ = write!(out, ", {messages:.1} messages a write");
        }
        out.push('\n');
        if let Some(conflations) = server.conflations.filter(|count| *count > 0) {
            let _ = writeln!(out, "  conflated  {conflations} times");
        }
        if let (Some(resident), Some(each)) = (server.resident_bytes, server.bytes_per_connection) {
            let _ =
                writeln!(out, "  memory     {:.1} MB, {each:.0} bytes a connection", resident as f64 / 1e6);
        }
    }
    let _ = writeln!(
        out,
        "  clients    {:.2} cores, {} {}",
        outcome.generator_cores,
        outcome.generator_threads,
        if outcome.generator_threads == 1 { "thread" } else { "threads" },
    );
    let ledger = &outcome.ledger;
    let _ = writeln!(
        out,
        "  sequences  {} delivered, {} merged, {} declared lost; none missing in silence: {}",
        ledger.delivered,
        ledger.merged,
        ledger.declared_lost,
        if outcome.faults.is_empty() { "right" } else { "WRONG" },
    );
    if outcome.slow_connections > 0 {
        let slow = &outcome.slow;
        let _ = writeln!(
            out,
            "  slow       {} clients: {} messages, {} delivered, {} merged, {} declared lost; {} closed",
            outcome.slow_connections,
            slow.messages,
            slow.ledger.delivered,
            slow.ledger.merged,
            slow.ledger.declared_lost,
            slow.closed,
        );
    }
    out
}

//! The page of a run: one file, nothing to load.

use std::error::Error;
use std::fmt::Write;

use super::outcome::{Outcome, Percentiles};
use super::plot;
use crate::plot::count;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:960px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .3rem}p.under{color:#666;margin-top:.2rem}\
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}.card{border:1px solid #ddd;border-radius:8px;padding:.6rem 1rem;min-width:8.5rem}\
.card b{display:block;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums}.card span{color:#666;font-size:.85rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2rem .9rem .2rem 0;text-align:right;font-weight:400}\
th{color:#666}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}\
.bad{background:#fdecea;border:1px solid #d93025;border-radius:8px;padding:.6rem 1rem}code{font-size:.9em}\
footer{color:#666;margin-top:2rem;border-top:1px solid #ddd;padding-top:.6rem;font-size:.85rem}";

/// Nanoseconds as people write them.
pub(super) fn time(ns: u64) -> String {
    match ns as f64 {
        ns if ns < 1e3 => format!("{ns} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

/// Bytes as people write them.
fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1024.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1024.0 * 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
        bytes if bytes < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
        bytes => format!("{:.2} GiB", bytes / 1024.0 / 1024.0 / 1024.0),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn card(out: &mut String, value: &str, name: &str) {
    let _ = write!(out, "<div class=card><b>{value}</b><span>{name}</span></div>");
}

fn percentiles(out: &mut String, name: &str, of: &Percentiles) {
    let _ = write!(out, "<tr><td>{name}</td>");
    for ns in [of.min, of.p50, of.p90, of.p99, of.p999, of.max] {
        let _ = write!(out, "<td>{}</td>", time(ns));
    }
    out.push_str("</tr>");
}

/// A plot of a run, as SVG.
#[derive(Clone, Debug)]
pub struct Plot {
    /// A name for its file.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The drawing.
    pub svg: String,
}

/// The plots of a run; none where it heard nothing.
///
/// # Errors
/// One cannot be drawn.
pub fn plots(outcome: &Outcome) -> Result<Vec<Plot>, Box<dyn Error + Send + Sync>> {
    if outcome.latency.count == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![
        Plot {
            name: "distribution",
            title: "Distribution of the latency",
            svg: plot::distribution(outcome)?,
        },
        Plot { name: "latency", title: "Latency over time", svg: plot::latencies(outcome)? },
        Plot { name: "rate", title: "Messages a second", svg: plot::rate(outcome)? },
    ])
}

/// The page of a run, with its plots.
pub fn page(outcome: &Outcome, plots: &[Plot]) -> String {
    let mut out = String::new();
    let title = format!("{}: {} connections", escaped(&outcome.workload), outcome.connections);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>tickcast bench: {title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    let each = outcome.symbols_per_connection.map_or("all".to_owned(), |each| each.to_string());
    let _ = write!(
        out,
        "<p class=under>{} of {each} of {} symbols each, {} protocol, {} s, clients read {}</p>",
        outcome.channels.join(", "),
        outcome.symbols,
        match outcome.protocol {
            super::Protocol::Bin => "binary",
            super::Protocol::Json => "JSON",
        },
        outcome.seconds,
        outcome.reading,
    );
    if !outcome.is_good() {
        let faults = &outcome.faults;
        let _ = write!(
            out,
            "<p class=bad><b>This run failed.</b> {} messages; {} gaps ({} sequences missing), {} repeated, {} wrong checksums, \
             {} connections lost. {}</p>",
            outcome.messages,
            faults.gaps,
            faults.missing,
            faults.repeated,
            faults.checksums,
            faults.connections,
            escaped(&faults.reasons.join("; ")),
        );
    }
    out.push_str("<div class=cards>");
    card(&mut out, &time(outcome.latency.p50), "median latency");
    card(&mut out, &time(outcome.latency.p99), "99 %");
    card(&mut out, &time(outcome.latency.p999), "99.9 %");
    if let Some(caught_up) = outcome.caught_up {
        card(&mut out, &time(caught_up.p50), "until a surge has come");
    }
    card(&mut out, &count(outcome.messages_per_second), "messages/s");
    card(&mut out, &count(outcome.frames_per_second), "frames/s");
    card(&mut out, &format!("{}/s", bytes(outcome.bytes_per_second)), "payload");
    if let Some(server) = &outcome.server {
        card(&mut out, &format!("{:.2}", server.cores), "server cores");
        card(&mut out, &count(server.frames_per_cpu_second), "frames per CPU second");
        if let Some(each) = server.bytes_per_connection {
            card(&mut out, &bytes(each), "memory a connection");
        }
    }
    out.push_str(
        "</div><h2>Latency</h2><table><tr><th>from<th>least<th>median<th>90 %<th>99 %<th>99.9 %<th>longest</tr>",
    );
    percentiles(&mut out, "when it was due", &outcome.latency);
    percentiles(&mut out, "the publish stamp", &outcome.latency_from_publish);
    out.push_str("</table>");
    for Plot { title, svg, .. } in plots {
        let _ = write!(out, "<h2>{title}</h2>{svg}");
    }
    let (ledger, slow) = (&outcome.ledger, &outcome.slow);
    out.push_str("<h2>Sequences</h2><table><tr><th><th>delivered<th>merged<th>declared lost</tr>");
    let slow = (outcome.slow_connections > 0).then_some(("clients that read slowly", &slow.ledger));
    for (name, tally) in [("clients that read", ledger)].into_iter().chain(slow) {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            tally.delivered, tally.merged, tally.declared_lost
        );
    }
    out.push_str("</table>");
    let environment = &outcome.environment;
    let _ = write!(
        out,
        "<footer>{}, {} cores, Linux {}, load {:.1}{}; the load generator used {:.2} cores in {}. {}. \
         tickcast {}, {}.</footer></html>",
        escaped(&environment.processor),
        environment.cores,
        escaped(&environment.kernel),
        environment.load,
        if environment.pinned { ", server and clients on a core each" } else { "" },
        outcome.generator_cores,
        match outcome.generator_threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        },
        match (&outcome.url, &outcome.command) {
            (Some(url), _) => format!("Server at {}", escaped(url)),
            (None, Some(command)) => format!("Server: <code>{}</code>", escaped(command)),
            (None, None) => String::new(),
        },
        environment.version,
        environment.date,
    );
    out
}

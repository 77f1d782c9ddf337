//! A report for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Ahead, Book, BookLevel, InstrumentReport, Report, Span, Volume};
use crate::feed::time::rfc3339;
use crate::model::Channel;

/// Instruments shown in full, those with the most records first.
const INSTRUMENTS_SHOWN: usize = 20;

/// Declared losses shown.
const LOSSES_SHOWN: usize = 20;

impl Report {
    /// Writes the report as text, about 80 columns wide.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.file)?;
        writeln!(out, "  source    {}", self.source)?;
        writeln!(out, "  written   by {}", self.writer)?;
        match &self.fault {
            None => writeln!(out, "  complete  yes")?,
            Some(fault) => writeln!(
                out,
                "  complete  NO, {fault}; what follows is of the {} before",
                counted(self.records, "record")
            )?,
        }
        writeln!(
            out,
            "  size      {} in {}; {} raw, ratio {}",
            counted(self.size.bytes, "byte"),
            counted(self.size.blocks as u64, "block"),
            grouped(self.size.raw_bytes),
            self.size.ratio
        )?;
        let events = counted(self.events, "exchange event");
        writeln!(out, "  records   {} in {events}", grouped(self.records))?;
        write_counts(out, "kinds  ", &self.kinds)?;
        write_counts(out, "actions", &self.source_actions)?;
        write_span(out, self.span.as_ref())?;
        if let Some(paced) = self.paced.as_ref().filter(|paced| Some(*paced) != self.span.as_ref()) {
            writeln!(out, "  replayed  {} to {}, by the times of receipt", paced.first, paced.last)?;
        }
        if let Some(ahead) = &self.ahead {
            let Ahead { records, first_record, first, .. } = ahead;
            writeln!(
                out,
                "  ahead     {} x a time after those that follow, which does not count; first in record {}: {first}",
                grouped(*records),
                grouped(*first_record)
            )?;
        }
        if let Some(busiest) = &self.busiest_second {
            writeln!(
                out,
                "  busiest   {} in the second from {}",
                counted(busiest.events, "exchange event"),
                busiest.start
            )?;
        }
        for loss in self.losses.iter().take(LOSSES_SHOWN) {
            loss.write_text(out)?;
        }
        if let more @ 1.. = self.losses.len().saturating_sub(LOSSES_SHOWN) {
            writeln!(
                out,
                "  and {} (--json lists all)",
                if more == 1 {
                    "1 more loss".into()
                } else {
                    format!("{} more losses", grouped(more as u64))
                }
            )?;
        }
        writeln!(out, "  inconsistencies  {}", grouped(self.inconsistencies))?;
        let mut instruments: Vec<&InstrumentReport> = self.instruments.iter().collect();
        instruments.sort_by_key(|instrument| std::cmp::Reverse(instrument.records));
        for instrument in instruments.iter().take(INSTRUMENTS_SHOWN) {
            instrument.write_text(out)?;
        }
        if let more @ 1.. = instruments.len().saturating_sub(INSTRUMENTS_SHOWN) {
            writeln!(
                out,
                "\nand {} with fewer records (--json lists all)",
                counted(more as u64, "more instrument")
            )?;
        }
        Ok(())
    }
}

impl InstrumentReport {
    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let unknown = || "unknown".to_owned();
        writeln!(
            out,
            "\n{}  (instrument {}, the source's {})",
            self.symbol, self.instrument, self.source_id
        )?;
        writeln!(
            out,
            "  units     prices 10^{}, quantities 10^{}; tick {}, lot {}",
            self.price_exponent,
            self.quantity_exponent,
            self.tick_size.clone().unwrap_or_else(unknown),
            self.lot_size.clone().unwrap_or_else(unknown)
        )?;
        let depth =
            if self.book_depth == 0 { String::new() } else { format!(" (depth {})", self.book_depth) };
        writeln!(out, "  channels  {}{depth}", self.channels.join(", "))?;
        let snapshot = grouped(self.snapshot_records);
        writeln!(out, "  records   {} ({snapshot} of a snapshot)", grouped(self.records))?;
        write_counts(out, "kinds  ", &self.kinds)?;
        write_span(out, self.span.as_ref())?;
        let [silence_ns, from_ns] =
            [&self.longest_silence_ns, &self.longest_silence_from_ns].map(|ns| ns.parse().unwrap_or(0));
        if silence_ns > 0 {
            writeln!(out, "  silence   at most {}, from {}", lasting(silence_ns), rfc3339(from_ns))?;
        }
        if let Some(status) = self.status {
            writeln!(out, "  status    {status}, at the end")?;
        }
        if self.trades.count > 0 || self.channels.contains(&Channel::Trades.name()) {
            self.write_trades(out)?;
        }
        self.write_fills(out)?;
        if let Some(seen) = &self.sequences {
            writeln!(
                out,
                "  sequence  {} to {} (lowest {}, highest {}), {} back ({} of them in snapshots), {} passed over",
                seen.first,
                seen.last,
                seen.lowest,
                seen.highest,
                counted(seen.steps_back, "step"),
                grouped(seen.steps_back_in_snapshots),
                grouped(seen.passed_over)
            )?;
        }
        self.book.write_text(out)
    }

    fn write_trades(&self, out: &mut impl Write) -> io::Result<()> {
        let trades = &self.trades;
        let by = |name: &str, of: &Volume| format!("{name} {} x {}", grouped(of.count), of.volume);
        writeln!(
            out,
            "  trades    {}, volume {} (count x volume: {}, {}, {})",
            grouped(trades.count),
            trades.volume,
            by("buy", &trades.buy),
            by("sell", &trades.sell),
            by("none", &trades.none)
        )?;
        if let (Some(first), Some(high), Some(low), Some(last)) =
            (&trades.first, &trades.high, &trades.low, &trades.last)
        {
            writeln!(out, "  prices    first {first}, high {high}, low {low}, last {last}")?;
        }
        Ok(())
    }

    fn write_fills(&self, out: &mut impl Write) -> io::Result<()> {
        if self.fills.count > 0 {
            writeln!(out, "  fills     {}, volume {}", grouped(self.fills.count), self.fills.volume)?;
        }
        Ok(())
    }
}

impl Book {
    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.bid_levels + self.ask_levels == 0 {
            return Ok(());
        }
        let orders =
            self.orders.map_or(String::new(), |orders| format!("; {}", counted(orders as u64, "order")));
        writeln!(
            out,
            "  book      {}, quantity {}; {}, quantity {}{orders}",
            counted(self.bid_levels as u64, "bid level"),
            self.bid_quantity,
            counted(self.ask_levels as u64, "ask level"),
            self.ask_quantity
        )?;
        let side = |level: Option<&BookLevel>| {
            level.map_or(String::new(), |level| {
                let orders = level.orders.map_or(String::new(), |orders| format!(" ({orders})"));
                format!("{} x {}{orders}", level.price, level.quantity)
            })
        };
        for row in 0..self.bids.len().max(self.asks.len()) {
            writeln!(out, "    {:>28}  |  {}", side(self.bids.get(row)), side(self.asks.get(row)))?;
        }
        Ok(())
    }
}

fn write_counts(out: &mut impl Write, title: &str, counts: &BTreeMap<String, u64>) -> io::Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let list: Vec<String> =
        counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    writeln!(out, "  {title}   {}", list.join(", "))
}

fn write_span(out: &mut impl Write, span: Option<&Span>) -> io::Result<()> {
    let Some(span) = span else { return Ok(()) };
    writeln!(out, "  from      {} ({})", span.first, span.first_ns)?;
    writeln!(out, "  to        {} ({})", span.last, span.last_ns)
}

/// A length of time as people say it.
fn lasting(ns: u64) -> String {
    let (microseconds, milliseconds, seconds) = (ns / 1_000, ns / 1_000_000, ns / 1_000_000_000);
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{microseconds} µs"),
        1_000_000..1_000_000_000 => format!("{milliseconds} ms"),
        1_000_000_000..60_000_000_000 => format!("{seconds}.{:03} s", milliseconds % 1_000),
        60_000_000_000..3_600_000_000_000 => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

/// So many of a thing, whose word takes an `s` where it is not one: `1 block`, `1,024 blocks`.
pub(in crate::feed) fn counted(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub(in crate::feed) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let told = [0, 1, 2, 1_001].map(|count| counted(count, "block"));
        assert_eq!(told, ["0 blocks", "1 block", "2 blocks", "1,001 blocks"]);
    }

    #[test]
    fn lengths_are_told_in_the_unit_that_says_most() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1 µs"),
            (12_000_000, "12 ms"),
            (1_250_000_000, "1.250 s"),
            (993_041_099_530, "16 min 33 s"),
            (90_061_000_000_000, "25 h 1 min"),
        ] {
            assert_eq!(lasting(ns), text);
        }
    }
}

//! The lines of a capture, in each of the ways in which recorders write them.

use crate::model::parse_decimal;

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Nothing; the recorder connected; or what it sent.
    Other,
    /// What it received.
    Received {
        /// When, by its own clock, nanoseconds since the Unix epoch; `None` where it does not say.
        ts_recv_ns: Option<u64>,
        /// Of an answer over HTTP, the address that was asked.
        address: Option<&'a str>,
        /// The message.
        json: &'a str,
    },
}

/// Nanoseconds before which no exchange had such a stream (March 1973): what a smaller number of nanoseconds says is
/// milliseconds or microseconds.
const NANOSECONDS_MIN: u64 = 100_000_000_000_000_000;

impl<'a> Line<'a> {
    /// Takes a line apart; the error says what is wrong with it.
    ///
    /// Cryptofeed's raw captures: `<url> <-> <seconds>` (connected), `<url> <- <seconds>: <json>` (sent), `<seconds>:
    /// <json>` (received), `<url> -> <seconds>: <json>` (received over HTTP). Others: `<nanoseconds> <json>`, or the message alone.
    pub fn parse(line: &'a str) -> Result<Line<'a>, String> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Line::Other);
        }
        if line.starts_with(['{', '[']) {
            return Ok(Line::Received { ts_recv_ns: None, address: None, json: line });
        }
        let (mut first, mut rest) = line.split_once(' ').ok_or_else(|| unknown(line))?;
        if rest.starts_with("<->") || rest.starts_with("<-") {
            return Ok(Line::Other);
        }
        let mut address = None;
        if let Some(answer) = rest.strip_prefix("-> ") {
            address = Some(first);
            (first, rest) = answer.split_once(' ').ok_or_else(|| unknown(line))?;
        }
        let time = match first.strip_suffix(':') {
            Some(seconds) => parse_decimal(seconds, -9).and_then(|ns| u64::try_from(ns).ok()),
            None if first.bytes().all(|byte| byte.is_ascii_digit()) => match first.parse() {
                Ok(ns) if ns >= NANOSECONDS_MIN => Some(ns),
                _ => return Err(format!("the time {first} is not in nanoseconds since 1970")),
            },
            None => None,
        };
        let time = time.ok_or_else(|| unknown(line))?;
        Ok(Line::Received { ts_recv_ns: Some(time), address, json: rest.trim_start() })
    }
}

fn unknown(line: &str) -> String {
    let start: String = line.chars().take(crate::limits::QUOTED_CHARS_MAX).collect();
    format!("starts with {start:?}; allowed: \"<seconds>: <json>\", \"<nanoseconds> <json>\" and \"<json>\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_of_recorder_are_told_apart() {
        let received = |ts_recv_ns, json| Ok(Line::Received { ts_recv_ns, address: None, json });
        let answered = |ts_recv_ns, address, json| {
            Ok(Line::Received { ts_recv_ns: Some(ts_recv_ns), address: Some(address), json })
        };
        for (line, expected) in [
            ("", Ok(Line::Other)),
            ("  \r", Ok(Line::Other)),
            ("wss://ws.kraken.com <-> 1618678132.3858151", Ok(Line::Other)),
            ("wss://ws.kraken.com <- 1618678132.8253062: {\"event\":\"subscribe\"}", Ok(Line::Other)),
            ("1618677817.061845: {}", received(Some(1_618_677_817_061_845_000), "{}")),
            ("1618678163.3728619: [1]\r", received(Some(1_618_678_163_372_861_900), "[1]")),
            (
                "https://x.com/depth?symbol=AB -> 1628952396.228346: {}",
                answered(1_628_952_396_228_346_000, "https://x.com/depth?symbol=AB", "{}"),
            ),
            ("1723161253937085768 {}", received(Some(1_723_161_253_937_085_768), "{}")),
            ("{\"type\":\"match\"}", received(None, "{\"type\":\"match\"}")),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_capture_is_refused_by_what_it_is() {
        for line in ["hello", "hello world", "1.5 {}", "-5: {}", "1e9: {}", "99999999999999999999: {}"] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.contains("allowed: \"<seconds>: <json>\""), "{line}: {error}");
        }
        for line in ["1723161253937 {}", "99999999999999999999999 {}"] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.ends_with("is not in nanoseconds since 1970"), "{line}: {error}");
        }
    }
}

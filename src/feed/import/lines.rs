//! A recording made of lines of text.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::ImportError;
use super::findings::{Findings, Place};
use super::stored::{Source, Stored};
use crate::feed::format::printable;
use crate::limits;

/// Bytes of a foreign file that an error shows.
const START_BYTES: usize = 16;
/// What some editors put before a text to say that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes that are unpacked at a time.
const READ_BYTES: usize = 256 * 1_024;

/// The lines of a file, one after the other.
pub(super) struct Lines {
    pub source: Source,
    /// How it starts, printable, for an error that says that it is another file.
    start: String,
    plain: BufReader<Box<dyn Read>>,
    /// The line in hand, without its end.
    line: Vec<u8>,
    /// Its number, from 1; 0 before the first.
    number: u64,
    /// It has an end: it is not the last of a file that has none there, or was cut.
    is_ended: bool,
    ended: bool,
}

impl Lines {
    /// Opens a file; `expected` is what an error says it should be.
    pub fn open(path: &Path, expected: &'static str) -> Result<Lines, ImportError> {
        let Stored { source, plain } = Stored::open(path, expected)?;
        let mut plain = BufReader::with_capacity(READ_BYTES, plain);
        // What cannot be unpacked is met again.
        let start = plain.fill_buf().unwrap_or_default();
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        let cut = if line.len() > START_BYTES { " and more" } else { "" };
        let start = printable(line[..line.len().min(START_BYTES)].trim_ascii_end()) + cut;
        Ok(Lines { source, start, plain, line: Vec::new(), number: 0, is_ended: true, ended: false })
    }

    /// That the file is none of those that were expected.
    pub fn foreign(&self) -> ImportError {
        let Source { path, expected, .. } = &self.source;
        ImportError::Foreign { path: path.clone(), found: self.start.clone(), expected }
    }

    /// Takes the next line in hand; false at the end. Lines that are too long or not UTF-8 are noted as damage and
    /// passed over, and so is an end in the middle of packed data with what of a line comes before it.
    pub fn advance(&mut self, findings: &mut Findings) -> Result<bool, ImportError> {
        while !self.ended {
            self.line.clear();
            let read = (&mut self.plain)
                .take(limits::IMPORT_LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut self.line);
            if let Ok(0) = read {
                self.ended = true;
                return Ok(false);
            }
            self.number += 1;
            let problem = match read {
                Err(error) => {
                    self.ended = true;
                    format!("it cannot be read further ({error})")
                }
                Ok(_) => {
                    self.is_ended = self.line.pop_if(|byte| *byte == b'\n').is_some();
                    self.line.pop_if(|byte| *byte == b'\r');
                    if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                        self.line.drain(..BYTE_ORDER_MARK.len());
                    }
                    if self.line.len() > limits::IMPORT_LINE_BYTES_MAX {
                        self.skip_line();
                        format!(
                            "more than {} bytes; longer lines are not read",
                            limits::IMPORT_LINE_BYTES_MAX
                        )
                    } else if let Err(error) = std::str::from_utf8(&self.line) {
                        format!("not UTF-8 text from its byte {} on", error.valid_up_to())
                    } else {
                        return Ok(true);
                    }
                }
            };
            findings.damage(&self.source.path, Place::Line(self.number), problem)?;
        }
        Ok(false)
    }

    /// The line in hand, without its end.
    pub fn line(&self) -> &str {
        // `advance` lets nothing else pass.
        std::str::from_utf8(&self.line).unwrap_or_default()
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes that the line in hand was taken as it is though it has no end, where it has none: it is whole in its fields,
    /// but of a file that was cut its last number may be.
    pub fn note_open_end(&self, findings: &mut Findings) {
        if !self.is_ended {
            findings.note(format!(
                "{}: line {} ends without a line end and is taken as it is; if the file was cut there, its last number may be too short",
                self.source.path, self.number
            ));
        }
    }

    /// Reads on to the end of a line whose start was too long. A fault on the way is met again by the next line.
    fn skip_line(&mut self) {
        while let Ok(part) = self.plain.fill_buf() {
            let (bytes, is_last) = match part.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (part.len(), part.is_empty()),
            };
            self.plain.consume(bytes);
            if is_last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::feed::import::Damage;

    /// The lines of a file with their numbers, and the damage.
    fn read(bytes: &[u8]) -> (Vec<(u64, String, bool)>, Vec<Damage>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut lines = Lines::open(file.path(), "lines").unwrap();
        let mut findings = Findings::new(false);
        let mut read = Vec::new();
        while lines.advance(&mut findings).unwrap() {
            read.push((lines.number(), lines.line().to_owned(), lines.is_ended));
        }
        assert!(!lines.advance(&mut findings).unwrap(), "the end stays the end");
        (read, findings.damage)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_however_they_are_packed() {
        let text = b"one\r\n\ntwo\nthree";
        let expected = [(1, "one", true), (2, "", true), (3, "two", true), (4, "three", false)]
            .map(|(number, line, is_ended)| (number, line.to_owned(), is_ended));
        // In two members or frames, as tools that append write it; and as pzstd does, which says sizes first.
        let members = [gzip(&text[..7]), gzip(&text[7..])].concat();
        let zstd = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
        let frames = [zstd(&text[..7]), zstd(&text[7..])].concat();
        let sizes = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &frames].concat();
        // With the mark that some editors put there.
        let marked = [BYTE_ORDER_MARK, text].concat();
        for bytes in [text.to_vec(), gzip(text), members, zstd(text), frames, sizes, marked] {
            assert_eq!(read(&bytes), (expected.to_vec(), vec![]));
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_located_and_passed_over() {
        let long = vec![b'x'; limits::IMPORT_LINE_BYTES_MAX + 1];
        let (lines, damage) = read(&[b"one\n", &long[..], b"\nab\xff\ntwo\n"].concat());
        assert_eq!(lines, [(1, "one".into(), true), (4, "two".into(), true)]);
        let places: Vec<_> = damage.iter().map(|damage| damage.place).collect();
        assert_eq!(places, [Place::Line(2), Place::Line(3)]);
        assert!(damage[1].problem.contains("not UTF-8 text from its byte 2 on"), "{damage:?}");
        // One byte less is a line like any other.
        assert_eq!(read(&[&long[1..], b"\n"].concat()).1, []);
    }

    #[test]
    fn packed_lines_that_are_cut_end_with_a_located_fault() {
        let text: String = (0..1_000).map(|number| format!("{number},{}\n", number * 7_919)).collect();
        for packed in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 3).unwrap()] {
            for length in (20..packed.len()).step_by(97) {
                let (lines, damage) = read(&packed[..length]);
                assert!(text.lines().zip(&lines).all(|(line, (_, read, _))| line == read));
                assert_eq!(damage.len(), 1, "cut at {length}");
                assert_eq!(damage[0].place, Place::Line(lines.len() as u64 + 1));
                assert!(damage[0].problem.starts_with("it cannot be read further"));
            }
        }
    }
}

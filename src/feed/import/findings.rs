//! What an import met that it could not take in, or that a reader of its result should know.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::ImportError;
use crate::feed::inspect::counted;
use crate::limits;

/// The key under which unknown messages are counted once there are [`limits::IMPORT_UNKNOWN_TYPES_MAX`] types of them.
const OTHER_TYPES: &str = "other types";

/// What an import found beside good records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Messages of types that the importer does not know, by type. They are no damage: formats grow.
    pub unknown: BTreeMap<String, u64>,
    /// Messages that were understood and have no place in a feed file, by type.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Messages that cannot be what happened (an order cancelled that was never added), by what is odd about them.
    /// They are taken in as far as they make sense.
    pub odd: BTreeMap<&'static str, u64>,
    /// How many records, lines or ends were damaged and left out.
    pub damaged: u64,
    /// The first of them: at most [`limits::IMPORT_DAMAGE_SHOWN_MAX`].
    pub damage: Vec<Damage>,
    /// What else was assumed or noticed, for people.
    pub notes: Vec<String>,
    #[serde(skip)]
    strict: bool,
}

/// A part of an input that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The input.
    pub path: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong, with the value and what is allowed.
    pub problem: String,
}

/// A place in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The number of a line, from 1.
    Line(u64),
    /// An offset in bytes, unpacked, from 0.
    Byte(u64),
    /// The number of a record, from 0.
    Record(u64),
    /// Where the input ends too early: how many whole records come before.
    End(u64),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { path, place, problem } = self;
        match place {
            Place::Line(line) => write!(f, "{path}: line {line}: {problem}"),
            Place::Byte(offset) => write!(f, "{path}: byte {offset}: {problem}"),
            Place::Record(record) => write!(f, "{path}: record {record} (from 0): {problem}"),
            Place::End(records) => {
                write!(f, "{path} is truncated: after {}, {problem}", counted(*records, "whole record"))
            }
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, number) = match self {
            Place::Line(line) => ("line", line),
            Place::Byte(offset) => ("byte", offset),
            Place::Record(record) => ("record", record),
            Place::End(records) => ("truncated_after_records", records),
        };
        BTreeMap::from([(name, number)]).serialize(serializer)
    }
}

impl Findings {
    /// Nothing found yet. `strict`: the first damage is an error.
    pub(super) fn new(strict: bool) -> Findings {
        Findings { strict, ..Findings::default() }
    }

    /// Notes damage; an error where none is tolerated.
    pub(super) fn damage(
        &mut self,
        path: &str,
        place: Place,
        problem: impl Into<String>,
    ) -> Result<(), ImportError> {
        self.damaged += 1;
        if self.strict || self.damage.len() < limits::IMPORT_DAMAGE_SHOWN_MAX {
            let problem = shortened(problem.into(), limits::IMPORT_PROBLEM_CHARS_MAX);
            let damage = Damage { path: path.to_owned(), place, problem };
            if self.strict {
                return Err(ImportError::Damaged(damage));
            }
            self.damage.push(damage);
        }
        Ok(())
    }

    /// Counts a message of an unknown type.
    pub(super) fn unknown(&mut self, name: &str) {
        if let Some(count) = self.unknown.get_mut(name) {
            *count += 1;
            return;
        }
        let full = self.unknown.len() >= limits::IMPORT_UNKNOWN_TYPES_MAX;
        let name = if full { OTHER_TYPES } else { name };
        *self.unknown.entry(shortened(name.to_owned(), limits::QUOTED_CHARS_MAX)).or_default() += 1;
    }

    /// How many messages of unknown types there were.
    pub(super) fn unknown_messages(&self) -> u64 {
        self.unknown.values().sum()
    }

    /// Counts a message that has no place in a feed file.
    pub(super) fn left_out(&mut self, name: &'static str) {
        *self.left_out.entry(name).or_default() += 1;
    }

    /// Counts a message that cannot be what happened.
    pub(super) fn odd(&mut self, what: &'static str) {
        self.odd_times(what, 1);
    }

    /// Counts something odd that happened so many times; nothing where that is 0.
    pub(super) fn odd_times(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            let count = self.odd.entry(what).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// Adds a note, once.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if self.notes.len() < limits::IMPORT_NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The text, or as much of it as may be told.
fn shortened(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.shrink_to_fit();
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_damage_and_unknown_types_is_bounded() {
        let mut findings = Findings::new(false);
        for number in 0..1_000 {
            findings.damage("in.csv", Place::Line(number), "no number").unwrap();
            findings.unknown(&format!("type {number}"));
            findings.unknown("type 0");
            findings.note(format!("note {number}"));
        }
        assert_eq!((findings.damaged, findings.damage.len()), (1_000, limits::IMPORT_DAMAGE_SHOWN_MAX));
        assert_eq!(findings.unknown.len(), limits::IMPORT_UNKNOWN_TYPES_MAX + 1);
        assert_eq!(findings.unknown.values().sum::<u64>(), 2_000);
        assert_eq!((findings.unknown["type 0"], findings.notes.len()), (1_001, limits::IMPORT_NOTES_MAX));
    }

    #[test]
    fn what_is_told_of_long_values_is_short() {
        let mut findings = Findings::new(false);
        let long = "ä".repeat(1_000_000);
        findings.damage("in.csv", Place::Line(1), format!("price {long:?}")).unwrap();
        findings.unknown(&long);
        let shown = limits::IMPORT_PROBLEM_CHARS_MAX - 7;
        assert_eq!(findings.damage[0].problem, format!("price \"{}...", &long[..2 * shown]));
        let name = findings.unknown.keys().next().unwrap();
        assert_eq!(*name, format!("{}...", &long[..2 * limits::QUOTED_CHARS_MAX]));
    }

    #[test]
    fn where_no_damage_is_tolerated_the_first_is_an_error() {
        let mut findings = Findings::new(true);
        let error = findings.damage("in.csv", Place::Line(3), "price \"x\"; expected a decimal").unwrap_err();
        assert_eq!(error.to_string(), "in.csv: line 3: price \"x\"; expected a decimal; nothing was written");
    }

    #[test]
    fn damage_is_told_to_programs_with_its_place() {
        let mut findings = Findings::new(false);
        findings.damage("a.dbn", Place::End(7), "it stops").unwrap();
        findings.odd("orders never added");
        assert_eq!(
            serde_json::to_string(&findings).unwrap(),
            "{\"unknown\":{},\"left_out\":{},\"odd\":{\"orders never added\":1},\"damaged\":1,\"damage\":[{\"path\":\"a.dbn\",\
             \"place\":{\"truncated_after_records\":7},\"problem\":\"it stops\"}],\"notes\":[]}"
        );
    }
}

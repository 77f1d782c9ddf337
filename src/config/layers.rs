//! Defaults < file < environment < flags: which value of a setting wins, and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::keys::{Arity, KEYS, Key, VARIABLE_PREFIX};
use super::{Problem, Problems};
use crate::limits;

/// Names in the environment that begin like ours and are not settings of `serve`: tests and scripts read them.
const OTHER_VARIABLES: &[&str] = &[
    "TICKCAST_CONFIG",
    "TICKCAST_TEST_DATA",
    "TICKCAST_FEED_DAMAGE",
    "TICKCAST_REQUIRE_ALL",
    "TICKCAST_SKIPS",
    "TICKCAST_UPDATE_GOLDEN",
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A flag, as typed.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// A settings file.
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Flag(name) => write!(f, "flag {name}"),
            Place::Variable(name) => write!(f, "environment {name}"),
            Place::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// A value as it was written: one text, or several where the setting takes several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The texts.
    pub texts: Vec<String>,
    /// Where they stand.
    pub place: Place,
}

/// What was given on the command line, for [`Layers::gather`]: names of [`KEYS`] with their texts.
pub type Flags = Vec<(&'static str, Vec<String>)>;

/// For each setting that was given anywhere, the text that wins.
#[derive(Debug, Default)]
pub struct Layers {
    written: BTreeMap<&'static str, Written>,
}

impl Layers {
    /// Reads file and environment and lays the flags on top. What is wrong with names, types or the file itself goes
    /// to `problems`; variables that begin like ours and mean nothing go to `warnings`, since other programs of an
    /// installation may share the prefix.
    pub fn gather(
        file: Option<(PathBuf, Place)>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: Flags,
        problems: &mut Problems,
        warnings: &mut Vec<String>,
    ) -> Layers {
        let mut layers = Layers::default();
        if let Some((path, place)) = file {
            match read_bounded(&path) {
                Ok(text) => layers.lay_file(&path, &text, problems),
                Err(error) => problems.add(Problem {
                    key: "config".into(),
                    value: path.display().to_string(),
                    place: Some(place),
                    allowed: format!("a TOML file that can be read ({error})"),
                }),
            }
        }
        layers.lay_environment(variables, warnings);
        for (name, texts) in flags {
            let key = Key::named(name).expect("flags are made from the table of settings");
            layers.lay(key, Written { texts, place: Place::Flag(key.flag()) });
        }
        layers
    }

    /// The winning texts of a setting, `None` where the default holds.
    pub fn written(&self, name: &str) -> Option<&Written> {
        debug_assert!(Key::named(name).is_some(), "{name} is no setting");
        self.written.get(name)
    }

    fn lay(&mut self, key: &'static Key, written: Written) {
        self.written.insert(key.name, written);
    }

    fn lay_file(&mut self, path: &Path, text: &str, problems: &mut Problems) {
        let place = Place::File(path.to_owned());
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                problems.add(Problem {
                    key: "config".into(),
                    value: path.display().to_string(),
                    place: None,
                    allowed: format!("TOML; {}", located(text, &error)),
                });
                return;
            }
        };
        for (name, value) in table {
            let Some(key) = Key::named(&name) else {
                let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
                problems.add(Problem {
                    key: name,
                    value: value.to_string(),
                    place: Some(place.clone()),
                    allowed: format!("one of the settings {}", known.join(", ")),
                });
                continue;
            };
            match texts(key.arity, &value) {
                Some(texts) => self.lay(key, Written { texts, place: place.clone() }),
                None => problems.add(Problem {
                    key: name,
                    value: value.to_string(),
                    place: Some(place.clone()),
                    allowed: match key.arity {
                        Arity::One => "a text or a number".into(),
                        Arity::Many => "a text, or an array of texts".into(),
                        Arity::Switch => "true or false".into(),
                    },
                }),
            }
        }
    }

    fn lay_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        warnings: &mut Vec<String>,
    ) {
        for (name, value) in variables {
            if !name.starts_with(VARIABLE_PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                warnings.push(format!(
                    "{name} in the environment is no setting; `tickcast serve --help` lists them"
                ));
                continue;
            };
            if value.is_empty() {
                continue; // How shells and service files say "not set".
            }
            let texts = match key.arity {
                Arity::Many => value.split(',').map(|part| part.trim().to_owned()).collect(),
                Arity::One | Arity::Switch => vec![value],
            };
            self.lay(key, Written { texts, place: Place::Variable(name) });
        }
    }
}

/// A value of the file as flags would write it; `None` where its type is wrong.
fn texts(arity: Arity, value: &toml::Value) -> Option<Vec<String>> {
    match (arity, value) {
        (Arity::Many, toml::Value::Array(values)) => values.iter().map(plain).collect(),
        (Arity::Switch, toml::Value::Boolean(value)) => Some(vec![value.to_string()]),
        (Arity::Switch, _) => None,
        (Arity::One | Arity::Many, value) => Some(vec![plain(value)?]),
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message.to_owned(),
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let bound = limits::SETTINGS_FILE_BYTES_MAX;
    std::fs::File::open(path)?.take(bound + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bound {
        return Err(std::io::Error::other(format!("it is longer than {bound} bytes")));
    }
    Ok(text)
}

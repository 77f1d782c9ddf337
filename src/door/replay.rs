//! The remote control of a replay, as `/api/v1/replay` reads it.

use bytes::Bytes;
use serde_json::Value;

use crate::feed::{ReplayHandle, SpeedError};

/// A replay that can be steered while it runs.
pub trait ReplayControl: Send + Sync {
    /// What it does now, as the JSON body of the answer.
    fn state(&self) -> Value;
    /// Goes on, or begins.
    fn play(&self);
    /// Stands still.
    fn pause(&self);
    /// Sets the pace: a decimal number of times real time, or `max`. The error names it and says what is allowed.
    fn set_speed(&self, speed: &str) -> Result<(), String>;
}

impl ReplayControl for ReplayHandle {
    fn state(&self) -> Value {
        serde_json::to_value(ReplayHandle::state(self)).expect("a state is made of text, numbers and lists")
    }

    fn play(&self) {
        ReplayHandle::play(self);
    }

    fn pause(&self) {
        ReplayHandle::pause(self);
    }

    fn set_speed(&self, speed: &str) -> Result<(), String> {
        ReplayHandle::set_speed(self, speed.parse().map_err(|error: SpeedError| error.to_string())?);
        Ok(())
    }
}

/// What a client may ask of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Play,
    Pause,
    /// As it was written: a number stays exact.
    Speed(String),
}

impl Action {
    /// Reads `{"action":"play"|"pause"|"speed","speed":10}`. The error names the thing, the value and what is allowed.
    pub fn parse(body: &Bytes) -> Result<Action, String> {
        const ALLOWED: &str =
            "allowed: {\"action\":\"play\"}, {\"action\":\"pause\"} or {\"action\":\"speed\",\"speed\":10}";
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| format!("the body is no JSON ({error}); {ALLOWED}"))?;
        match value.get("action").and_then(Value::as_str) {
            Some("play") => Ok(Action::Play),
            Some("pause") => Ok(Action::Pause),
            Some("speed") => match value.get("speed") {
                Some(Value::Number(number)) => Ok(Action::Speed(number.to_string())),
                Some(Value::String(text)) => Ok(Action::Speed(text.clone())),
                Some(_) => Err(format!("speed is neither a number nor \"max\"; {ALLOWED}")),
                None => Err(format!("speed is absent; {ALLOWED}")),
            },
            Some(other) => Err(format!("action {}; {ALLOWED}", super::fault::shown(other))),
            None => Err(format!("action is absent or no text; {ALLOWED}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_read_or_refused_by_name() {
        let parse = |text: &'static str| Action::parse(&Bytes::from(text));
        assert_eq!(parse(r#"{"action":"play"}"#), Ok(Action::Play));
        assert_eq!(parse(r#"{"action":"pause","more":1}"#), Ok(Action::Pause));
        assert_eq!(parse(r#"{"action":"speed","speed":10}"#), Ok(Action::Speed("10".into())));
        assert_eq!(parse(r#"{"action":"speed","speed":0.1}"#), Ok(Action::Speed("0.1".into())));
        assert_eq!(parse(r#"{"action":"speed","speed":"max"}"#), Ok(Action::Speed("max".into())));
        for (text, named) in [
            ("", "no JSON"),
            ("{", "no JSON"),
            ("[]", "action is absent"),
            (r#"{"action":7}"#, "action is absent or no text"),
            (r#"{"action":"rewind"}"#, "action \"rewind\""),
            (r#"{"action":"speed"}"#, "speed is absent"),
            (r#"{"action":"speed","speed":[1]}"#, "neither a number"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(named) && message.contains("allowed: "), "{message}");
        }
    }
}

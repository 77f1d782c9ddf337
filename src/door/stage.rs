//! Replays that clients have for themselves, as the door knows them: what is asked for, and who has it.

use std::sync::Arc;

use hyper::StatusCode;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Refusal;
use super::fault::{Fault, shown};
use super::routes::parameter;
use crate::limits;
use crate::model::Catalog;
use crate::shard::{Seat, ShardHandle};

/// Where private replays are to be had.
pub trait Stage: Send + Sync {
    /// Takes a place and checks what needs no file. What it gives opens the replay, which may take its time, and gives
    /// the place back where it cannot.
    ///
    /// # Errors
    /// What is asked for cannot be, or every place is taken.
    fn prepare(&self, wanted: Wanted) -> Result<Opening, Refused>;

    /// Those that run.
    fn running(&self) -> Vec<Running>;
}

/// A replay that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its number, which no other has.
    pub number: u64,
    /// The file's name.
    pub name: String,
    /// Its instruments.
    pub catalog: Arc<Catalog>,
    /// Its shard, with one session.
    pub shard: ShardHandle,
}

/// Opens a replay. It blocks: not for a runtime's thread.
pub type Opening = Box<dyn FnOnce() -> Result<Opened, Refused> + Send>;

/// The replay that a client asks for, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The file's name.
    pub name: String,
    /// Where to begin.
    pub from: Option<String>,
    /// Where to end.
    pub to: Option<String>,
    /// How fast.
    pub speed: Option<String>,
}

/// A replay that waits for its client.
#[derive(Debug)]
pub struct Opened {
    /// Its shard, which is nobody else's.
    pub shard: ShardHandle,
    /// The one place there; the replay ends when it is given back.
    pub seat: Seat,
}

/// Why a client gets no replay of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no file of that name.
    Absent,
    /// A value means nothing.
    Value {
        /// The parameter.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// There is nothing to replay in the part that was asked for; the message says why.
    Part(String),
    /// The file cannot be replayed; the message says where and why.
    Damaged(String),
    /// The machine refused what it takes; the message says what.
    Failed(String),
    /// Every place is taken: so many.
    Full(usize),
    /// The server is stopping.
    Stopping,
}

impl Wanted {
    /// What the query of `/ws` asks for; `None`: the public feed.
    pub(super) fn of(query: &str) -> Result<Option<Wanted>, Fault> {
        let named = |name: &str| query.split('&').filter(|pair| pair.split('=').next() == Some(name)).count();
        if named("replay") == 0 {
            return Ok(None);
        }
        for name in ["replay", "from", "to", "speed"] {
            if named(name) > 1 {
                return Err(Fault::bad_request(format!(
                    "{name} is given {} times; allowed: once",
                    named(name)
                )));
            }
        }
        let text = |name| parameter(query, name).map(std::borrow::Cow::into_owned);
        // Without a value it names no file.
        let name = text("replay").unwrap_or_default();
        Ok(Some(Wanted { name, from: text("from"), to: text("to"), speed: text("speed") }))
    }
}

/// A place in a replay that was opened for it.
pub(super) async fn open(
    stage: Option<&dyn Stage>,
    wanted: Wanted,
) -> Result<(ShardHandle, Seat), (Refusal, Fault)> {
    let name = shown(&wanted.name);
    let Some(stage) = stage else {
        let message =
            format!("replay {name}: this server has no files to replay; start it with --replay-dir DIR");
        return Err((Refusal::Replay, Fault::new(StatusCode::NOT_FOUND, "unavailable", message)));
    };
    let opening = stage.prepare(wanted).map_err(|refused| fault(&name, refused))?;
    // Whoever waits no longer drops what is opened, and with it the place.
    match timeout(limits::HTTP_ANSWER_TIME, spawn_blocking(opening)).await {
        Ok(Ok(Ok(Opened { shard, seat }))) => Ok((shard, seat)),
        Ok(Ok(Err(refused))) => Err(fault(&name, refused)),
        Ok(Err(_)) => Err(fault(&name, Refused::Failed("it could not be opened".into()))),
        Err(_) => {
            let seconds = limits::HTTP_ANSWER_TIME.as_secs();
            let message = format!("replay {name} could not be opened within {seconds} s; try again later");
            Err((Refusal::Full, Fault::unavailable(message)))
        }
    }
}

fn fault(name: &str, refused: Refused) -> (Refusal, Fault) {
    let of = |status, code, message| (Refusal::Replay, Fault::new(status, code, message));
    match refused {
        Refused::Absent => of(
            StatusCode::NOT_FOUND,
            "unavailable",
            format!("replay {name}; allowed: the name of a feed file in the folder of --replay-dir"),
        ),
        Refused::Value { key, value, allowed } => {
            of(StatusCode::BAD_REQUEST, "bad_request", format!("{key} {}; allowed: {allowed}", shown(&value)))
        }
        Refused::Part(message) => of(StatusCode::BAD_REQUEST, "bad_request", message),
        Refused::Damaged(message) => of(StatusCode::UNPROCESSABLE_ENTITY, "unavailable", message),
        Refused::Failed(message) => {
            of(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", format!("replay {name}: {message}"))
        }
        Refused::Full(most) => {
            let message =
                format!("private replays: {most} are taken; allowed: {most}; try again in a second");
            (Refusal::Full, Fault::full(message))
        }
        Refused::Stopping => {
            (Refusal::Full, Fault::unavailable("the server is stopping; connect again in a second"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_from_the_query() {
        let of = |query| Wanted::of(query).map_err(|fault| fault.message.into_owned());
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("from=1&speed=2"), Ok(None), "the public feed, whatever else there is");
        assert_eq!(of("replay").unwrap().unwrap().name, "", "which is no file");
        let twice = of("replay=a&speed=2&speed=3").unwrap_err();
        assert_eq!(twice, "speed is given 2 times; allowed: once");
        let wanted = of("x=1&replay=a%20b.feed&to=2023-12-25T00%3A00:00%2B01:00&speed=max").unwrap().unwrap();
        assert_eq!((wanted.name.as_str(), wanted.from), ("a b.feed", None));
        assert_eq!(
            (wanted.to.as_deref(), wanted.speed.as_deref()),
            (Some("2023-12-25T00:00:00+01:00"), Some("max"))
        );
    }
}

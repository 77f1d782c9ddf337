//! A client that checks whatever it reads. It shares the codec with the server and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use tickcast::model::{Catalog, Channel};
use tickcast::shard::{Protocol, Terms};

use super::counts::Counts;
use super::oracle::StreamKey;
use super::reading::{self, Granted, Said};
use super::requests::{Asked, Subscribe};
use super::socket::Socket;
use super::stream::{Around, State, Stream, View};

/// A request that is not answered whole.
#[derive(Debug)]
struct Open {
    id: u64,
    asked: Rc<Asked>,
    asked_ns: u64,
    /// What was answered so far.
    streams: BTreeSet<StreamKey>,
    listed: usize,
}

impl Open {
    /// The streams that it ends.
    fn leaving(&self, catalog: &Catalog) -> Vec<StreamKey> {
        match *self.asked {
            Asked::Unsubscribe { .. } => self.asked.streams(catalog).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// One connection as its client sees it.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    socket: Socket,
    pub streams: BTreeMap<StreamKey, Stream>,
    open: VecDeque<Open>,
    next_id: u64,
    is_welcome: bool,
    pub close: Option<(u16, String)>,
    /// Messages, text and binary.
    pub received: u64,
    /// Whether it was told at some time that it is conflated, and whether it is.
    pub was_conflated: bool,
    pub is_conflated: bool,
    pub errors: usize,
    pub heartbeats: usize,
    /// WebSocket pings that were not answered.
    pub pings: usize,
    /// Instruments of which an unknown epoch was claimed.
    restarts: BTreeSet<u32>,
    pub counts: Counts,
}

impl Client {
    pub fn new(terms: Terms) -> Client {
        Client {
            protocol: terms.protocol,
            socket: Socket::new(terms),
            streams: BTreeMap::new(),
            open: VecDeque::new(),
            next_id: 1,
            is_welcome: false,
            close: None,
            received: 0,
            was_conflated: false,
            is_conflated: false,
            errors: 0,
            heartbeats: 0,
            pings: 0,
            restarts: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Makes a request, whose answer is then waited for.
    pub fn ask(&mut self, asked: Asked, catalog: &Catalog, now_ns: u64) -> String {
        let id = self.next_id;
        self.next_id += 1;
        self.counts.requests += 1;
        let text = asked.text(id, catalog);
        self.open.push_back(Open {
            id,
            asked: asked.into(),
            asked_ns: now_ns,
            streams: BTreeSet::new(),
            listed: 0,
        });
        text
    }

    /// Whether every request was answered.
    pub fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes bytes, at any split.
    pub fn read(&mut self, bytes: &[u8], catalog: &Catalog, around: &Around<'_>) {
        for (opcode, payload) in self.socket.take(bytes) {
            let payload = &payload[..];
            assert_eq!(self.close, None, "a frame after the close frame");
            let said = match opcode {
                1 => reading::text(payload, catalog),
                2 => {
                    assert_eq!(self.protocol, Protocol::Binary, "a binary frame on a JSON connection");
                    reading::binary(payload)
                }
                8 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    self.close = Some((code, String::from_utf8(payload[2..].to_vec()).unwrap()));
                    continue;
                }
                9 => {
                    self.counts.pings += 1;
                    self.pings += 1;
                    continue;
                }
                10 => continue,
                other => panic!("opcode {other}"),
            };
            self.received += 1;
            assert_eq!(self.is_welcome, !matches!(said, Said::Welcome), "one welcome, first: {said:?}");
            let around = Around { conflated: self.was_conflated, ..*around };
            self.hear(said, opcode == 1, catalog, &around);
        }
        // A close may come between the fragments of a message, which then has no end.
        assert!(self.close.is_none() || self.socket.is_between_frames());
        self.counts.compressed += std::mem::take(&mut self.socket.compressed);
        self.counts.fragmented += std::mem::take(&mut self.socket.fragmented);
    }

    fn hear(&mut self, said: Said, is_text: bool, catalog: &Catalog, around: &Around<'_>) {
        match said {
            Said::Welcome => self.is_welcome = true,
            Said::Subscribed { id, streams, more } => {
                for granted in streams {
                    self.granted(id, &granted, catalog, around);
                }
                self.answered(id, more, catalog);
            }
            Said::Unsubscribed { id, streams, more } => {
                for stream in streams {
                    assert!(
                        self.streams.remove(&stream).is_some(),
                        "only what was there is ended: {stream:?}"
                    );
                    self.counts.streams_ended += 1;
                    self.first_open(id).streams.insert(stream);
                }
                if !more {
                    let asked = self.first_open(id).asked.streams(catalog).unwrap();
                    let left = asked.iter().find(|stream| self.streams.contains_key(stream));
                    assert_eq!(left, None, "was to end and did not");
                    self.first_open(id).streams.extend(asked);
                }
                self.answered(id, more, catalog);
            }
            Said::Instruments { id, count, more } => {
                self.first_open(id).listed += count;
                self.answered(id, more, catalog);
            }
            Said::Pong { id } => {
                let open = self.take_open(id);
                assert!(matches!(*open.asked, Asked::Ping), "{open:?}");
            }
            Said::Error { id, code } => {
                self.errors += 1;
                self.counts.refusals += 1;
                if let Some(id) = id {
                    let open = self.take_open(id);
                    let why = open.asked.streams(catalog).err();
                    assert!(why == Some(&*code) || code == "limit_exceeded", "{code}: {open:?}");
                    assert!(open.streams.is_empty(), "refused after a part was granted");
                }
            }
            Said::Heartbeat(named) => {
                self.heartbeats += 1;
                self.counts.heartbeats += 1;
                assert!(named.len() <= 64);
                for (stream, epoch, seq) in named {
                    self.counts.heartbeat_streams += 1;
                    self.stream(stream).heartbeat(epoch, seq, around.oracle);
                }
            }
            Said::Notice(code) => self.notice(&code, catalog),
            Said::Gap { stream, epoch, from, to, count } => {
                assert_eq!(count, to - from + 1);
                self.counts.gaps += 1;
                let mut counts = std::mem::take(&mut self.counts);
                self.stream(stream).gap(epoch, from, to, around, &mut counts);
                self.counts = counts;
            }
            Said::Reset { instrument, epoch, reason } => {
                self.counts.resets_told += 1;
                // Of what is to end the server may have said its last.
                let leaving: Vec<StreamKey> =
                    self.open.iter().flat_map(|open| open.leaving(catalog)).collect();
                let streams = self.streams.values_mut().filter(|stream| stream.key.0 == instrument);
                if reason == "restart" {
                    assert!(
                        self.restarts.remove(&instrument),
                        "no unknown epoch was claimed of {instrument}"
                    );
                    streams.for_each(|stream| assert_eq!(stream.epoch, epoch, "{stream:?}"));
                } else {
                    let mut old = streams.filter(|stream| stream.epoch != epoch).peekable();
                    assert!(old.peek().is_some(), "a reset of {instrument} that concerns nothing");
                    old.for_each(|stream| stream.reset(epoch, leaving.contains(&stream.key), around));
                }
            }
            Said::Data(messages) => {
                assert_eq!(is_text, self.protocol == Protocol::Json, "market data in the other encoding");
                let mut counts = std::mem::take(&mut self.counts);
                for data in messages {
                    self.stream(data.stream).data(&data, around, &mut counts);
                }
                self.counts = counts;
            }
        }
    }

    fn notice(&mut self, code: &str, catalog: &Catalog) {
        match code {
            "conflating" => {
                assert!(!self.is_conflated, "told twice");
                // A notice may overtake the reply to who gives such a stream up, or asks for it otherwise.
                let asked = self.open.iter().filter_map(|open| open.asked.streams(catalog).ok());
                let asked: BTreeSet<StreamKey> = asked.flatten().collect();
                let mut streams = self.streams.values().filter(|stream| !asked.contains(&stream.key));
                let never = streams.find(|stream| stream.never_conflate && stream.key.1 != Channel::Status);
                assert!(never.is_none(), "never to be conflated: {never:?}");
                (self.is_conflated, self.was_conflated) = (true, true);
                self.counts.conflations += 1;
            }
            "recovered" => {
                assert!(std::mem::take(&mut self.is_conflated), "it was not conflated");
                self.counts.recoveries += 1;
            }
            "stale" | "live" => self.counts.stale_notices += 1,
            "replay_ended" | "shutting_down" => {}
            other => panic!("notice {other}"),
        }
    }

    fn stream(&mut self, key: StreamKey) -> &mut Stream {
        self.streams.get_mut(&key).unwrap_or_else(|| panic!("data of a stream that we do not have: {key:?}"))
    }

    /// The oldest request that is not answered, but for those whose answers may overtake.
    fn first_open(&mut self, id: u64) -> &mut Open {
        let mut waiting = self.open.iter_mut().filter(|open| !matches!(*open.asked, Asked::Ping));
        let first = waiting.next().expect("an answer to nothing");
        assert_eq!(first.id, id, "answers come in the order of the requests");
        first
    }

    fn take_open(&mut self, id: u64) -> Open {
        let at = self.open.iter().position(|open| open.id == id).expect("an answer to nothing");
        self.open.remove(at).unwrap()
    }

    fn answered(&mut self, id: u64, more: bool, catalog: &Catalog) {
        if more {
            return;
        }
        let open = self.take_open(id);
        let streams: Vec<StreamKey> = open.streams.into_iter().collect();
        assert_eq!(Ok(streams), open.asked.streams(catalog), "answered whole: {:?}", open.asked);
        assert!(!matches!(*open.asked, Asked::List) || open.listed == catalog.len());
    }

    /// A stream begins, or begins anew.
    fn granted(&mut self, id: u64, granted: &Granted, catalog: &Catalog, around: &Around<'_>) {
        let Granted { stream: key, epoch, seq, .. } = *granted;
        self.counts.streams_granted += 1;
        let open = self.first_open(id);
        assert!(open.streams.insert(key), "granted twice: {key:?}");
        let asked_ns = open.asked_ns;
        let asked = open.asked.clone();
        let Asked::Subscribe(asked) = &*asked else { panic!("{open:?}") };
        let told_depth = catalog.instruments()[key.0 as usize].book_depth;
        let view = View {
            depth: asked.granted_depth(key.1, told_depth),
            interval_ms: asked.granted_interval(key.1),
            period: asked.granted_period(key.1),
        };
        let is = View { depth: granted.depth, interval_ms: granted.interval_ms, period: granted.period };
        assert_eq!(is, view, "granted for {asked:?}");
        let before = self.streams.remove(&key).filter(|before| before.epoch == epoch);
        let mut stream = self.begun(asked, granted, view, before.as_ref(), around);
        assert!(seq <= around.oracle.last(epoch, key) || stream.resumed, "granted beyond what was published");
        (stream.never_conflate, stream.is_ahead) = (asked.never, asked.is_ahead);
        stream.asked_ns = asked_ns;
        self.streams.insert(key, stream);
    }

    fn begun(
        &mut self,
        asked: &Subscribe,
        granted: &Granted,
        view: View,
        before: Option<&Stream>,
        around: &Around<'_>,
    ) -> Stream {
        let Granted { stream: key, epoch, seq, .. } = *granted;
        let wants_snapshot = asked.snapshot.unwrap_or(key.1 != Channel::Trades);
        let from = asked.from.iter().find(|from| from.0 == key).map(|&(_, epoch, seq)| (epoch, seq));
        let claimed = from.filter(|from| from.0 == epoch).map(|from| from.1);
        let resumes = claimed.filter(|_| view.is_whole() || key.1 == Channel::Bars);
        self.counts.resumes_asked += u64::from(from.is_some());
        if from.is_some() && claimed.is_none() {
            self.counts.resumes_unknown_epoch += 1;
            self.restarts.insert(key.0);
        }
        let needs_state = wants_snapshot || (from.is_some() && key.1 != Channel::Trades);
        let state = match resumes {
            Some(held) => {
                assert_eq!(seq, held, "it goes on from where the client stands: {granted:?}");
                // What the shard has not reached may be more than there is.
                if held > around.oracle.last(epoch, key) { State::Ahead(held) } else { State::At(held) }
            }
            None if needs_state => {
                // What has never said anything has no state.
                let or = (matches!(key.1, Channel::Bars | Channel::Trades) && seq == 0).then_some(0);
                let held = before.and_then(Stream::held);
                State::Awaits { at_least: held.max(claimed).unwrap_or(0), held: None, or }
            }
            None => State::At(seq),
        };
        self.counts.resumes_ahead += u64::from(matches!(state, State::Ahead(_)));
        let mut stream = Stream::new(key, view, epoch, state, around.oracle);
        stream.wants_snapshot = wants_snapshot;
        stream.resumed = resumes.is_some();
        stream
    }
}

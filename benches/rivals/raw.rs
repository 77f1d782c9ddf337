//! `raw`: the raw limit. The bytes of a burst are prepared once, and one thread writes them with one `send` to each
//! subscriber. There is no backlog: who does not take its bytes holds up everybody.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tokio_tungstenite::tungstenite::{Message, accept_hdr};

use crate::frame::{self, FRAME_BYTES, PAYLOAD_BYTES, Trade};
use crate::schedule::{Schedule, Timer, unix_ns};
use crate::shared::{Failure, Flags, announce, answer, follow_stdin, listen, welcome};
use crate::tungstenite::subprotocol;

/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Ticks of a burst, where it goes as fast as the clients take it: more than a send buffer holds.
const BURST_AT_MOST_SPEED: u64 = 1_024;

/// A client and its instruments.
type Arrival = (TcpStream, Vec<usize>);

pub fn run(flags: Flags) -> Result<(), Failure> {
    let listener = listen()?;
    announce(&listener)?;
    let (arrivals, arrived) = mpsc::channel();
    let (start, started) = mpsc::channel();
    follow_stdin(move || start.send(()).expect("the publisher lives as long as the process"));
    std::thread::spawn(move || accept(&listener, flags.symbols, &arrivals));
    started.recv()?;
    publish(flags, &arrived)
}

/// Lets clients in, one after the other; while it is published too, so that whoever knocks has an answer.
fn accept(listener: &TcpListener, symbols: usize, arrivals: &Sender<Arrival>) {
    for socket in listener.incoming() {
        let arrival = socket.map_err(Failure::from).and_then(|socket| greet(socket, symbols));
        if let Ok(Some(arrival)) = arrival {
            arrivals.send(arrival).expect("the publisher lives as long as the process");
        }
        // Others want no WebSocket, or have gone when they had their list.
    }
}

/// Answers a client until it has subscribed.
fn greet(socket: TcpStream, symbols: usize) -> Result<Option<Arrival>, Failure> {
    socket.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut socket = accept_hdr(socket, subprotocol)?;
    socket.send(Message::text(welcome()))?;
    while let Message::Text(request) = socket.read()? {
        let answer = answer(&request, symbols);
        socket.send(Message::text(answer.text))?;
        if let Some(instruments) = answer.subscribed {
            return Ok(Some((socket.get_ref().try_clone()?, instruments)));
        }
    }
    Ok(None)
}

/// Sends until the process ends.
fn publish(flags: Flags, arrived: &Receiver<Arrival>) -> Result<(), Failure> {
    let mut gather = flags.gather;
    if flags.rate.is_none() {
        // In whole rounds of the symbols.
        let rounds = BURST_AT_MOST_SPEED.div_ceil(flags.symbols as u64);
        gather = gather.max(rounds * flags.symbols as u64);
    }
    let mut burst = Burst::new(flags.symbols, gather as usize);
    let mut subscribers = Subscribers::new(flags.symbols, arrived);
    let (timer, mut schedule) = (Timer::new()?, Schedule::start(&flags));
    loop {
        let due_unix_ns = timer.wait(&mut schedule)?;
        burst.fill(due_unix_ns, unix_ns());
        subscribers.send(&burst);
    }
}

/// The frames of a burst, those of a symbol together.
struct Burst {
    frames: Vec<u8>,
    /// Where those of a symbol are.
    ranges: Vec<Range<usize>>,
    /// The symbols that have some.
    touched: Vec<usize>,
    /// The last sequence of each symbol.
    seqs: Vec<u64>,
    /// The symbol of the next tick.
    next: usize,
}

impl Burst {
    fn new(symbols: usize, gather: usize) -> Burst {
        let mut frame = vec![0x82, PAYLOAD_BYTES as u8];
        frame.extend_from_slice(&frame::blank());
        let (ranges, seqs) = (vec![0..0; symbols], vec![0; symbols]);
        Burst { frames: frame.repeat(gather), ranges, touched: Vec::new(), seqs, next: 0 }
    }

    /// Deals the ticks over the symbols in turns, from where the last burst ended.
    fn fill(&mut self, due_unix_ns: u64, sent_unix_ns: u64) {
        let (symbols, gather) = (self.seqs.len(), self.frames.len() / FRAME_BYTES);
        for symbol in self.touched.drain(..) {
            self.ranges[symbol] = 0..0;
        }
        let mut frames = self.frames.chunks_exact_mut(FRAME_BYTES);
        let mut end = 0;
        for turn in 0..symbols.min(gather) {
            let symbol = (self.next + turn) % symbols;
            let (start, count) = (end, gather / symbols + usize::from(turn < gather % symbols));
            for frame in frames.by_ref().take(count) {
                self.seqs[symbol] += 1;
                let (instrument, seq) = (symbol as u32, self.seqs[symbol]);
                frame::put(&mut frame[2..], Trade { instrument, seq, due_unix_ns, sent_unix_ns });
            }
            end += count * FRAME_BYTES;
            self.ranges[symbol] = start..end;
            self.touched.push(symbol);
        }
        self.next = (self.next + gather) % symbols;
    }

    fn of(&self, symbol: usize) -> &[u8] {
        &self.frames[self.ranges[symbol].clone()]
    }
}

/// Who has what.
struct Subscribers {
    /// Those of one symbol, by symbol.
    of_one: Vec<Vec<TcpStream>>,
    of_several: Vec<Arrival>,
    of_all: Vec<TcpStream>,
    /// The bytes of several symbols in a row.
    row: Vec<u8>,
}

impl Subscribers {
    fn new(symbols: usize, arrived: &Receiver<Arrival>) -> Subscribers {
        let (mut of_one, mut of_several, mut of_all) = (vec![], vec![], vec![]);
        of_one.resize_with(symbols, Vec::new);
        for (socket, instruments) in arrived.try_iter() {
            match instruments[..] {
                [one] => of_one[one].push(socket),
                _ if instruments.len() == symbols => of_all.push(socket),
                _ => of_several.push((socket, instruments)),
            }
        }
        Subscribers { of_one, of_several, of_all, row: Vec::new() }
    }

    /// One `send` to each that has something in the burst. Who is gone is left out from then on.
    fn send(&mut self, burst: &Burst) {
        for symbol in &burst.touched {
            self.of_one[*symbol].retain_mut(|socket| socket.write_all(burst.of(*symbol)).is_ok());
        }
        self.of_all.retain_mut(|socket| socket.write_all(&burst.frames).is_ok());
        let row = &mut self.row;
        self.of_several.retain_mut(|(socket, instruments)| {
            row.clear();
            instruments.iter().for_each(|symbol| row.extend_from_slice(burst.of(*symbol)));
            row.is_empty() || socket.write_all(row).is_ok()
        });
    }
}

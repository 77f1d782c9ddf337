//! What every rival needs: its flags, its socket, when to start and to end, and as much of the protocol as a client of
//! `tickcast bench` asks for.

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::hub::Hub;

/// Why a rival ends early.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The one subprotocol there is.
pub const SUBPROTOCOL: &str = "tickcast.v1.bin";
/// `SO_SNDBUF` of every connection: what Tickcast takes by default.
const SEND_BUFFER_BYTES: usize = 64 * 1_024;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// What the load generator says of the workload. Flags beside these are for others.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    pub symbols: usize,
    /// Ticks that are published at once.
    pub gather: u64,
    /// Ticks a second; `None`: as fast as the clients take them.
    pub rate: Option<u64>,
}

impl Flags {
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Flags, Failure> {
        let mut flags = Flags { symbols: 1, gather: 1, rate: Some(1_000) };
        while let Some(name) = arguments.next() {
            if !["--symbols", "--gather", "--rate", "--content"].contains(&name.as_str()) {
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} of what?"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: allowed: 1 or more"));
            match name.as_str() {
                "--symbols" => flags.symbols = number()? as usize,
                "--gather" => flags.gather = number()?,
                "--rate" if value == "max" => flags.rate = None,
                "--rate" => flags.rate = Some(number()?),
                _ if value == "trades" => {}
                _ => return Err(format!("{name} {value}: a rival publishes trades and nothing else").into()),
            }
        }
        if flags.symbols == 0 || flags.gather == 0 || flags.rate == Some(0) {
            return Err("--symbols, --gather, --rate: allowed: 1 or more".into());
        }
        Ok(flags)
    }
}

/// A socket that listens, with the options that its connections inherit.
pub fn listen() -> Result<TcpListener, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Says where clients find it.
pub fn announce(listener: &TcpListener) -> Result<(), Failure> {
    println!("ws://{}/ws", listener.local_addr()?);
    Ok(io::stdout().flush()?)
}

/// Reads standard input in a thread: its first line is the start, its end is the end of this process.
pub fn follow_stdin(start: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let mut start = Some(start);
        for _line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(start) = start.take() {
                start();
            }
        }
        std::process::exit(0);
    });
}

/// Runs a server of one thread: `serve` is given each connection.
pub fn on_tokio<S: Future<Output = ()> + Send + 'static>(
    flags: Flags,
    serve: impl Fn(tokio::net::TcpStream, Arc<Hub>) -> S,
) -> Result<(), Failure> {
    let (listener, hub) = (listen()?, Arc::new(Hub::new(&flags)));
    announce(&listener)?;
    let (start, started) = tokio::sync::oneshot::channel();
    follow_stdin(move || start.send(()).expect("the publisher lives as long as the process"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(publish(hub.clone(), flags, started));
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(serve(socket, hub.clone()));
        }
    })
}

async fn publish(hub: Arc<Hub>, flags: Flags, start: tokio::sync::oneshot::Receiver<()>) {
    if let Err(failure) = hub.publish(flags, start).await {
        eprintln!("rivals: {failure}");
        std::process::exit(1);
    }
}

/// The first message of a connection.
pub fn welcome() -> String {
    json!({"type": "welcome", "protocol": SUBPROTOCOL, "epoch": 1}).to_string()
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    pub text: String,
    /// The instruments whose trades the client has from now on.
    pub subscribed: Option<Vec<usize>>,
}

/// Answers `list` and `subscribe`, and anything else with an error. Symbols are `S0`, `S1`, ...
pub fn answer(request: &str, symbols: usize) -> Answer {
    let request: Value = serde_json::from_str(request).unwrap_or_default();
    let fault = |message: &str| {
        let text = json!({"type": "error", "id": request["id"], "code": "bad_request", "message": message});
        Answer { text: text.to_string(), subscribed: None }
    };
    match request["op"].as_str() {
        Some("list") => {
            let named = |number| json!({"symbol": format!("S{number}"), "instrument": number});
            let instruments: Vec<_> = (0..symbols).map(named).collect();
            let text = json!({"type": "instruments", "id": request["id"], "epoch": 1, "instruments": instruments,
                "more": false});
            Answer { text: text.to_string(), subscribed: None }
        }
        Some("subscribe") => {
            let Some(wanted) = wanted(&request["symbols"], symbols) else { return fault("no such symbol") };
            let stream = |number: &usize| {
                json!({"symbol": format!("S{number}"), "instrument": number, "channel": "trades",
                    "price_exponent": -2, "quantity_exponent": 0, "epoch": 1, "seq": 0})
            };
            let streams: Vec<_> = wanted.iter().map(stream).collect();
            let text = json!({"type": "subscribed", "id": request["id"], "streams": streams, "more": false});
            Answer { text: text.to_string(), subscribed: Some(wanted) }
        }
        _ => fault("a rival knows list and subscribe"),
    }
}

fn wanted(named: &Value, symbols: usize) -> Option<Vec<usize>> {
    let named = named.as_array()?;
    if named.iter().any(|symbol| symbol == "*") {
        return Some((0..symbols).collect());
    }
    let number = |symbol: &Value| symbol.as_str()?.strip_prefix('S')?.parse().ok();
    named.iter().map(|symbol| number(symbol).filter(|number| *number < symbols)).collect()
}

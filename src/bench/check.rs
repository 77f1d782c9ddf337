//! What a client checks of the streams it was granted: no sequence missing, none twice, each checksum right.

use rustc_hash::FxHashMap;
use zerocopy::FromBytes;

use super::Fault;
use super::meter::Meter;
use super::text::{Grant, Text};
use crate::model::{Channel, L2Book, Level, Side, parse_decimal};
use crate::wire::market::{BookBody, FrameHeader, MessageHeader, OrdersBody, VERSION, flag, kind};
use crate::wire::message;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    by_key: FxHashMap<u64, usize>,
    /// The stream of the last frame: the next is often of the same.
    recent: (u64, usize),
    /// Numbers of the instruments; only JSON asks.
    numbers: FxHashMap<Box<str>, u32>,
}

/// One stream.
#[derive(Debug)]
struct Stream {
    epoch: u64,
    /// The last sequence held, or declared lost.
    last: u64,
    /// Whether it has begun: what lies before is not ours.
    has_begun: bool,
    /// Levels a side; `None`: all.
    depth: Option<u32>,
    price_exponent: i8,
    quantity_exponent: i8,
    /// The levels, where the channel is `book`.
    book: Option<Box<Mirror>>,
}

#[derive(Debug, Default)]
struct Mirror {
    book: L2Book,
    /// Whether the levels are those of the server: not before the first snapshot.
    is_whole: bool,
}

/// What a message says of itself.
struct Heard {
    first: u64,
    last: u64,
    ts_ns: u64,
    sent_ns: u64,
    is_snapshot: bool,
    /// Whether parts of the same snapshot follow.
    has_more_parts: bool,
    /// How many of its sequences it carries.
    carried: u64,
}

fn key(instrument: u32, channel: u8) -> u64 {
    u64::from(instrument) << 8 | u64::from(channel)
}

impl Streams {
    /// A stream was granted.
    pub fn granted(&mut self, grant: &Grant<'_>) {
        let (Some(channel), Some(instrument)) = (grant.channel(), grant.instrument) else { return };
        let stream = Stream {
            epoch: grant.epoch.unwrap_or(0),
            last: grant.seq.unwrap_or(0),
            has_begun: false,
            depth: grant.depth,
            price_exponent: grant.price_exponent,
            quantity_exponent: grant.quantity_exponent,
            book: (channel == Channel::Book).then(Box::default),
        };
        self.numbers.insert(grant.symbol.as_ref().into(), instrument);
        let next = self.streams.len();
        match *self.by_key.entry(key(instrument, channel as u8)).or_insert(next) {
            at if at < next => self.streams[at] = stream,
            _ => self.streams.push(stream),
        }
    }

    /// Whether none was granted.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Sequences were declared lost.
    pub fn gap(&mut self, text: &Text<'_>, meter: &mut Meter) -> Result<(), Fault> {
        let (Some(from), Some(to)) = (text.from, text.to) else {
            return Err(Fault::protocol("a gap of what?"));
        };
        let channel = text.channel.as_deref().and_then(Channel::from_name);
        let Some(stream) = channel.and_then(|channel| self.of_text(text, channel)) else {
            return Err(Fault::protocol("a gap of a stream that was not granted"));
        };
        if from != stream.last + 1 && stream.has_begun {
            meter.faults.gaps += 1;
        }
        meter.lost += to.saturating_sub(stream.last);
        (stream.last, stream.has_begun) = (to, true);
        Ok(())
    }

    /// History ended.
    pub fn reset(&mut self, text: &Text<'_>) {
        let number = text.symbol.as_deref().and_then(|symbol| self.numbers.get(symbol)).copied();
        let (Some(number), Some(epoch)) = (number, text.epoch) else { return };
        for channel in 1..=u8::MAX {
            if Channel::from_number(channel).is_none() {
                break;
            }
            if let Some(&at) = self.by_key.get(&key(number, channel)) {
                let stream = &mut self.streams[at];
                if stream.epoch != epoch {
                    (stream.epoch, stream.last, stream.has_begun) = (epoch, 0, true);
                    stream.book = stream.book.take().map(|_| Box::default());
                }
            }
        }
    }

    fn of_text(&mut self, text: &Text<'_>, channel: Channel) -> Option<&mut Stream> {
        let number = *self.numbers.get(text.symbol.as_deref()?)?;
        let at = *self.by_key.get(&key(number, channel as u8))?;
        Some(&mut self.streams[at])
    }

    /// Checks a binary frame.
    ///
    /// # Errors
    /// What is no frame of market data, or of a stream that was not granted.
    #[inline]
    pub fn binary(&mut self, payload: &[u8], now_ns: u64, meter: &mut Meter) -> Result<(), Fault> {
        let (header, mut rest) =
            FrameHeader::read_from_prefix(payload).map_err(|_| Fault::protocol("a frame cut short"))?;
        if header.version != VERSION {
            return Err(Fault::protocol(format!("a frame of version {}", header.version)));
        }
        let key = key(header.instrument, header.channel);
        if self.recent.0 != key || self.streams.is_empty() {
            let known = self.by_key.get(&key);
            let at = *known.ok_or_else(|| Fault::protocol("a frame of a stream that was not granted"))?;
            self.recent = (key, at);
        }
        let stream = &mut self.streams[self.recent.1];
        if header.epoch != stream.epoch {
            return Err(Fault::protocol(format!("epoch {} where {} is", header.epoch, stream.epoch)));
        }
        meter.frame(payload.len());
        for _ in 0..header.messages {
            let Ok((head, _)) = MessageHeader::read_from_prefix(rest) else {
                return Err(Fault::protocol("a message cut short"));
            };
            let length = head.length as usize;
            if length < size_of::<MessageHeader>() || length > rest.len() {
                return Err(Fault::protocol(format!("a message of {length} bytes in {}", rest.len())));
            }
            let (message, after) = rest.split_at(length);
            rest = after;
            stream.binary(&head, &message[size_of::<MessageHeader>()..], now_ns, meter)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(Fault::protocol("bytes behind the last message")) }
    }

    /// Checks a message of market data in JSON.
    ///
    /// # Errors
    /// What lacks what every message has, or is of a stream that was not granted.
    pub fn json(
        &mut self,
        text: &Text<'_>,
        bytes: usize,
        now_ns: u64,
        meter: &mut Meter,
    ) -> Result<(), Fault> {
        let channel = match text.kind.as_ref() {
            "quote" => Channel::Quotes,
            "trade" => Channel::Trades,
            "orderbook" => Channel::Book,
            "order" | "orders" => Channel::Orders,
            "price" => Channel::Ticker,
            "bar" => Channel::Bars,
            "status" => Channel::Status,
            // What a later version adds.
            _ => return Ok(()),
        };
        let (Some(first), Some(last)) = (text.first_seq, text.last_seq) else {
            return Err(Fault::protocol("market data without sequences"));
        };
        let stream =
            self.of_text(text, channel).ok_or_else(|| Fault::protocol("data that was not granted"))?;
        meter.frame(bytes);
        let covered = last.saturating_sub(first) + 1;
        let heard = Heard {
            first,
            last,
            ts_ns: text.ts_ns(),
            sent_ns: text.sent_ns(),
            is_snapshot: text.snapshot,
            has_more_parts: text.part < text.parts,
            carried: covered.saturating_sub(text.merged),
        };
        if stream.heard(&heard, now_ns, meter) && channel == Channel::Book {
            stream.json_levels(text, &heard, meter)?;
        }
        Ok(())
    }
}

impl Stream {
    #[inline]
    fn binary(
        &mut self,
        head: &MessageHeader,
        body: &[u8],
        now_ns: u64,
        meter: &mut Meter,
    ) -> Result<(), Fault> {
        let cut = || Fault::protocol("a message that is too short for its kind");
        let (mut carried, mut has_more_parts) = (1, false);
        let mut levels = None;
        match head.kind {
            kind::ORDERBOOK => {
                let (book, entries) = BookBody::read_from_prefix(body).map_err(|_| cut())?;
                carried = u64::from(book.bids) + u64::from(book.asks);
                has_more_parts = book.part < book.parts;
                levels = Some((book, entries));
            }
            kind::ORDERS => {
                let (orders, _) = OrdersBody::read_from_prefix(body).map_err(|_| cut())?;
                has_more_parts = orders.part < orders.parts;
            }
            _ => {}
        }
        let heard = Heard {
            first: head.first_seq,
            last: head.last_seq,
            ts_ns: head.ts_ns,
            sent_ns: head.sent_ns,
            is_snapshot: head.flags & flag::SNAPSHOT != 0,
            has_more_parts,
            carried,
        };
        if self.heard(&heard, now_ns, meter)
            && let Some((book, entries)) = levels
        {
            let count = |count: u32| (count as usize).saturating_mul(size_of::<Level>());
            let (bids, entries) = entries.split_at_checked(count(book.bids)).ok_or_else(cut)?;
            let (asks, _) = entries.split_at_checked(count(book.asks)).ok_or_else(cut)?;
            let read = |side, bytes: &[u8]| {
                let levels = bytes.chunks_exact(size_of::<Level>());
                levels
                    .filter_map(move |bytes| Some((side, Level::read_from_bytes(bytes).ok()?)))
                    .collect::<Vec<_>>()
            };
            let levels = [read(Side::Bid, bids), read(Side::Ask, asks)].concat();
            let checksum = (head.flags & flag::CHECKSUM != 0).then_some(book.checksum);
            self.levels(&heard, book.part <= 1, levels, checksum, meter);
        }
        Ok(())
    }

    /// Judges the sequences; whether what the message says is to be applied.
    #[inline]
    fn heard(&mut self, heard: &Heard, now_ns: u64, meter: &mut Meter) -> bool {
        if heard.is_snapshot {
            if heard.last < self.last {
                meter.faults.repeated += 1;
                return false;
            }
            if !heard.has_more_parts {
                if self.has_begun {
                    meter.merged += heard.last - self.last;
                }
                (self.last, self.has_begun) = (heard.last, true);
            }
            meter.snapshots += 1;
            return true;
        }
        if heard.last <= self.last {
            meter.faults.repeated += 1;
            return false;
        }
        if heard.first > self.last + 1 {
            meter.faults.gaps += 1;
            meter.faults.missing += heard.first - self.last - 1;
            self.last = heard.first - 1;
        }
        let covered = heard.last - self.last;
        let carried = heard.carried.min(covered);
        (self.last, self.has_begun) = (heard.last, true);
        meter.message(heard.sent_ns, heard.ts_ns, now_ns, carried, covered - carried);
        true
    }

    fn json_levels(&mut self, text: &Text<'_>, heard: &Heard, meter: &mut Meter) -> Result<(), Fault> {
        let mut levels = Vec::new();
        for (side, entries) in [(Side::Bid, &text.bids), (Side::Ask, &text.asks)] {
            for (price, quantity) in entries {
                let price = parse_decimal(price.get(), self.price_exponent);
                let quantity = parse_decimal(quantity.get(), self.quantity_exponent);
                let (Some(price), Some(quantity)) = (price, quantity) else {
                    return Err(Fault::protocol("a level that is no pair of decimals"));
                };
                levels.push((side, Level { price, quantity }));
            }
        }
        self.levels(heard, text.part <= 1, levels, text.checksum, meter);
        Ok(())
    }

    fn levels(
        &mut self,
        heard: &Heard,
        is_first_part: bool,
        levels: Vec<(Side, Level)>,
        checksum: Option<u32>,
        meter: &mut Meter,
    ) {
        let Some(mirror) = &mut self.book else { return };
        if heard.is_snapshot {
            if is_first_part {
                mirror.book.clear();
            }
            mirror.is_whole = !heard.has_more_parts;
        }
        for (side, level) in levels {
            mirror.book.set(side, level.price, level.quantity);
        }
        let Some(expected) = checksum.filter(|_| mirror.is_whole) else { return };
        let depth = self.depth.map_or(message::CHECKSUM_LEVELS, |depth| depth as usize);
        let [bids, asks] =
            [Side::Bid, Side::Ask].map(|side| mirror.book.levels(side).take(depth).collect::<Vec<_>>());
        meter.checksums += 1;
        if message::checksum(bids.iter(), asks.iter(), depth) != expected {
            meter.faults.checksums += 1;
        }
    }
}

#[cfg(test)]
mod tests;

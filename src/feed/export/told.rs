//! What clients would have been told: a feed file's records through the deriver, as messages.

use super::selection::Chosen;
use super::{ExportError, Exported, next_whole_block};
use crate::feed::reader::Reader;
use crate::feed::running::Position;
use crate::feed::{FeedError, keyframe, pacing_time_ns};
use crate::model::{
    Bar, BarStep, Bars, Body, Channel, Deriver, Event, Instrument, Level, Order, Period, Primary, Quote,
    Side, Ticker, event_flags,
};
use crate::wire::message::{Content, Levels, Meta, Orders};

/// What takes the messages.
pub(super) trait Sheet {
    /// Writes one message.
    fn write(
        &mut self,
        instrument: &Instrument,
        meta: &Meta,
        content: &Content<'_>,
    ) -> Result<(), ExportError>;

    /// Nothing follows.
    fn finish(&mut self) -> Result<(), ExportError>;
}

/// Reads the file and gives the sheet every message that was chosen. `sent_ns` of each is the time by which its last
/// record is paced.
///
/// Of a bar it tells what it was when its period was over, and of those that run at the end of the file how they stand.
/// Where the range begins after the file does, each instrument's state is told first, as snapshots: at its first moment
/// in the range at which no exchange event of it is open. Then reading begins at the last keyframe before the range,
/// unless bars are chosen, which a keyframe does not tell. Where the range ends before the file does, nothing behind is
/// read: an exchange event that is open there is not told, and running bars are as they stood.
pub(super) fn tell(
    reader: &mut Reader,
    chosen: &Chosen,
    sheet: &mut dyn Sheet,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let total = reader.records();
    let mut teller = Teller::new(chosen, sheet);
    let (mut records, mut is_over, mut position) = (0, false, Position::default());
    let begin_ns = chosen.start_ns.filter(|_| !chosen.channels().contains(Channel::Bars));
    if let Some(keyframe) = begin_ns.map(|begin_ns| reader.keyframe_before(begin_ns)).transpose()?.flatten() {
        keyframe::start(reader, keyframe, &mut teller.deriver)?;
        teller.recv_ns = keyframe.place_ns.unwrap_or(0);
        position = Position::at(keyframe.time_ns);
    }
    let before = reader.position();
    let mut fault = reader.fault().cloned();
    while !is_over && next_whole_block(reader, &mut fault)? {
        chosen.stop.check()?;
        for at in 0..reader.block().len() {
            let time_ns = position.follow(reader, at);
            let primary = &reader.block()[at];
            is_over = chosen.ends_before(primary, time_ns);
            if is_over {
                break;
            }
            teller.take(primary, time_ns)?;
            records += 1;
        }
        progress(before + records, total);
    }
    if let Some(fault) = fault.as_ref().filter(|_| chosen.has_start() && !teller.in_range && !is_over) {
        // How things stand there is not how they stood when the range began.
        return Err(FeedError::Damaged { path: reader.path().to_owned(), fault: fault.clone() }.into());
    }
    if !is_over {
        teller.end_events()?;
    }
    teller.end()?;
    let Teller { written, left_out, .. } = teller;
    Ok(Exported::of(reader, before..before + records, written, left_out, fault))
}

struct Teller<'a> {
    chosen: &'a Chosen,
    sheet: &'a mut dyn Sheet,
    deriver: Deriver,
    /// What the last primary gave; reused.
    events: Vec<Event>,
    /// The running bars of each instrument, by its number.
    bars: Vec<Bars>,
    /// Of each instrument, by its number: whether its last primary left its exchange event open.
    open: Vec<bool>,
    /// Of each instrument: whether its state at the start of the range must still be told.
    untold: Vec<bool>,
    /// Whether a record of the range was seen.
    in_range: bool,
    /// The pacing time of the last record that has one.
    recv_ns: u64,
    levels: [Vec<Level>; 2],
    written: u64,
    /// Chosen records of kinds that are not known.
    left_out: u64,
}

impl<'a> Teller<'a> {
    fn new(chosen: &'a Chosen, sheet: &'a mut dyn Sheet) -> Teller<'a> {
        let instruments = chosen.catalog.len();
        let untold = (0..instruments as u32)
            .map(|instrument| chosen.has_start() && chosen.of(instrument).0 != 0)
            .collect();
        Teller {
            chosen,
            sheet,
            deriver: Deriver::new(chosen.catalog.clone()),
            events: Vec::new(),
            bars: vec![Bars::new(); instruments],
            open: vec![false; instruments],
            untold,
            in_range: false,
            recv_ns: 0,
            levels: [Vec::new(), Vec::new()],
            written: 0,
            left_out: 0,
        }
    }

    /// Takes the record that comes next, and where it stands in time.
    fn take(&mut self, primary: &Primary, time_ns: Option<u64>) -> Result<(), ExportError> {
        let (number, in_range) = (primary.instrument as usize, self.chosen.is_in_range(time_ns));
        if in_range && !self.in_range {
            self.in_range = true;
            self.tell_states()?;
        }
        self.recv_ns = pacing_time_ns(primary).unwrap_or(self.recv_ns);
        // A kind of a later version changes nothing that this one could tell.
        let is_known = self.deriver.apply(primary, &mut self.events).is_ok();
        self.left_out += u64::from(!is_known && self.chosen.takes(primary, time_ns));
        self.open[number] = !primary.is_last();
        self.pass_on(in_range)?;
        if in_range && self.untold[number] && !self.open[number] {
            self.tell_state(primary.instrument)?;
        }
        Ok(())
    }

    /// The file is at its end, and so is every exchange event.
    fn end_events(&mut self) -> Result<(), ExportError> {
        self.deriver.finish(&mut self.events);
        self.open.fill(false);
        self.pass_on(self.in_range || !self.chosen.has_start())
    }

    /// Nothing follows: tells what is still to be told.
    fn end(&mut self) -> Result<(), ExportError> {
        self.tell_states()?;
        for (number, instrument) in self.chosen.instruments() {
            for period in Period::ALL.into_iter().filter(|_| self.chosen.of(number).contains(Channel::Bars)) {
                if let Some(bar) = self.bars[number as usize].running(period) {
                    let meta = self.state_meta(number, Channel::Bars);
                    self.sheet.write(instrument, &Meta { snapshot: false, ..meta }, &Content::Bar(bar))?;
                    self.written += 1;
                }
            }
        }
        Ok(())
    }

    /// Tells of the events in hand what is chosen.
    fn pass_on(&mut self, in_range: bool) -> Result<(), ExportError> {
        let events = std::mem::take(&mut self.events);
        let mut rest = &events[..];
        while let Some(first) = rest.first() {
            let run = match first.body() {
                Body::Level { .. } => rest.iter().take_while(|event| same_stream(first, event)).count(),
                _ => 1,
            };
            let (message, after) = rest.split_at(run);
            rest = after;
            self.message(message, in_range && !self.untold[first.instrument as usize])?;
        }
        self.events = events;
        self.events.clear();
        Ok(())
    }

    /// Tells one event, or the changed levels of one exchange event; where it is not `told` only the bars follow it.
    fn message(&mut self, events: &[Event], told: bool) -> Result<(), ExportError> {
        let ([first, ..], [.., last]) = (events, events) else { return Ok(()) };
        let Some(channel) = first.channel() else { return Ok(()) };
        if !self.chosen.of(first.instrument).contains(channel) {
            return Ok(());
        }
        let meta = Meta {
            first_seq: first.seq,
            last_seq: last.seq,
            ts_ns: last.ts_ns,
            sent_ns: self.recv_ns,
            snapshot: false,
            last: last.flags & event_flags::LAST_OF_STREAM != 0,
        };
        let mut ended = Vec::new();
        let content = match last.body() {
            Body::Quote(quote) => Content::Quote(quote),
            Body::Trade(trade) => Content::Trade(trade),
            Body::Order(change) => Content::Order(change),
            Body::Ticker(ticker) => Content::Ticker(ticker),
            Body::Status(status) => Content::Status(status),
            Body::Level { .. } => {
                self.levels.iter_mut().for_each(Vec::clear);
                for event in events {
                    if let Body::Level { side, price, quantity } = event.body() {
                        self.levels[side.index()].push(Level { price, quantity });
                    }
                }
                let [bids, asks] = &self.levels;
                Content::Book(Levels { bids, asks, checksum: None, part: 1, parts: 1 })
            }
            Body::Bar(step) => {
                follow(&mut self.bars[first.instrument as usize], step, last.ts_ns, &mut ended);
                if !told {
                    return Ok(());
                }
                let Some(instrument) = self.chosen.catalog.get(first.instrument) else { return Ok(()) };
                for bar in ended {
                    self.sheet.write(instrument, &meta, &Content::Bar(bar))?;
                    self.written += 1;
                }
                return Ok(());
            }
            Body::Reset { .. } | Body::Ended => return Ok(()),
        };
        if let (true, Some(instrument)) = (told, self.chosen.catalog.get(first.instrument)) {
            self.sheet.write(instrument, &meta, &content)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Tells the state of every instrument that is not in the middle of an exchange event.
    fn tell_states(&mut self) -> Result<(), ExportError> {
        for number in 0..self.untold.len() as u32 {
            if self.untold[number as usize] && !self.open[number as usize] {
                self.tell_state(number)?;
            }
        }
        Ok(())
    }

    /// Tells, as snapshots, how an instrument stands: what a client that joins now is told first.
    fn tell_state(&mut self, number: u32) -> Result<(), ExportError> {
        self.untold[number as usize] = false;
        let Some(instrument) = self.chosen.catalog.get(number) else { return Ok(()) };
        let (quote, ticker) = (self.deriver.quote(number), self.deriver.ticker(number));
        let [bids, asks] =
            [Side::Bid, Side::Ask].map(|side| self.deriver.book(number).levels(side).collect::<Vec<Level>>());
        let orders: Vec<Order> = [Side::Bid, Side::Ask]
            .into_iter()
            .flat_map(|side| self.deriver.orders(number).orders(side))
            .collect();
        for channel in self.chosen.of(number).iter() {
            let content = match channel {
                Channel::Quotes if quote != Quote::EMPTY => Content::Quote(quote),
                Channel::Ticker if ticker != Ticker::EMPTY => Content::Ticker(ticker),
                Channel::Status => Content::Status(self.deriver.status(number)),
                Channel::Book => {
                    Content::Book(Levels { bids: &bids, asks: &asks, checksum: None, part: 1, parts: 1 })
                }
                Channel::Orders => Content::Orders(Orders { orders: &orders, part: 1, parts: 1 }),
                Channel::Quotes | Channel::Ticker | Channel::Trades | Channel::Bars => continue,
            };
            self.sheet.write(instrument, &self.state_meta(number, channel), &content)?;
            self.written += 1;
        }
        Ok(())
    }

    /// What a message says that tells how a stream stands now.
    fn state_meta(&self, number: u32, channel: Channel) -> Meta {
        let seq = self.deriver.sequence(number, channel);
        Meta {
            first_seq: seq,
            last_seq: seq,
            ts_ns: self.recv_ns,
            sent_ns: self.recv_ns,
            snapshot: true,
            last: true,
        }
    }
}

/// Whether both are changes of levels in one book.
fn same_stream(one: &Event, other: &Event) -> bool {
    one.instrument == other.instrument && other.channel() == Some(Channel::Book)
}

/// Takes a step of an instrument's bars; those that are over by it are put into `ended`.
fn follow(bars: &mut Bars, step: BarStep, ts_ns: u64, ended: &mut Vec<Bar>) {
    match step {
        BarStep::Trade { price, quantity } => bars.trade(ts_ns, price, quantity),
        BarStep::End { periods } => bars.end(periods, |bar| ended.push(bar)),
    }
}

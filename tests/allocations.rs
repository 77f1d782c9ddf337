//! The path of a tick allocates nothing for a message and nothing for a subscriber, once buffers have grown to what the
//! stream needs. Counted by an allocator, from events to the bytes that a socket would be given.

use std::sync::Arc;

use tickcast::model::{Catalog, Deriver, Event, Primary, PrimaryKind, Side, primary_flags};
use tickcast::shard::{CompressionSettings, Core, CoreSettings, Protocol, SessionId, SlowConsumer};
use tickcast::sim::{InstrumentProfile, profiles};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SYMBOLS: usize = 4;
const BATCH: usize = 64;

struct Market {
    deriver: Deriver,
    ticks: u64,
    core: Core,
    events: Vec<Event>,
    dirty: Vec<SessionId>,
    scratch: Vec<u8>,
    /// Bytes that sockets took.
    sent: usize,
}

impl Market {
    /// Sessions in turns of both protocols, with everything of every symbol.
    fn new(sessions: usize, ring_bytes: usize) -> Market {
        let instruments = profiles(SYMBOLS).iter().map(InstrumentProfile::instrument).collect();
        let catalog = Arc::new(Catalog::new(instruments).unwrap());
        let settings = CoreSettings {
            outbox_bytes: 1 << 20,
            outboxes_bytes: usize::MAX,
            ring_bytes,
            frame_messages: u16::MAX,
            slow_consumer: SlowConsumer::Conflate,
            request_rate: 0,
            compression: CompressionSettings::DEFAULT,
        };
        let mut core = Core::new(catalog.clone(), 1, settings, Arc::default());
        for n in 0..sessions {
            let protocol = if n % 2 == 0 { Protocol::Binary } else { Protocol::Json };
            let id = core.open(protocol, "127.0.0.1:1".parse().unwrap(), 0, 0);
            let depth = if n % 4 < 2 { "" } else { r#","depth":5"# };
            let channels = r#"["quotes","trades","book","orders","ticker","status"]"#;
            core.request(
                id,
                &format!(r#"{{"op":"subscribe","symbols":["*"],"channels":{channels}{depth}}}"#),
                0,
            );
        }
        let (events, dirty, scratch) = Default::default();
        Market { deriver: Deriver::new(catalog), ticks: 0, core, events, dirty, scratch, sent: 0 }
    }

    /// A batch of orders that come and are filled: everything happens, and nothing grows.
    fn batch(&mut self) {
        for _ in 0..BATCH {
            // Each order comes in one tick and is filled in the next.
            let (order, is_new) = (self.ticks / 2, self.ticks.is_multiple_of(2));
            let instrument = (order % SYMBOLS as u64) as u32;
            self.ticks += 1;
            let primary = Primary {
                order_id: order + 1,
                price: 100 + (order / 4 % 8) as i64,
                quantity: 5,
                side: Side::Bid as u8,
                flags: primary_flags::LAST,
                ..Primary::new(
                    if is_new { PrimaryKind::Add } else { PrimaryKind::Execute },
                    instrument,
                    1_000 + self.ticks,
                )
            };
            self.deriver.apply(&primary, &mut self.events).unwrap();
        }
        self.core.apply(&self.events);
        self.events.clear();
        self.core.flush();
        self.core.take_dirty(&mut self.dirty);
        for id in self.dirty.drain(..) {
            let taken = self.core.offer(id, 0, &mut self.scratch, |bytes| Ok(bytes.len()));
            self.sent += taken.map_or(0, |_| 1);
        }
    }

    /// Allocations of so many batches, once everything has grown.
    fn allocations(&mut self, batches: usize) -> u64 {
        (0..400).for_each(|_| self.batch());
        let before = dhat::HeapStats::get().total_blocks;
        let sent = self.sent;
        (0..batches).for_each(|_| self.batch());
        assert!(self.sent > sent, "nothing was sent");
        dhat::HeapStats::get().total_blocks - before
    }
}

#[test]
fn nothing_is_allocated_for_a_message_or_a_subscriber() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut seen = Vec::new();
    for sessions in [4, 400] {
        let mut market = Market::new(sessions, 0);
        seen.push((sessions, market.allocations(100)));
    }
    println!("allocations of 100 batches of {BATCH} ticks: {seen:?} (sessions, allocations)");
    for (sessions, allocations) in seen {
        assert_eq!(allocations, 0, "{sessions} sessions");
    }
}

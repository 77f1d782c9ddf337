//! What several benchmarks share: a shard's core with subscribers, and events for it.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tickcast::model::{Body, Catalog, Event, Quote, event_flags};
use tickcast::shard::{CompressionSettings, Core, CoreSettings, Protocol, SlowConsumer};
use tickcast::sim::{InstrumentProfile, profiles};
use tickcast::stats::ShardStats;

/// A core with `sessions` that have subscribed to the quotes of `each` symbols out of `symbols`, and have been
/// answered. Its sessions are numbered from 0.
pub fn core(symbols: usize, sessions: usize, each: usize, stats: Arc<CachePadded<ShardStats>>) -> Core {
    let instruments = profiles(symbols).iter().map(InstrumentProfile::instrument).collect();
    let catalog = Arc::new(Catalog::new(instruments).expect("made-up instruments are a catalog"));
    let settings = CoreSettings {
        outbox_bytes: 1 << 20,
        outboxes_bytes: usize::MAX,
        ring_bytes: 0,
        frame_messages: u16::MAX,
        slow_consumer: SlowConsumer::Disconnect,
        request_rate: 0,
        compression: CompressionSettings::DEFAULT,
    };
    let mut core = Core::new(catalog.clone(), 1, settings, stats);
    for session in 0..sessions {
        let id = core.open(Protocol::Binary, "127.0.0.1:1".parse().unwrap(), 0, 0);
        for n in 0..each {
            let symbol = &catalog.instruments()[(session * each + n) % symbols].symbol;
            let request = format!(r#"{{"op":"subscribe","symbols":["{symbol}"],"channels":["quotes"]}}"#);
            core.request(id, &request, 0);
            core.offer(id, 0, &mut Vec::new(), |bytes| Ok(bytes.len())).expect("nothing fails here");
        }
    }
    core
}

/// Quotes of the symbols in turns, each an exchange event of its own.
pub fn quotes(symbols: usize, count: usize) -> Vec<Event> {
    let quote = |n: usize| {
        let quote = Quote { bid: n as i64, bid_quantity: 5, ask: n as i64 + 1, ask_quantity: 7 };
        let mut event = Event::new((n % symbols) as u32, 1 + (n / symbols) as u64, 0, Body::Quote(quote));
        event.flags = event_flags::LAST | event_flags::LAST_OF_STREAM;
        event
    };
    (0..count).map(quote).collect()
}

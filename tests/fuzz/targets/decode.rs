//! A binary frame of market data, as a client takes it.

use serde_json::value::RawValue;
use tickcast::model::{Channel, ChannelSet, Instrument};
use tickcast::wire::json;
use tickcast::wire::market::{self, MessageBody, decode};

/// Bytes of the smallest message.
const HEADER_BYTES: usize = 40;

pub fn run(data: &[u8]) {
    let Ok((header, messages)) = decode(data) else { return };
    assert_eq!(messages.len(), usize::from(header.messages));
    assert!(messages.len() * HEADER_BYTES <= data.len());
    let entries: usize = messages
        .iter()
        .map(|message| match &message.body {
            MessageBody::Book { bids, asks, .. } => (bids.len() + asks.len()) * 16,
            MessageBody::Orders { orders, .. } => orders.len() * 24,
            _ => 0,
        })
        .sum();
    assert!(entries <= data.len(), "{entries} bytes of {}", data.len());

    // What is known, encoded again, is read as the same; and has a JSON twin.
    let (mut again, mut text, mut known) = (Vec::new(), Vec::new(), Vec::new());
    market::begin_frame(&mut again, Channel::Book, header.instrument, header.epoch);
    let instrument = instrument(header.instrument);
    for message in messages {
        let Some(content) = message.body.content() else { continue };
        market::encode(&mut again, &message.meta, &content);
        text.clear();
        json::encode(&mut text, &instrument, &message.meta, &content);
        let text = std::str::from_utf8(&text).expect("the JSON twin is text");
        serde_json::from_str::<&RawValue>(text).expect("the JSON twin is JSON");
        known.push(message);
    }
    market::finish_frame(&mut again, 0, known.len() as u16);
    let (header_again, known_again) = decode(&again).expect("what was encoded is read");
    assert_eq!((header_again.instrument, header_again.epoch), (header.instrument, header.epoch));
    assert_eq!(known_again, known);
}

/// Any exponents that a catalog takes.
fn instrument(noise: u32) -> Instrument {
    let exponent = |byte: u32| (byte % 37) as i8 - 18;
    Instrument {
        symbol: "BTC-USD".into(),
        price_exponent: exponent(noise & 0xFF),
        quantity_exponent: exponent(noise >> 8 & 0xFF),
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&Channel::ALL),
        book_depth: 0,
        source_id: 0,
    }
}

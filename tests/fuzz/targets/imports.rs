//! Other recordings, taken in. Input: a byte that says of which kind, then the file.

use tickcast::feed::import::capture::{self, Exchange};
use tickcast::feed::import::{itch, lobster, tardis};

use super::taken_in::taken_in;

pub fn run(data: &[u8]) {
    let Some((kind, file)) = data.split_first() else { return };
    let exchange = match kind % 6 {
        0 => Exchange::Coinbase,
        1 => Exchange::Kraken,
        2 => Exchange::Binance,
        3 => {
            return drop(taken_in(file, "20240110.itch", |inputs, out, options, progress| {
                itch::import(inputs, out, None, options, progress)
            }));
        }
        4 => {
            return drop(taken_in(
                file,
                "AAPL_2024-01-10_1_2_message_1.csv",
                |inputs, out, options, progress| {
                    lobster::import(inputs, out, lobster::Given::default(), options, progress)
                },
            ));
        }
        _ => return drop(taken_in(file, "in.csv", tardis::import)),
    };
    taken_in(file, "capture.log", |inputs, out, options, progress| {
        capture::import(exchange, inputs, out, options, progress)
    });
}

//! Compressed messages. Input: which half; then either limit, ratio and DEFLATE data as a client might send it, or
//! window, fragment, length and the messages that this server compresses.

use flate2::{Decompress, FlushDecompress};
use tickcast::limits;
use tickcast::wire::deflate::{Context, Deflater, Inflater};
use tickcast::wire::frame::{self, opcode};
use tickcast::wire::guard::{Rules, Violation};

const LIMITS: [u64; 7] = [0, 1, 5, 1_000, 16_384, 65_536, 1 << 20];
const RATIOS: [u32; 3] = [1, 4, 256];
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
const MESSAGES_MAX: usize = 8;

pub fn run(data: &[u8]) {
    match data {
        [0..0x80, limit, ratio, message @ ..] => {
            let bytes = LIMITS[usize::from(*limit) % LIMITS.len()];
            let inflate_ratio = RATIOS[usize::from(*ratio) % RATIOS.len()];
            any_bytes(message, Rules { bytes, inflate_ratio, ..Rules::default() });
        }
        [_, window, fragment, length, times, payload @ ..] => {
            let length = 1 + usize::from(*length) * 16;
            let times = 1 + usize::from(*times % 16);
            let payloads: Vec<_> =
                payload.chunks(length).take(MESSAGES_MAX).map(|piece| piece.repeat(times)).collect();
            there_and_back(&payloads, 9 + window % 7, 1 + usize::from(*fragment) * 8);
        }
        _ => {}
    }
}

fn any_bytes(message: &[u8], rules: Rules) {
    let mut inflater = Inflater::default();
    let inflated = inflater.inflate(message, &rules);
    assert_eq!(inflater.inflate(message, &rules), inflated, "an inflater keeps nothing");
    let Ok(out) = inflated else { return };
    let length = out.len() as u64;
    assert!(length <= rules.bytes);
    let ratio = u64::from(rules.inflate_ratio);
    assert!(out.len() <= limits::INFLATE_FREE_BYTES || length <= message.len() as u64 * ratio);
    // The limit is exact.
    assert_eq!(inflater.inflate(message, &Rules { bytes: length, ..rules }).as_ref(), Ok(&out));
    if let Some(less) = length.checked_sub(1) {
        let error = inflater.inflate(message, &Rules { bytes: less, ..rules });
        assert_eq!(error, Err(Violation::MessageTooLong(less)));
    }
}

/// What is compressed, for all or for one, is read by a client that has the window that was agreed on and no more.
fn there_and_back(payloads: &[Vec<u8>], window_bits: u8, fragment: usize) {
    let mut plain = Vec::new();
    for payload in payloads {
        frame::push_message(&mut plain, opcode::BINARY, false, payload, usize::MAX);
    }
    let (mut deflater, mut context) = (Deflater::default(), Context::new(window_bits));
    let (mut alone, mut following) = (client(window_bits), client(window_bits));
    let (mut inflater, mut scratch) = (Inflater::default(), Vec::new());
    for (message, payload) in frame::messages(&plain).zip(payloads) {
        let mut out = Vec::new();
        let work = deflater.push(&mut out, &message, window_bits, fragment);
        assert_eq!((work.messages, work.bytes_in), (1, payload.len() as u64));
        if work.pays() {
            let sent = sent(&out, fragment);
            assert!(sent.len() < payload.len(), "it pays");
            alone.reset(false);
            assert_eq!(inflated(&mut alone, &sent, payload.len()), *payload);
            let rules = Rules { bytes: payload.len() as u64, inflate_ratio: u32::MAX, ..Rules::default() };
            assert_eq!(inflater.inflate(&sent, &rules).as_ref(), Ok(payload));
        } else {
            assert!(out.is_empty(), "nothing is appended that does not pay");
        }
        out.clear();
        let work = context.push(&mut out, &message, fragment, &mut scratch);
        assert_eq!((work.messages, work.bytes_in), (1, payload.len() as u64));
        assert_eq!(inflated(&mut following, &sent(&out, fragment), payload.len()), *payload);
    }
}

fn client(window_bits: u8) -> Decompress {
    Decompress::new_with_window_bits(false, window_bits)
}

/// The payload of the one compressed message that these frames are.
fn sent(frames: &[u8], fragment: usize) -> Vec<u8> {
    let messages: Vec<_> = frame::messages(frames).collect();
    let [message] = &messages[..] else { panic!("{} messages", messages.len()) };
    assert!(message.is_compressed && message.opcode == opcode::BINARY);
    assert!(message.payload().all(|piece| piece.len() <= fragment));
    message.payload().collect::<Vec<_>>().concat()
}

fn inflated(client: &mut Decompress, sent: &[u8], length: usize) -> Vec<u8> {
    // More room than it needs: what is too much shows.
    let mut out = Vec::with_capacity(length + 64);
    let bytes = [sent, &TAIL].concat();
    client.decompress_vec(&bytes, &mut out, FlushDecompress::Sync).expect("it inflates");
    out
}

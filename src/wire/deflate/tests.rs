//! What was compressed inflates to itself, with the window that was agreed on and no larger.

use proptest::prelude::*;

use super::*;
use crate::wire::frame::opcode;

/// Noise with repetitions: some of it compresses, some does not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(any::<u8>(), 1..40);
    (words, 0_usize..400, any::<bool>()).prop_map(|(words, times, is_noisy)| {
        let noise = (0..times).map(|n| if is_noisy { (n * 7_919 % 251) as u8 } else { 0 });
        words.iter().cycle().zip(noise).flat_map(|(word, noise)| [*word, noise]).collect()
    })
}

/// What a client with a window of so many bits reads of compressed messages that may refer back or not.
fn inflated(frames: &[u8], window_bits: u8, takeover: bool) -> Vec<Vec<u8>> {
    let mut decompress = Decompress::new_with_window_bits(false, window_bits);
    let read = frame::messages(frames).map(|message| {
        let mut bytes = message.payload().collect::<Vec<_>>().concat();
        if !message.is_compressed {
            return bytes;
        }
        bytes.extend(TAIL);
        if !takeover {
            decompress.reset(false);
        }
        let mut out = Vec::with_capacity(2_000_000);
        decompress.decompress_vec(&bytes, &mut out, FlushDecompress::Sync).unwrap();
        out
    });
    read.collect()
}

fn framed(payloads: &[Vec<u8>], fragment: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    for payload in payloads {
        frame::push_message(&mut frames, opcode::BINARY, false, payload, fragment);
    }
    frames
}

fn up_to(bytes: u64) -> Rules {
    Rules { bytes, ..Rules::default() }
}

proptest! {
    #[test]
    fn what_is_shared_is_read_with_any_window(
        payloads in prop::collection::vec(payload(), 1..6),
        window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX,
        fragment in 1_usize..300,
    ) {
        let (mut deflater, mut out) = (Deflater::default(), Vec::new());
        let mut sum = Work::default();
        let mut pays = 0;
        for message in frame::messages(&framed(&payloads, fragment)) {
            let before = out.len();
            let work = deflater.push(&mut out, &message, window_bits, fragment);
            sum += work;
            if work.pays() {
                pays += 1;
                let pushed: Vec<_> = frame::messages(&out[before..]).collect();
                prop_assert_eq!(pushed.len(), 1);
                prop_assert!(pushed[0].payload_bytes < message.payload_bytes);
                prop_assert!(pushed[0].payload().all(|piece| piece.len() <= fragment));
            } else {
                prop_assert_eq!(out.len(), before);
                out.extend_from_slice(message.frames);
            }
        }
        prop_assert_eq!(inflated(&out, window_bits, false), payloads.clone());
        let work = sum;
        prop_assert_eq!(work.messages, payloads.len() as u64);
        prop_assert_eq!(work.bytes_in, payloads.iter().map(Vec::len).sum::<usize>() as u64);
        prop_assert_eq!(work.bytes_out == work.bytes_in, pays == 0);
    }

    #[test]
    fn a_context_is_read_in_order_with_its_window(
        payloads in prop::collection::vec(payload(), 1..12),
        window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX,
    ) {
        let (mut context, mut out, mut scratch) = (Context::new(window_bits), Vec::new(), Vec::new());
        for message in frame::messages(&framed(&payloads, usize::MAX)) {
            context.push(&mut out, &message, 100, &mut scratch);
        }
        prop_assert_eq!(inflated(&out, window_bits, true), payloads);
    }

    /// What we compress we inflate; what is cut, or noise, is an error or a text within bounds.
    #[test]
    fn inflating_is_bounded(noise in prop::collection::vec(any::<u8>(), 0..300), bytes_max in 0_u64..5_000) {
        let mut inflater = Inflater::default();
        if let Ok(out) = inflater.inflate(&noise, &up_to(bytes_max)) {
            prop_assert!(out.len() as u64 <= bytes_max);
        }
    }
}

/// DEFLATE data of that payload, as a client sends it that does its best.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let frames = framed(&[payload.to_vec()], usize::MAX);
    let mut best = Compress::new_with_window_bits(Compression::best(), false, WINDOW_BITS_MAX);
    assert!(squeeze(&mut best, &frame::messages(&frames).next().unwrap(), &mut out));
    out
}

#[test]
fn messages_are_inflated_up_to_the_limit_and_not_beyond() {
    let mut inflater = Inflater::default();
    for length in [0, 1, 1_023, 1_024, 1_025, 4_000, 16_000, 65_536] {
        let payload: Vec<u8> = (0..length).map(|n: usize| (n * n / 50) as u8).collect();
        let message = compressed(&payload);
        assert_eq!(inflater.inflate(&message, &up_to(length as u64)), Ok(payload.clone()), "{length}");
        if let Some(less) = (length as u64).checked_sub(1) {
            assert_eq!(
                inflater.inflate(&message, &up_to(less)),
                Err(Violation::MessageTooLong(less)),
                "{length}"
            );
        }
    }
}

/// What is cut within a block would take the tail for a part of it.
#[test]
fn a_message_that_is_cut_short_is_none() {
    let mut inflater = Inflater::default();
    let text = br#"{"op":"list","id":1}"#;
    let stored = [&[0x00, text.len() as u8, 0, !(text.len() as u8), 0xFF][..], text, &[0x00]].concat();
    for message in [compressed(text), stored] {
        assert_eq!(inflater.inflate(&message, &up_to(100)).as_deref(), Ok(&text[..]));
        // One byte of 0 is an empty message. And where just four bytes of a stored block are missing the tail stands in
        // for them: nothing shows it.
        for cut in (2..message.len()).filter(|cut| message[0] != 0 || cut + 4 != message.len() - 1) {
            let found = inflater.inflate(&message[..cut], &up_to(100));
            assert_eq!(found, Err(Violation::NotDeflate), "{cut} of {} bytes", message.len());
        }
    }
    assert_eq!(
        inflater.inflate(b"", &up_to(100)),
        Ok(vec![]),
        "an empty text, however little was sent for it"
    );
}

/// RFC 7692, section 7.2.3: the same text in every form that its examples have.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let mut inflater = Inflater::default();
    for bytes in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        // A block without compression.
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        // A final block.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // Two blocks.
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(inflater.inflate(bytes, &up_to(5)).unwrap(), b"Hello", "{bytes:02x?}");
    }
    assert_eq!(inflater.inflate(&[0x00], &up_to(5)).unwrap(), b"", "an empty message");
    for broken in [&[0xff, 0xff, 0xff][..], &[0x07], &[0x00, 0x05, 0x00, 0x00, 0x00, 0x48]] {
        assert_eq!(inflater.inflate(broken, &up_to(5)), Err(Violation::NotDeflate), "{broken:02x?}");
    }
}

#[test]
fn a_bomb_is_found_out_while_it_inflates() {
    let mut inflater = Inflater::default();
    let bomb = compressed(&vec![0; 10 << 20]);
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    assert_eq!(inflater.inflate(&bomb, &up_to(64 << 10)), Err(Violation::MessageTooLong(64 << 10)));
    let ratio = Violation::InflatesTooMuch(limits::INFLATE_RATIO_MAX);
    assert_eq!(
        inflater.inflate(&bomb, &up_to(64 << 20)),
        Err(ratio),
        "also where a message may be that long"
    );
    let short = compressed(&vec![0; limits::INFLATE_FREE_BYTES]);
    assert_eq!(inflater.inflate(&short, &up_to(64 << 10)).unwrap().len(), limits::INFLATE_FREE_BYTES);
    assert_eq!(inflater.inflate(&compressed(b"and on"), &up_to(100)).unwrap(), b"and on");
}

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::testing;

fn frame(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin_frame(&mut bytes, Channel::Book, 3, 7);
    for message in messages {
        encode(&mut bytes, &message.meta, &message.body.content().expect("it is of a known kind"));
    }
    finish_frame(&mut bytes, 0, messages.len() as u16);
    bytes
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(messages in vec(testing::messages(), 0..6)) {
        let bytes = frame(&messages);
        prop_assert_eq!(bytes.len() % 8, 0);
        let (header, decoded) = decode(&bytes).unwrap();
        let expected = FrameHeader {
            version: VERSION,
            channel: Channel::Book as u8,
            messages: messages.len() as u16,
            instrument: 3,
            epoch: 7,
        };
        prop_assert_eq!(header, expected);
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300), version in any::<bool>()) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = VERSION;
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_frame_is_a_frame_or_an_error(
        messages in vec(testing::messages(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame(&messages);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        for (at, with) in damage {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        // What is read of it can be said again, in both encodings, whatever numbers it claims.
        if let Ok((_, decoded)) = decode(&bytes) {
            for message in &decoded {
                let Some(content) = message.body.content() else { continue };
                let mut again = Vec::new();
                encode(&mut again, &message.meta, &content);
                let _ = crate::wire::message::merged(&message.meta, &content);
            }
        }
    }
}

#[test]
fn headers_that_claim_too_much_are_refused_by_place() {
    let message = |length: u32, kind| {
        let mut bytes = Vec::new();
        begin_frame(&mut bytes, Channel::Status, 0, 1);
        let header = MessageHeader {
            length,
            kind,
            flags: 0,
            reserved: 0,
            first_seq: 1,
            last_seq: 1,
            ts_ns: 0,
            sent_ns: 0,
        };
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&[0xFF; 16]);
        finish_frame(&mut bytes, 0, 1);
        decode(&bytes).map(|(_, messages)| messages.len())
    };
    assert_eq!(message(56, 99), Ok(1), "an unknown kind is skipped by its length");
    assert_eq!(message(56, kind::STATUS), Ok(1), "what a later version appends is skipped");
    for length in [0, 39, 40, 44] {
        assert_eq!(message(length, kind::STATUS), Err(DecodeError::Length { offset: 16, length }));
    }
    assert_eq!(message(56, kind::ORDERBOOK), Err(DecodeError::Length { offset: 16, length: 56 }));
    let truncated = |needed| Err(DecodeError::Truncated { offset: 16, needed, available: 56 });
    assert_eq!(message(64, kind::STATUS), truncated(64));
    assert_eq!(message(u32::MAX - 7, kind::STATUS), truncated(4_294_967_288));
    assert_eq!(message(48, kind::STATUS), Err(DecodeError::Trailing(8)));
    assert_eq!(decode(&[2; 16]), Err(DecodeError::Version(2)));
}

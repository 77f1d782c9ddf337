use super::*;
use crate::limits;
use crate::wire::frame::{self, Cut};
use proptest::prelude::*;

fn framed(payload: usize, fill: u8) -> Shared {
    let mut out = Vec::new();
    frame::push(&mut out, frame::opcode::BINARY, &vec![fill; payload]);
    out.into()
}

#[test]
fn one_run_is_sent_as_it_is_and_several_with_one_write() {
    let (mut outbox, mut scratch, mut writes) = (Outbox::default(), Vec::new(), Vec::new());
    outbox.push(framed(3, 1));
    outbox
        .offer(&mut scratch, |bytes| {
            Ok({
                writes.push(bytes.to_vec());
                bytes.len()
            })
        })
        .unwrap();
    outbox.push(framed(3, 2));
    outbox.push(framed(4, 3));
    let offer = outbox
        .offer(&mut scratch, |bytes| {
            Ok({
                writes.push(bytes.to_vec());
                bytes.len()
            })
        })
        .unwrap();
    assert_eq!(offer, Offer::Drained);
    assert_eq!(writes, [framed(3, 1).to_vec(), [&framed(3, 2)[..], &framed(4, 3)].concat()]);
    assert_eq!(outbox.offer(&mut scratch, |_| unreachable!("nothing waits")).unwrap(), Offer::Drained);
}

#[test]
fn a_snapshot_does_not_count_against_the_bound_and_a_first_burst_neither() {
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push(framed(5_000, 1));
    assert!(!outbox.is_over(1_000), "the kernel has not been asked yet");
    outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
    assert!(outbox.is_over(1_000));
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push_snapshot(framed(5_000, 1));
    outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
    outbox.push(framed(900, 1));
    assert!(!outbox.is_over(1_000));
    outbox.push(framed(900, 1));
    assert!(outbox.is_over(1_000));
}

#[test]
fn what_is_urgent_overtakes_whole_frames_and_cuts_none() {
    overtakes_whole_frames(10, 1, 7);
}

/// Frames that wait without being copied are cut no more than others.
#[test]
fn what_is_urgent_overtakes_what_is_lent() {
    overtakes_whole_frames(3 * limits::LENT_BYTES_MIN, 997, 5_000);
}

/// Of three frames the kernel takes all numbers of bytes, by that step, before something urgent comes, and so many at
/// a time after it.
fn overtakes_whole_frames(payload: usize, step: usize, most: usize) {
    let whole = [&framed(payload, 1)[..], &framed(payload, 2), &framed(payload, 3)].concat();
    let frame_bytes = whole.len() / 3;
    for taken in (0..whole.len()).step_by(step) {
        let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
        for fill in 1..=3 {
            outbox.push(framed(payload, fill));
            if payload > limits::LENT_BYTES_MIN {
                // Alone: of several that are gathered for one write the rest is copied.
                outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
            }
        }
        if payload > limits::LENT_BYTES_MIN {
            let blocked = outbox.blocked.as_ref().unwrap();
            assert_eq!((blocked.lent.len(), blocked.backlog.len()), (3, 0));
        }
        let mut take = |bytes: &[u8], most: usize| {
            received.extend_from_slice(&bytes[..most.min(bytes.len())]);
            Ok(most.min(bytes.len()))
        };
        let mut left = taken;
        while left > 0 {
            let before = outbox.len();
            outbox.offer(&mut scratch, |bytes| take(bytes, left)).unwrap();
            left -= before - outbox.len();
        }
        if taken == 0 {
            outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
        }
        outbox.push_urgent(framed(4, 8));
        outbox.push(framed(payload, 4));
        outbox.push_urgent(framed(4, 9));
        assert_eq!(outbox.urgent_len(), 2 * framed(4, 8).len());
        while !outbox.is_empty() {
            outbox.offer(&mut scratch, |bytes| take(bytes, most)).unwrap();
        }
        let begun = taken.div_ceil(frame_bytes) * frame_bytes;
        let expected =
            [&whole[..begun], &framed(4, 8), &framed(4, 9), &whole[begun..], &framed(payload, 4)].concat();
        assert!(received == expected, "{taken} bytes were taken before");
    }
}

#[test]
fn nothing_overtakes_the_first_message() {
    for taken in 0..framed(10, 1).len() {
        let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
        outbox.push_first(framed(10, 1));
        outbox.push(framed(10, 2));
        outbox
            .offer(&mut scratch, |bytes| {
                received.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            })
            .unwrap();
        outbox.push_urgent(framed(4, 8));
        while !outbox.is_empty() {
            outbox
                .offer(&mut scratch, |bytes| {
                    received.push(bytes[0]);
                    Ok(1)
                })
                .unwrap();
        }
        assert_eq!(received, [&framed(10, 1)[..], &framed(4, 8), &framed(10, 2)].concat(), "{taken}");
    }
}

/// `conflating` after `recovered` must not come before it, however little the kernel takes in between.
#[test]
fn what_is_urgent_keeps_its_own_order() {
    let urgent: Vec<Shared> = (20..25).map(|fill| framed(4, fill)).collect();
    for taken in 0..60 {
        let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
        outbox.push(framed(10, 1));
        for (n, frame) in urgent.iter().enumerate() {
            // The first finds the kernel with room, the others do not.
            outbox.push_urgent(frame.clone());
            outbox.push(framed(10, 2));
            let most = if n == 0 { taken } else { n };
            let take = |bytes: &[u8]| {
                received.extend_from_slice(&bytes[..most.min(bytes.len())]);
                Ok(most.min(bytes.len()))
            };
            outbox.offer(&mut scratch, take).unwrap();
        }
        while !outbox.is_empty() {
            outbox
                .offer(&mut scratch, |bytes| {
                    Ok({
                        received.extend_from_slice(bytes);
                        bytes.len()
                    })
                })
                .unwrap();
        }
        let frames = received.chunk_by(|a, b| a == b).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let fills = frames.iter().map(|run| run[0]).filter(|fill| (20..25).contains(fill));
        assert!(fills.eq(20..25), "{taken} bytes were taken first: {received:?}");
    }
}

/// A thousand clients that the kernel is full for hold one copy of what they all wait for.
#[test]
fn a_large_run_that_others_have_waits_without_a_copy() {
    let run = framed(3 * limits::LENT_BYTES_MIN, 1);
    let at = run.as_ptr() as usize;
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push(run.clone());
    assert_eq!(outbox.offer(&mut scratch, |_| Ok(100)).unwrap(), Offer::Blocked);
    outbox.push(run.clone());
    outbox.hold();
    assert_eq!((outbox.blocked_len(), outbox.queued_len()), (2 * run.len() - 100, 0));
    let mut writes = Vec::new();
    while !outbox.is_empty() {
        outbox
            .offer(&mut scratch, |bytes| {
                writes.push((bytes.as_ptr() as usize - at, bytes.len()));
                Ok(bytes.len())
            })
            .unwrap();
    }
    assert_eq!(writes, [(100, run.len() - 100), (0, run.len())], "where it lay, with a write each");
    assert!(outbox.blocked.is_none());
}

/// Of the first run the kernel leaves a little, which is copied; those that come behind it are not.
#[test]
fn a_large_run_waits_without_a_copy_behind_a_small_rest() {
    let run = framed(3 * limits::LENT_BYTES_MIN, 1);
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push(run.clone());
    outbox.offer(&mut scratch, |bytes| Ok(bytes.len() - 100)).unwrap();
    for _ in 0..3 {
        outbox.push(run.clone());
        outbox.hold();
    }
    assert_eq!(outbox.len(), 100 + 3 * run.len());
    let (mut received, mut copied) = (Vec::new(), 0);
    while !outbox.is_empty() {
        outbox
            .offer(&mut scratch, |bytes| {
                let is_shared = run.as_ptr_range().contains(&bytes.as_ptr());
                let taken = bytes.len().min(20_000);
                copied += if is_shared { 0 } else { taken };
                received.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            })
            .unwrap();
    }
    assert_eq!(copied, 100);
    assert!(received == [&run[run.len() - 100..], &run.repeat(3)].concat());
}

/// Between the fragments of a message that has begun there may be control frames, and messages only behind the last.
#[test]
fn control_frames_go_between_fragments_and_messages_behind_the_last() {
    let mut fragments = Vec::new();
    frame::push_message(&mut fragments, frame::opcode::BINARY, false, &[1; 30], 10);
    let fragment = fragments.len() / 3;
    for taken in 1..fragments.len() {
        let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
        outbox.push(fragments.clone().into());
        outbox.push(framed(10, 2));
        let mut take = |bytes: &[u8], most: usize| {
            received.extend_from_slice(&bytes[..most.min(bytes.len())]);
            Ok(most.min(bytes.len()))
        };
        outbox.offer(&mut scratch, |bytes| take(bytes, taken)).unwrap();
        outbox.push_control(framed(2, 8));
        outbox.push_urgent(framed(4, 9));
        while !outbox.is_empty() {
            outbox.offer(&mut scratch, |bytes| take(bytes, 7)).unwrap();
        }
        let (begun, rest) = fragments.split_at(taken.div_ceil(fragment) * fragment);
        let (control, urgent) = (framed(2, 8), framed(4, 9));
        let overtaking = match rest {
            // Either order would do.
            [] => [&urgent[..], &control].concat(),
            rest => [&control[..], rest, &urgent].concat(),
        };
        let expected = [begun, &overtaking, &framed(10, 2)].concat();
        assert!(received == expected, "{taken} bytes were taken before");
    }
}

/// Of a frame that has begun the rest is copied, and large ones stand behind it: what is urgent goes between, and of what is
/// dropped the rest stays.
#[test]
fn what_is_urgent_goes_between_a_small_rest_and_large_runs() {
    let [first, second] = [1, 2].map(|fill| framed(3 * limits::LENT_BYTES_MIN, fill));
    for rest in [1, 100, limits::LENT_BYTES_MIN - 1] {
        let blocked = || {
            let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
            outbox.push(first.clone());
            outbox.offer(&mut scratch, |bytes| Ok(bytes.len() - rest)).unwrap();
            outbox.push(second.clone());
            outbox.hold();
            outbox
        };
        let drained = |mut outbox: Outbox| {
            let mut received = first[..first.len() - rest].to_vec();
            while !outbox.is_empty() {
                outbox
                    .offer(&mut Vec::new(), |bytes| {
                        let taken = bytes.len().min(5_000);
                        received.extend_from_slice(&bytes[..taken]);
                        Ok(taken)
                    })
                    .unwrap();
            }
            received
        };
        let mut urgent = blocked();
        urgent.push_control(framed(2, 8));
        urgent.push_urgent(framed(4, 9));
        assert!(drained(urgent) == [&first[..], &framed(4, 9), &framed(2, 8), &second].concat(), "{rest}");
        let mut dropped = blocked();
        assert_eq!(dropped.drop_unsent(), second.len());
        assert!(drained(dropped) == first[..], "{rest}");
        // Small runs behind large ones go in their order too.
        let mut mixed = blocked();
        mixed.push(framed(10, 3));
        mixed.hold();
        mixed.push(second.clone());
        assert!(drained(mixed) == [&first[..], &second, &framed(10, 3), &second].concat(), "{rest}");
    }
}

/// Whoever is closed for being slow may take long to go.
#[test]
fn what_is_dropped_gives_its_memory_back() {
    let run = framed(3 * limits::LENT_BYTES_MIN, 1);
    let small = framed(limits::LENT_BYTES_MIN / 4, 2);
    for runs in [vec![run.clone(), run.clone()], vec![small.clone(); 40]] {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        for run in &runs {
            outbox.push(run.clone());
            outbox.offer(&mut scratch, |bytes| Ok(usize::from(bytes.len() == runs[0].len()))).unwrap();
        }
        outbox.drop_unsent();
        assert_eq!(outbox.len(), runs[0].len() - 1, "the rest of the frame that has begun");
        let blocked = outbox.blocked.unwrap();
        assert!(blocked.backlog.capacity() < 2 * runs[0].len() && blocked.lent.capacity() == 0);
    }
}

#[test]
fn small_runs_that_wait_are_copied_and_go_with_one_write() {
    let large = framed(3 * limits::LENT_BYTES_MIN, 1);
    let (mut outbox, mut scratch, mut writes) = (Outbox::default(), Vec::new(), Vec::new());
    outbox.push(large.clone());
    outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
    (2..50).for_each(|fill| outbox.push(framed(10, fill)));
    outbox.hold();
    assert!(outbox.blocked.as_ref().unwrap().lent.is_empty());
    outbox
        .offer(&mut scratch, |bytes| {
            writes.push(bytes.len());
            Ok(bytes.len())
        })
        .unwrap();
    assert_eq!(writes, [large.len() + 48 * framed(10, 0).len()]);
}

#[test]
fn what_cannot_be_merged_is_counted_while_the_kernel_is_full() {
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push_firm(framed(5, 1));
    outbox.push_urgent(framed(4, 2));
    assert_eq!(outbox.firm_bytes(), 0, "the kernel has not been asked yet");
    outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
    outbox.push(framed(9, 3));
    outbox.push_firm(framed(5, 4));
    outbox.push_urgent(framed(4, 5));
    assert_eq!(outbox.firm_bytes(), framed(5, 4).len() + framed(4, 5).len());
    outbox.offer(&mut scratch, |bytes| Ok(bytes.len())).unwrap();
    assert_eq!((outbox.firm_bytes(), outbox.len()), (0, 0));
}

#[test]
fn a_full_kernel_and_an_interrupted_one_take_nothing() {
    for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        outbox.push(framed(5, 1));
        assert_eq!(outbox.offer(&mut scratch, |_| Err(kind.into())).unwrap(), Offer::Blocked);
        assert_eq!((outbox.len(), outbox.blocked_len()), (framed(5, 1).len(), framed(5, 1).len()));
    }
}

#[test]
fn room_for_more_runs_than_usual_is_not_kept() {
    for (runs, is_kept) in [(1, true), (QUEUED_KEPT, true), (QUEUED_KEPT + 1, false)] {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        (0..runs).for_each(|_| outbox.push(framed(5, 1)));
        outbox.offer(&mut scratch, |bytes| Ok(bytes.len())).unwrap();
        assert_eq!(outbox.queued.capacity() >= runs, is_kept, "{runs}");
    }
}

#[test]
fn an_error_of_the_socket_comes_back() {
    let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
    outbox.push(framed(5, 1));
    let broken = outbox.offer(&mut scratch, |_| Err(io::ErrorKind::BrokenPipe.into()));
    assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

proptest! {
    /// Whatever the kernel takes at a time, the client reads whole frames in order, and dropping what has not
    /// begun never cuts one.
    #[test]
    fn the_client_reads_whole_frames_in_order(
        payloads in prop::collection::vec(prop_oneof![3 => 0_usize..400, 1 => 15_000_usize..40_000], 1..40),
        takes in prop::collection::vec(prop_oneof![0_usize..700, 0_usize..60_000], 1..80),
        drop_at in 0_usize..80,
    ) {
        let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
        let mut expected = Vec::new();
        let mut payloads = payloads.into_iter();
        for (step, take) in takes.into_iter().enumerate() {
            if let Some(payload) = payloads.next() {
                outbox.push(framed(payload, step as u8));
                expected.extend_from_slice(&framed(payload, step as u8));
            }
            outbox.offer(&mut scratch, |bytes| {
                let taken = take.min(bytes.len());
                received.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            }).unwrap();
            prop_assert_eq!(received.len() + outbox.len(), expected.len());
            prop_assert_eq!(&expected[..received.len()], &received[..]);
            if step == drop_at {
                let dropped = outbox.drop_unsent();
                expected.truncate(expected.len() - dropped);
                prop_assert_eq!(Cut::after(&expected, expected.len()), Cut::default());
            }
        }
        while !outbox.is_empty() {
            outbox.offer(&mut scratch, |bytes| Ok({ received.extend_from_slice(bytes); bytes.len() })).unwrap();
        }
        prop_assert_eq!(received, expected);
    }
}

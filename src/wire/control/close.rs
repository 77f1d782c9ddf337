//! Why the server closes a connection, and what a client does about a close.

use std::borrow::Cow;

use crate::limits;

/// Why the server closes a connection. (A client that breaks RFC 6455, or a bound, is closed with the code and the
/// reason of the rule that it broke.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client closed.
    Normal,
    /// The server stops.
    ShuttingDown,
    /// No pong came.
    HeartbeatTimeout,
    /// The client reads more slowly than its streams flow.
    TooSlow,
    /// The client reads its private replay more slowly than that may wait for it.
    ReplayTooSlow,
    /// The client sends more pings and pongs than [`limits::CONTROL_RATE`].
    ControlFlood,
    /// The recording that the server replays cannot be read any further.
    ReplayFailed {
        /// The byte of its file where it is damaged; `None`: the reason is another.
        damaged_at: Option<u64>,
    },
    /// The client sends more requests than it may.
    RateLimit {
        /// How many it may.
        requests_per_second: u32,
    },
}

impl Close {
    /// Every reason to close.
    pub const ALL: [Close; 9] = [
        Close::Normal,
        Close::ShuttingDown,
        Close::HeartbeatTimeout,
        Close::TooSlow,
        Close::ReplayTooSlow,
        Close::ControlFlood,
        Close::ReplayFailed { damaged_at: Some(123_456) },
        Close::ReplayFailed { damaged_at: None },
        Close::RateLimit { requests_per_second: limits::REQUEST_RATE_DEFAULT },
    ];

    /// The number in the close frame.
    pub const fn code(self) -> u16 {
        match self {
            Close::Normal => 1000,
            Close::ShuttingDown | Close::HeartbeatTimeout => 1001,
            Close::TooSlow | Close::ReplayTooSlow => 4008,
            Close::ControlFlood => 1008,
            Close::ReplayFailed { .. } => 1011,
            Close::RateLimit { .. } => 4029,
        }
    }

    /// The text in the close frame: what happened and what to do next; at most
    /// [`crate::limits::CLOSE_REASON_BYTES_MAX`] bytes of ASCII. `epoch` is the present one: a client that was too slow
    /// goes on where it stands, if it holds that epoch.
    pub fn reason(self, epoch: u64) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Close::Normal => "closed as asked",
            Close::ShuttingDown => "the server is stopping; reconnect with backoff",
            Close::HeartbeatTimeout => {
                "heartbeat timeout: no pong in time; answer WebSocket pings, reconnect with backoff"
            }
            Close::TooSlow => {
                return Cow::Owned(format!(
                    "too slow: resume with \"from\" in epoch {epoch}; ask for less or read faster, reconnect with backoff"
                ));
            }
            Close::ReplayTooSlow => {
                "too slow: this replay is over, another begins anew; ask for less or read faster, reconnect with backoff"
            }
            Close::ControlFlood => {
                let allowed = limits::CONTROL_RATE;
                return Cow::Owned(format!("more than {allowed} pings and pongs a second; send fewer"));
            }
            Close::ReplayFailed { damaged_at: Some(byte) } => {
                return Cow::Owned(format!(
                    "the recording is damaged at byte {byte}; ask for a part that ends before it, reconnect with backoff"
                ));
            }
            Close::ReplayFailed { damaged_at: None } => {
                "the replay failed, the server's log says why; reconnect with backoff"
            }
            Close::RateLimit { requests_per_second } => {
                return Cow::Owned(format!(
                    "more than {requests_per_second} requests a second; ask for more at once, reconnect with backoff"
                ));
            }
        })
    }
}

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: the client asked for it.
    Nothing,
    /// Connect again, with exponential backoff and jitter.
    Reconnect,
    /// The same, and change what the reason names, else it happens again.
    ReconnectOtherwise,
    /// Stay away: the program is wrong, and reconnecting repeats the fault.
    Repair,
}

impl Duty {
    /// The codes that this server closes with.
    pub const CODES: [u16; 10] = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 4008, 4029];

    /// What to do after a close with that code. A code that this version does not know is no reason to stay away;
    /// neither is a connection that broke without a close frame, which RFC 6455 calls 1006.
    pub const fn after(code: u16) -> Duty {
        match code {
            1000 => Duty::Nothing,
            1002 | 1003 | 1007..=1010 | 4001..=4003 => Duty::Repair,
            1011 | 4008 | 4029 => Duty::ReconnectOtherwise,
            _ => Duty::Reconnect,
        }
    }

    /// The word for it in `docs/protocol.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Duty::Nothing => "nothing",
            Duty::Reconnect => "reconnect",
            Duty::ReconnectOtherwise => "reconnect, otherwise",
            Duty::Repair => "repair",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_a_close_frame_and_says_what_to_do() {
        for close in Close::ALL {
            let reason = close.reason(u64::MAX);
            assert!(Duty::CODES.contains(&close.code()));
            let longest = Close::ReplayFailed { damaged_at: Some(u64::MAX) }.reason(0);
            assert!(longest.len() <= limits::CLOSE_REASON_BYTES_MAX, "{longest}");
            assert!(reason.is_ascii() && reason.len() <= limits::CLOSE_REASON_BYTES_MAX, "{reason}");
            let reconnects = matches!(Duty::after(close.code()), Duty::Reconnect | Duty::ReconnectOtherwise);
            assert_eq!(reason.ends_with("reconnect with backoff"), reconnects, "{close:?}: {reason}");
        }
    }

    #[test]
    fn the_heartbeat_timeout_and_the_stop_share_a_code_and_differ_in_reason() {
        assert_eq!(Close::ShuttingDown.code(), Close::HeartbeatTimeout.code());
        assert_ne!(Close::ShuttingDown.reason(7), Close::HeartbeatTimeout.reason(7));
    }
}

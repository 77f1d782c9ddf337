//! Why the server closes a connection, and what the client is to do about it.

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: the client asked for it.
    Nothing,
    /// Connect again, with exponential backoff and jitter.
    Reconnect,
    /// Connect again with backoff, and change what the reason names, else it happens again.
    ReconnectOtherwise,
    /// Stay away: the program is wrong, and reconnecting repeats the fault.
    Repair,
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The client closed.
    Normal,
    /// The server stops.
    ShuttingDown,
    /// No pong came.
    HeartbeatTimeout,
    /// The bytes break RFC 6455.
    Protocol,
    /// A binary frame came from the client.
    BinaryFrame,
    /// A text frame is not UTF-8.
    NotUtf8,
    /// The connection may not go on as it does.
    Policy,
    /// A message is over the limit.
    TooLarge,
    /// The server made a mistake.
    Internal,
    /// The client reads more slowly than its streams flow.
    TooSlow,
    /// The client sends too much.
    RateLimit,
}

impl Close {
    /// Every reason to close.
    pub const ALL: [Close; 11] = [
        Close::Normal,
        Close::ShuttingDown,
        Close::HeartbeatTimeout,
        Close::Protocol,
        Close::BinaryFrame,
        Close::NotUtf8,
        Close::Policy,
        Close::TooLarge,
        Close::Internal,
        Close::TooSlow,
        Close::RateLimit,
    ];

    /// The number in the close frame.
    pub const fn code(self) -> u16 {
        match self {
            Close::Normal => 1000,
            Close::ShuttingDown | Close::HeartbeatTimeout => 1001,
            Close::Protocol => 1002,
            Close::BinaryFrame => 1003,
            Close::NotUtf8 => 1007,
            Close::Policy => 1008,
            Close::TooLarge => 1009,
            Close::Internal => 1011,
            Close::TooSlow => 4008,
            Close::RateLimit => 4029,
        }
    }

    /// The text in the close frame: what happened and what to do next; at most
    /// [`crate::limits::CLOSE_REASON_BYTES_MAX`] bytes of ASCII.
    pub const fn reason(self) -> &'static str {
        match self {
            Close::Normal => "closed as asked",
            Close::ShuttingDown => "the server is stopping; reconnect with backoff",
            Close::HeartbeatTimeout => {
                "heartbeat timeout: no pong in time; answer WebSocket pings, reconnect with backoff"
            }
            Close::Protocol => "the bytes break RFC 6455; repair the client before it reconnects",
            Close::BinaryFrame => "binary frames are not accepted; send requests as JSON text",
            Close::NotUtf8 => "a text message is not UTF-8; repair the client before it reconnects",
            Close::Policy => {
                "the connection breaks a rule of this server; repair the client before it reconnects"
            }
            Close::TooLarge => "a message is over the limit that welcome states; send smaller requests",
            Close::Internal => "the server made a mistake; reconnect with backoff",
            Close::TooSlow => {
                "too slow: the outbox is full; reconnect with backoff, ask for less or read faster"
            }
            Close::RateLimit => "too many messages; reconnect with backoff and send fewer",
        }
    }

    /// What the client is to do.
    pub const fn duty(self) -> Duty {
        match self {
            Close::Normal => Duty::Nothing,
            Close::ShuttingDown | Close::Internal => Duty::Reconnect,
            Close::HeartbeatTimeout | Close::TooSlow | Close::RateLimit => Duty::ReconnectOtherwise,
            Close::Protocol | Close::BinaryFrame | Close::NotUtf8 | Close::Policy | Close::TooLarge => {
                Duty::Repair
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn every_reason_fits_a_close_frame_and_says_what_to_do() {
        for close in Close::ALL {
            let reason = close.reason();
            assert!(reason.is_ascii() && reason.len() <= limits::CLOSE_REASON_BYTES_MAX, "{reason}");
            let reconnects = matches!(close.duty(), Duty::Reconnect | Duty::ReconnectOtherwise);
            assert_eq!(reason.contains("reconnect with backoff"), reconnects, "{close:?}: {reason}");
        }
    }

    #[test]
    fn the_heartbeat_timeout_and_the_stop_share_a_code_and_differ_in_reason() {
        assert_eq!(Close::ShuttingDown.code(), Close::HeartbeatTimeout.code());
        assert_ne!(Close::ShuttingDown.reason(), Close::HeartbeatTimeout.reason());
    }
}

//! Resumed streams that are ahead of this shard: their client was told more by another shard, which was faster.

use rustc_hash::FxHashMap;

use super::core::Core;
use super::session::{State, StreamKey};
use super::topic::SessionId;
use crate::limits;

/// Streams that wait until the shard has heard what their clients hold.
#[derive(Debug, Default)]
pub struct Ahead {
    /// Looks at the timers that each may still wait. A stream that has ended meanwhile is passed over.
    waits: FxHashMap<(SessionId, StreamKey), u32>,
}

impl Ahead {
    /// A stream waits from now on.
    pub fn add(&mut self, id: SessionId, stream: StreamKey) {
        self.waits.entry((id, stream)).or_insert(limits::AHEAD_TIMER_LOOKS);
    }
}

impl Core {
    /// Serves the streams that the shard has caught up with.
    pub(super) fn look_ahead(&mut self) {
        let mut arrived = Vec::new();
        let (sessions, markets) = (&self.sessions, &self.markets);
        self.ahead.waits.retain(|&(id, stream), _| {
            let seq = markets[stream.0 as usize].seq(stream.1);
            let state = sessions.get(id).and_then(|session| session.subscriptions.get(&stream));
            let waits = match state.map(|subscription| subscription.state) {
                Some(State::Behind { held, exactly: true }) => held > seq,
                Some(State::Fresh { at_least }) => at_least > seq,
                _ => return false,
            };
            if !waits {
                arrived.push((id, stream));
            }
            waits
        });
        self.serve_arrived(arrived);
    }

    /// Time passes: who has waited long enough holds what this server has never said, and gets its snapshot.
    pub(super) fn age_ahead(&mut self) {
        let mut given_up = Vec::new();
        self.ahead.waits.retain(|&waiting, looks| {
            *looks -= 1;
            let waits = *looks > 0;
            if !waits {
                given_up.push(waiting);
            }
            waits
        });
        for &(id, stream) in &given_up {
            let session = self.sessions.get_mut(id);
            if let Some(subscription) = session.and_then(|session| session.subscriptions.get_mut(&stream))
                && !matches!(subscription.state, State::Live(_))
            {
                subscription.state = State::Fresh { at_least: 0 };
            }
        }
        self.serve_arrived(given_up);
    }

    /// In one order, whatever the map's.
    fn serve_arrived(&mut self, mut arrived: Vec<(SessionId, StreamKey)>) {
        arrived.sort_unstable();
        for (id, stream) in arrived {
            if let Some(session) = self.sessions.get_mut(id) {
                session.pending().fresh.push_back(stream);
                self.advance(id);
            }
        }
    }
}

//! What a run exercised, so that a person sees it and a test can ask for enough of it.

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// How often each thing happened.
        #[derive(Clone, Debug, Default)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Every count by its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            pub fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Exchange events published.
    ticks,
    /// Records published.
    records,
    /// Times that history ended.
    source_resets,
    connections,
    requests,
    refusals,
    streams_granted,
    streams_ended,
    /// Messages of market data read and checked, by what they were.
    quotes,
    trades,
    books,
    order_changes,
    tickers,
    bars,
    bars_completed,
    statuses,
    snapshots,
    /// Messages that came compressed, and in fragments.
    compressed,
    fragmented,
    /// Snapshots that came in parts.
    snapshots_in_parts,
    /// Snapshots in place of updates, in mid-stream.
    snapshots_instead,
    /// Messages that covered more than they carried.
    merged_messages,
    checksums,
    gaps,
    resets_told,
    heartbeats,
    heartbeat_streams,
    pings,
    reports,
    /// Streams asked for with `from`, and what came of it.
    resumes_asked,
    resumes_exact,
    resumes_snapshot,
    resumes_gap,
    /// With an epoch that the server does not know.
    resumes_unknown_epoch,
    /// With a sequence that the server had not reached.
    resumes_ahead,
    conflations,
    recoveries,
    closed_too_slow,
    closed_silent,
    disconnects,
    /// Sequences by what became of them, at the receivers.
    delivered,
    merged,
    lost,
    /// Streams whose ledger and position were compared with the core's own.
    ledgers_compared,
    /// Books, queues and bars compared whole with the oracle's.
    states_compared,
    stale_notices,
    blocked,
    /// Of Tickcast's own client.
    machine_connections,
    machine_updates,
    machine_gaps,
    machine_ledgers,
}

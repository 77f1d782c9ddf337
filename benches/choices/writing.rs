//! Several runs of bytes for one client: copied behind each other and sent, as an outbox does, against a vectored write of
//! the runs where they lie. Sockets in turns, as a shard writes; another core reads.

use std::io::{IoSlice, Write};
use std::net::TcpStream;
use std::thread;

use crate::machine::{pin, thread_cpu_ns, two_cores};
use crate::sink::{self, Sink};
use crate::turns::{Candidate, Extent, compare, head};

const SOCKETS: usize = 16;
/// Runs that there are: as many as the largest write has.
const RUNS: usize = 64;

pub fn run(extent: Extent) {
    head(extent, "a write in turns to each of 16 sockets; CPU of the writing thread", &["CPU ns a write"]);
    let cores = two_cores();
    let (sockets, sink) = sink::open(SOCKETS, cores.map(|[_, second]| second));
    for size in [90, 900, 8_192] {
        let runs: Vec<Vec<u8>> = (0..RUNS).map(|run| vec![run as u8; size]).collect();
        for count in [1, 4, 16, 64] {
            let writes = extent.pick(20, (16 * 1_024 * 1_024 / (size * count)).clamp(64, 4_000));
            let measured = |write: fn(&TcpStream, &[Vec<u8>], &mut Vec<u8>)| {
                let work = Work { sockets: &sockets, sink: &sink, runs: &runs, count, writes };
                move || work.measure(cores.map(|[first, _]| first), write)
            };
            let candidates = vec![
                Candidate::new("copied, one send", measured(copied)),
                Candidate::new("vectored", measured(vectored)),
            ];
            let s = if count == 1 { "" } else { "s" };
            compare(extent, &format!("{count} run{s} of {size} bytes"), candidates);
        }
    }
}

#[derive(Clone, Copy)]
struct Work<'a> {
    sockets: &'a [TcpStream],
    sink: &'a Sink,
    runs: &'a [Vec<u8>],
    /// Runs a write.
    count: usize,
    writes: usize,
}

impl Work<'_> {
    /// Nanoseconds of CPU for a write. All bytes must arrive.
    fn measure(self, core: Option<usize>, write: fn(&TcpStream, &[Vec<u8>], &mut Vec<u8>)) -> [f64; 1] {
        let before = self.sink.received();
        let cpu_ns = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                pin(core);
                let mut scratch = Vec::new();
                let cpu_ns = thread_cpu_ns();
                for turn in 0..self.writes {
                    // Other runs each time.
                    let first = turn * self.count % RUNS;
                    let runs = &self.runs[first..first + self.count];
                    write(&self.sockets[turn % SOCKETS], runs, &mut scratch);
                }
                thread_cpu_ns() - cpu_ns
            });
            writer.join().expect("sockets that take everything")
        });
        self.sink.wait_for(before + (self.writes * self.count * self.runs[0].len()) as u64);
        [cpu_ns / self.writes as f64]
    }
}

fn copied(mut socket: &TcpStream, runs: &[Vec<u8>], scratch: &mut Vec<u8>) {
    let bytes = match runs {
        // One alone is sent as it lies.
        [one] => one,
        several => {
            scratch.clear();
            several.iter().for_each(|run| scratch.extend_from_slice(run));
            scratch
        }
    };
    socket.write_all(bytes).expect("a client that reads");
}

fn vectored(mut socket: &TcpStream, runs: &[Vec<u8>], _scratch: &mut Vec<u8>) {
    let mut slices = [IoSlice::new(&[]); RUNS];
    for (slice, run) in slices.iter_mut().zip(runs) {
        *slice = IoSlice::new(run);
    }
    let mut slices = &mut slices[..runs.len()];
    while !slices.is_empty() {
        let written = socket.write_vectored(slices).expect("a client that reads");
        IoSlice::advance_slices(&mut slices, written);
    }
}

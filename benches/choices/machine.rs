//! What a benchmark asks of the system: cores, CPU, waking on time, open files.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};
use rustix::time::{ClockId, clock_gettime};

/// Two cores that this process may use, where it may use so many.
pub fn two_cores() -> Option<[usize; 2]> {
    let set = sched_getaffinity(None).expect("a thread may ask for its own cores");
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    Some([cores.next()?, cores.next()?])
}

/// Keeps this thread on one core, where one is named.
pub fn pin(core: Option<usize>) {
    if let Some(core) = core {
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).expect("a core that this process may use");
    }
}

/// CPU that this thread has had, in nanoseconds.
pub fn thread_cpu_ns() -> f64 {
    cpu_ns(ClockId::ThreadCPUTime)
}

/// CPU that all threads have had, in nanoseconds.
pub fn process_cpu_ns() -> f64 {
    cpu_ns(ClockId::ProcessCPUTime)
}

fn cpu_ns(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Lets this thread's sleeps end when they should: by default the kernel takes 50 microseconds more.
pub fn wake_on_time() {
    set_current_timer_slack(NonZeroU64::new(1)).expect("a thread may set its own timer slack");
}

/// Sleeps until then; not at all where that is over.
pub fn sleep_until(then: Instant) {
    let rest = then.saturating_duration_since(Instant::now());
    if rest > Duration::ZERO {
        std::thread::sleep(rest);
    }
}

/// Raises the limit of open files as far as it may be. Where that is too low, opening says so.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

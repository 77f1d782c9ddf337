//! When bursts are due: burst `k` is due `k` gaps after the first, however late the one before was. Timers of the system
//! tell, and not tokio's or `sleep`, which are a millisecond and 50 microseconds coarse: nobody is to lose by that.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::shared::{Failure, Flags};

/// When the next burst is due.
#[derive(Debug)]
pub struct Schedule {
    /// Nanoseconds from one burst to the next; `None`: as soon as there is room.
    gap_ns: Option<u64>,
    /// When the first was due, on the monotonic clock and on the wall.
    origin_ns: (u64, u64),
    bursts: u64,
}

/// Waits in this thread.
#[derive(Debug)]
pub struct Timer(OwnedFd);

/// Waits in a task.
#[derive(Debug)]
pub struct AsyncTimer(AsyncFd<OwnedFd>);

fn now_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    now_ns(ClockId::Realtime)
}

impl Schedule {
    /// The first burst is due now.
    pub fn start(flags: &Flags) -> Schedule {
        let gap_ns = flags.rate.map(|rate| (flags.gather * 1_000_000_000).div_ceil(rate));
        Schedule { gap_ns, origin_ns: (now_ns(ClockId::Monotonic), unix_ns()), bursts: 0 }
    }

    /// When the next burst is due: on the monotonic clock, if that is still to come, and on the wall.
    fn next(&mut self) -> (Option<u64>, u64) {
        let Some(gap_ns) = self.gap_ns else { return (None, unix_ns()) };
        let since_ns = self.bursts * gap_ns;
        self.bursts += 1;
        let (due_ns, due_unix_ns) = (self.origin_ns.0 + since_ns, self.origin_ns.1 + since_ns);
        ((due_ns > now_ns(ClockId::Monotonic)).then_some(due_ns), due_unix_ns)
    }
}

fn timer(flags: TimerfdFlags) -> Result<OwnedFd, Failure> {
    Ok(timerfd_create(TimerfdClockId::Monotonic, flags | TimerfdFlags::CLOEXEC)?)
}

fn set(timer: &OwnedFd, due_ns: u64) -> Result<(), Failure> {
    let due = Timespec { tv_sec: (due_ns / 1_000_000_000) as i64, tv_nsec: (due_ns % 1_000_000_000) as i64 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: due };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once)?;
    Ok(())
}

fn read(timer: &OwnedFd) -> Result<(), Errno> {
    rustix::io::read(timer, &mut [0_u8; 8]).map(drop)
}

impl Timer {
    pub fn new() -> Result<Timer, Failure> {
        Ok(Timer(timer(TimerfdFlags::empty())?))
    }

    /// Waits for the next burst and says when it was due, in nanoseconds since the Unix epoch.
    pub fn wait(&self, schedule: &mut Schedule) -> Result<u64, Failure> {
        let (ahead, due_unix_ns) = schedule.next();
        if let Some(due_ns) = ahead {
            set(&self.0, due_ns)?;
            read(&self.0)?;
        }
        Ok(due_unix_ns)
    }
}

impl AsyncTimer {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe; the descriptor here is owned and never changed"
    )]
    pub fn new() -> Result<AsyncTimer, Failure> {
        Ok(AsyncTimer(AsyncFd::new(timer(TimerfdFlags::NONBLOCK)?)?))
    }

    /// Waits for the next burst and says when it was due, in nanoseconds since the Unix epoch.
    pub async fn wait(&self, schedule: &mut Schedule) -> Result<u64, Failure> {
        let (ahead, due_unix_ns) = schedule.next();
        if let Some(due_ns) = ahead {
            set(self.0.get_ref(), due_ns)?;
            loop {
                let mut ready = self.0.readable().await?;
                match ready.try_io(|timer| Ok(read(timer.get_ref())?)) {
                    Ok(read) => break read?,
                    Err(_not_yet) => {}
                }
            }
        }
        Ok(due_unix_ns)
    }
}

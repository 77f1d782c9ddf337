//! What a verb does that is told to stop half way through.

use std::io;
use std::thread::Builder;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// From now on Ctrl-C and SIGTERM do this, once, instead of ending the process.
pub fn when_told(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let waiting = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop();
    };
    Builder::new().name("stop".into()).spawn(waiting).map(drop)
}

//! The socket that writers connect to.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::LiveError;

/// The owner alone may write.
const MODE: u32 = 0o600;

/// A socket that listens.
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    closed: Arc<AtomicBool>,
}

/// Ends a listener when it is dropped, and removes its file.
pub(super) struct Closer {
    path: PathBuf,
    closed: Arc<AtomicBool>,
}

impl Listener {
    /// Listens at the path. A socket that nobody listens to any more is replaced.
    pub fn bind(path: &Path) -> Result<Listener, LiveError> {
        let failed =
            |action| move |error| LiveError::Io { action, input: format!("unix:{}", path.display()), error };
        let taken = |what| LiveError::Taken { path: path.display().to_string(), what };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => return Err(taken("no socket")),
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(taken("the socket of a server that lives"));
            }
            Ok(_) => fs::remove_file(path).map_err(failed("remove the old socket"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at")(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed("listen at"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed("set the mode of"))?;
        Ok(Listener { listener, path: path.into(), closed: Arc::default() })
    }

    /// What ends it.
    pub fn closer(&self) -> Closer {
        Closer { path: self.path.clone(), closed: self.closed.clone() }
    }

    /// The next writer; `None` once it was closed.
    pub fn accept(&self) -> Option<io::Result<UnixStream>> {
        let accepted = self.listener.accept().map(|(stream, _)| stream);
        (!self.closed.load(Ordering::Acquire)).then_some(accepted)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Wakes whoever waits for a writer; where nobody does, nobody minds.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

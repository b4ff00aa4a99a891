//! A file that several processes change, one at a time, and that readers see whole.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The right to replace a file. Another process that opens the file waits until this is dropped.
///
/// The lock is on the folder, since the file itself is replaced, and may not exist yet. It is
/// advisory (`flock`): it holds between processes that use this type.
pub(crate) struct LockedFile {
    /// The file itself, if the path is a link to it.
    path: PathBuf,
    folder: PathBuf,
    lock: File,
}

impl LockedFile {
    /// Waits for the right to replace the file at `path`, which may not exist.
    pub fn open(path: &Path) -> io::Result<LockedFile> {
        let path = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let lock = File::open(&folder)?;
        lock.lock()?;
        Ok(LockedFile { path, folder, lock })
    }

    /// The text of the file. None: there is no file.
    pub fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file, which keeps its owner, group and mode. A new file has mode 0600. When this
    /// returns, the change is on the disk.
    pub fn replace(&self, text: &str) -> io::Result<()> {
        // In the same folder: a rename does not cross file systems.
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        match std::fs::metadata(&self.path) {
            Ok(old) => take_over(new.as_file(), &old)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(&self.path)?;
        self.lock.sync_all()
    }
}

/// Gives `new` the owner, group and mode of the file that it replaces.
fn take_over(new: &File, old: &Metadata) -> io::Result<()> {
    let mine = new.metadata()?;
    if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let text = format!("it belongs to another user, who has to change it: {error}");
            io::Error::new(error.kind(), text)
        })?;
    }
    // After the owner: a change of the owner may take bits of the mode away.
    new.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))
}

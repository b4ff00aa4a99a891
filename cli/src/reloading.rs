//! Reads settings and the files that they name again, and passes on what can change while the server runs.
//!
//! All or nothing: everything is read and checked first. A problem leaves the server as it was.

use crate::logging::{Log, filter};
use crate::users_file::load_users;
use roommq_bridge::Bridge;
use roommq_broker::Server;
use roommq_config::{Loaded, Sources, load};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The time between two looks at the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Reloads a running server.
pub(crate) struct Reloader {
    sources: Sources,
    /// As in effect: of what cannot change while the server runs, the values of the start.
    loaded: Loaded,
    users: Option<u64>,
    bridge: Arc<Bridge>,
    watch: FileWatch,
}

impl Reloader {
    pub(crate) fn new(
        sources: Sources,
        loaded: Loaded,
        mut watch: FileWatch,
        bridge: Arc<Bridge>,
    ) -> Reloader {
        watch
            .users_file
            .clone_from(&loaded.settings.auth.users_file);
        watch.read_stamps();
        Reloader {
            users: users_digest(&loaded),
            sources,
            loaded,
            bridge,
            watch,
        }
    }

    /// Waits until a file has changed. The future may be dropped.
    pub(crate) async fn changed(&mut self) {
        while !self.watch.has_changed() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Reads everything again. The log says what has changed, or why nothing has.
    pub(crate) async fn reload(&mut self, server: &mut Server, log: &Log) {
        self.watch.read_stamps();
        match self.try_reload(server, log).await {
            Ok((changed, needs_restart)) => {
                tracing::info!(?changed, ?needs_restart, "settings have been reloaded");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%error, "settings cannot be reloaded; the old ones stay");
            }
        }
    }

    /// Returns what has changed, and what differs and needs a restart.
    async fn try_reload(
        &mut self,
        server: &mut Server,
        log: &Log,
    ) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let new = load(&self.sources)?;
        let users = load_users(&new.settings)?;
        let users_digest = users_digest(&new);
        let filter = filter(&new.settings.log.level)?;
        let tls = server.read_tls()?;
        let difference = self.loaded.changes(&new);
        let mut changed: Vec<String> = difference.live.into_iter().collect();
        if users_digest != self.users {
            changed.push("users".to_owned());
        }
        // From here on nothing is refused.
        self.users = users_digest;
        self.loaded.take_live(new);
        let settings = &self.loaded.settings;
        self.watch.users_file.clone_from(&settings.auth.users_file);
        self.bridge.reload(settings, users);
        let reloaded = server.reload(tls, &settings.limits, &*self.bridge).await;
        if let Err(error) = reloaded {
            tracing::error!(%error, "a part of the server has stopped before, and does not follow the new settings");
        }
        log.set_filter(filter);
        let fixed = difference.fixed.into_iter().collect();
        Ok((changed, fixed))
    }
}

/// A digest of the users file, to tell whether it has changed. None: there is none.
fn users_digest(loaded: &Loaded) -> Option<u64> {
    let bytes = std::fs::read(loaded.settings.auth.users_file.as_ref()?).ok()?;
    let mut digest = DefaultHasher::new();
    bytes.hash(&mut digest);
    Some(digest.finish())
}

/// Shows whether a file has changed: its time, length and inode.
type WatchedStamp = (SystemTime, u64, u64);

/// Watches the settings file and the users file. The files of TLS are watched by the server.
#[derive(Debug)]
pub(crate) struct FileWatch {
    config: Option<PathBuf>,
    users_file: Option<PathBuf>,
    /// When the files were read.
    read: [Option<WatchedStamp>; 2],
    /// At the last look.
    seen: [Option<WatchedStamp>; 2],
}

impl FileWatch {
    pub(crate) fn new(sources: &Sources) -> FileWatch {
        let mut watch = FileWatch {
            config: sources.file_path(),
            users_file: None,
            read: [None; 2],
            seen: [None; 2],
        };
        watch.read_stamps();
        watch
    }

    fn stamps(&self) -> [Option<WatchedStamp>; 2] {
        let stamp = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len(), file.ino()))
        };
        [&self.config, &self.users_file].map(|path| stamp(path.as_deref()?))
    }

    fn read_stamps(&mut self) {
        self.read = self.stamps();
        self.seen = self.read;
    }

    /// Whether a file has changed since it was read, and not since the last look: a file that is being
    /// written may be half of what it will be, and without its last rules.
    fn has_changed(&mut self) -> bool {
        let now = self.stamps();
        let settled = now == self.seen;
        self.seen = now;
        settled && now != self.read
    }
}

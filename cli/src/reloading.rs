//! Reads settings and the files that they name again, and passes on what can change while the server runs.
//!
//! All or nothing: everything is read and checked first. A problem leaves the server as it was.

use crate::credentials::{credential_files, load_credentials};
use crate::logging::{Log, filter};
use roommq_bridge::Bridge;
use roommq_broker::Server;
use roommq_config::{Loaded, Settings, Sources, load};
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
    /// Digests of the [`credential_files`].
    digests: [Option<u64>; 2],
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
        watch.name_credentials(&loaded.settings);
        watch.read_stamps();
        Reloader {
            digests: digests(&loaded.settings),
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
        let credentials = load_credentials(&new.settings)?;
        let digests = digests(&new.settings);
        let filter = filter(&new.settings.log.level)?;
        let tls = server.read_tls()?;
        let difference = self.loaded.changes(&new);
        let mut changed: Vec<String> = difference.live.into_iter().collect();
        for (name, number) in [("users", 0), ("token keys", 1)] {
            if digests[number] != self.digests[number] {
                changed.push(name.to_owned());
            }
        }
        // From here on nothing is refused.
        self.digests = digests;
        self.loaded.take_live(new);
        let settings = &self.loaded.settings;
        self.watch.name_credentials(settings);
        self.bridge.reload(settings, credentials);
        let reloaded = server.reload(tls, &settings.limits, &*self.bridge).await;
        if let Err(error) = reloaded {
            tracing::error!(%error, "a part of the server has stopped before, and does not follow the new settings");
        }
        log.set_filter(filter);
        let fixed = difference.fixed.into_iter().collect();
        Ok((changed, fixed))
    }
}

/// Digests of the [`credential_files`], to tell whether they have changed. None: there is no such file.
fn digests(settings: &Settings) -> [Option<u64>; 2] {
    credential_files(settings).map(|path| {
        let bytes = std::fs::read(path?).ok()?;
        let mut digest = DefaultHasher::new();
        bytes.hash(&mut digest);
        Some(digest.finish())
    })
}

/// Shows whether a file has changed: its time, length and inode.
type WatchedStamp = (SystemTime, u64, u64);

/// Watches the settings file, the users file and the keys of tokens. The files of TLS are watched by the server.
#[derive(Debug)]
pub(crate) struct FileWatch {
    config: Option<PathBuf>,
    /// The [`credential_files`].
    credentials: [Option<PathBuf>; 2],
    /// When the files were read.
    read: [Option<WatchedStamp>; 3],
    /// At the last look.
    seen: [Option<WatchedStamp>; 3],
}

impl FileWatch {
    pub(crate) fn new(sources: &Sources) -> FileWatch {
        let mut watch = FileWatch {
            config: sources.file_path(),
            credentials: [None, None],
            read: [None; 3],
            seen: [None; 3],
        };
        watch.read_stamps();
        watch
    }

    fn name_credentials(&mut self, settings: &Settings) {
        self.credentials = credential_files(settings).map(|path| path.map(Path::to_owned));
    }

    fn stamps(&self) -> [Option<WatchedStamp>; 3] {
        let stamp = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len(), file.ino()))
        };
        let [users, keys] = &self.credentials;
        [&self.config, users, keys].map(|path| stamp(path.as_deref()?))
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

//! The log on stderr or in a file, as text or JSON.

use crate::json_lines::JsonLines;
use crate::log_writer::LogWriter;
use anyhow::{Context, anyhow};
use roommq_config::{LogFormat, LogSettings};
use rustix::fs::{Access, access};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use tracing_subscriber::{EnvFilter, reload};

/// The log of this process.
pub(crate) struct Log {
    pub writer: LogWriter,
    set_filter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error>>,
}

impl Log {
    /// Logs what passes this [`filter`] from now on.
    pub(crate) fn set_filter(&self, filter: EnvFilter) {
        if let Err(error) = (self.set_filter)(filter) {
            tracing::error!(%error, "log.level cannot be changed");
        }
    }
}

/// Starts the log, and logs panics from now on. Call it once in a process. No thread that logs ever
/// waits for the writer of the log, or sees an error of it.
pub(crate) fn start(log: &LogSettings) -> anyhow::Result<Log> {
    let file = log.file.as_deref();
    let writer = LogWriter::start(file).with_context(|| {
        let shown = file.map_or("stderr".into(), Path::to_string_lossy);
        format!("the log cannot be written to {shown}")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.level)?)
        .with_writer(writer.clone())
        .with_ansi(file.is_none() && colors())
        // Otherwise it would print its own errors on stderr, which may block.
        .log_internal_errors(false);
    let set_filter: Box<dyn Fn(_) -> _>;
    let started = match log.format {
        LogFormat::Human => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            set_filter = Box::new(move |filter| handle.reload(filter));
            builder.try_init()
        }
        LogFormat::Json => {
            let builder = builder.event_format(JsonLines).with_filter_reloading();
            let handle = builder.reload_handle();
            set_filter = Box::new(move |filter| handle.reload(filter));
            builder.try_init()
        }
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))?;
    log_panics();
    Ok(Log { writer, set_filter })
}

/// Runs `checks`, whose warnings go to stderr.
pub(crate) fn with_warnings<T>(checks: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(colors())
        .with_target(false)
        .without_time()
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::with_default(subscriber, checks)
}

/// Checks whether the log could be written to this file, without making it.
pub(crate) fn check_file(file: &Path) -> anyhow::Result<()> {
    let checked = if file.exists() {
        std::fs::File::options().append(true).open(file).map(drop)
    } else {
        let folder = file.parent().filter(|parent| *parent != Path::new(""));
        let rights = Access::WRITE_OK | Access::EXEC_OK;
        access(folder.unwrap_or(Path::new(".")), rights).map_err(Into::into)
    };
    checked.with_context(|| format!("the log cannot be written to {}", file.display()))
}

/// Whether stderr shows colors.
fn colors() -> bool {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
    has_colors(
        std::io::stderr().is_terminal(),
        &variable("NO_COLOR"),
        &variable("TERM"),
    )
}

/// `NO_COLOR` counts if it is not empty.
fn has_colors(terminal: bool, no_color: &OsStr, term: &OsStr) -> bool {
    terminal && no_color.is_empty() && term != "dumb"
}

/// Replaces the standard library's hook, which writes to stderr and blocks with it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(%panic, thread, backtrace, "a thread has panicked");
    }));
}

/// The filter for `level`, with [`roommq_broker::QUIET_TARGETS`] off. Those targets open a span for
/// each message, which costs more than the message.
pub(crate) fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(level).with_context(|| {
        format!("log.level {level:?}: it should be error, warn, info, debug or trace, or tracing directives")
    })?;
    for target in roommq_broker::QUIET_TARGETS {
        filter = filter.add_directive(format!("{target}=off").parse()?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn colors_need_a_terminal_that_has_them_and_a_user_who_wants_them() {
        let shown = |terminal, no_color: &str, term: &str| {
            has_colors(terminal, no_color.as_ref(), term.as_ref())
        };
        assert!(shown(true, "", "xterm"));
        assert!(!shown(false, "", "xterm"));
        assert!(!shown(true, "1", "xterm"));
        assert!(!shown(true, "", "dumb"));
    }

    #[test]
    fn levels_and_directives() {
        for good in ["info", "warn,roommq_broker=debug"] {
            let text = filter(good).unwrap().to_string();
            for target in roommq_broker::QUIET_TARGETS {
                assert!(text.contains(&format!("{target}=off")), "{text}");
            }
        }
        assert!(
            filter("a=b=c")
                .unwrap_err()
                .to_string()
                .contains("log.level")
        );
    }
}

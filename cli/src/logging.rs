//! The log on stderr, as text or JSON.

use crate::log_writer::LogWriter;
use anyhow::{Context, anyhow};
use roommq_config::{LogFormat, LogSettings};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log, and logs panics from now on. Call it once in a process. No thread that logs ever
/// waits for the returned writer, or sees an error of it.
pub(crate) fn start(log: &LogSettings) -> anyhow::Result<LogWriter> {
    let writer = LogWriter::start(None).context("the log cannot be started")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.level)?)
        .with_writer(writer.clone())
        .with_ansi(std::io::stderr().is_terminal())
        // Otherwise it would print its own errors on stderr, which may block.
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))?;
    log_panics();
    Ok(writer)
}

/// Runs `checks`, whose warnings go to stderr.
pub(crate) fn with_warnings<T>(checks: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::with_default(subscriber, checks)
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
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
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

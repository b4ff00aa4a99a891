//! The log on stderr, as text or JSON.

use anyhow::{Context, anyhow};
use roommq_config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log. Call it once in a process.
pub(crate) fn start(log: &LogSettings) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match log.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))
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

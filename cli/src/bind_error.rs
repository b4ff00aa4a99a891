//! The texts for a listener that cannot be opened: why, and what to do.

use roommq_broker::BindError;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

/// The text for `error`.
pub(crate) fn text(error: &BindError) -> String {
    match error {
        BindError::Address { address, error } => of_address(*address, error),
        BindError::Path { path, error } => of_path(path, error),
        BindError::Tls(error) => error.to_string(),
    }
}

fn of_address(address: SocketAddr, error: &Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "{address} is in use; stop the other server or choose another address with --listen"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("{address} is not yours to listen on; choose a port from 1024 up with --listen")
        }
        ErrorKind::AddrNotAvailable => format!(
            "{} is no address of this machine; choose one that is, or 0.0.0.0 for all, with --listen",
            address.ip()
        ),
        _ => format!(
            "{address} cannot be listened on: {error}; choose another address with --listen"
        ),
    }
}

fn of_path(path: &Path, error: &Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{path} is in use: another server answers on it, or it is no socket; stop that server, or give \
             another `path` in the configuration"
        ),
        ErrorKind::NotFound => {
            format!("{path} cannot be made, since its directory is not there; make the directory")
        }
        _ => format!(
            "{path} cannot be listened on: {error}; give another `path` in the configuration"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_of_an_address_say_what_to_do() {
        let address = "127.0.0.1:1883".parse().unwrap();
        assert_eq!(
            of_address(address, &ErrorKind::AddrInUse.into()),
            "127.0.0.1:1883 is in use; stop the other server or choose another address with --listen"
        );
        for kind in [
            ErrorKind::PermissionDenied,
            ErrorKind::AddrNotAvailable,
            ErrorKind::Other,
        ] {
            assert!(of_address(address, &kind.into()).contains("--listen"));
        }
    }
}

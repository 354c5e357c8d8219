//! Which address a listener gets.

use std::net::{SocketAddr, TcpListener};

/// How many ports `next_free` tries. Enough for a machine on which many demos run.
const PORTS_TRIED: u16 = 200;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(
        "{address} is taken by another program: give another address with `{flag}` (port 0 picks a free one)"
    )]
    Taken { flag: &'static str, address: SocketAddr },
    #[error("cannot listen on {address}, given with `{flag}`: {error}")]
    Refused { flag: &'static str, address: SocketAddr, error: std::io::Error },
}

/// Checks that an address can be listened on. Port 0 stays 0: its listener picks.
///
/// # Errors
/// The port is taken, or the address is not of this machine.
pub fn check(flag: &'static str, address: SocketAddr) -> Result<SocketAddr, PortError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(PortError::Taken { flag, address })
        }
        Err(error) => Err(PortError::Refused { flag, address, error }),
    }
}

/// The wanted address, or the same with the next free port.
///
/// # Errors
/// As [`check`] for the wanted address, when all of the next ports are taken as well.
pub fn next_free(flag: &'static str, wanted: SocketAddr) -> Result<SocketAddr, PortError> {
    let first = match check(flag, wanted) {
        Err(error @ PortError::Taken { .. }) => error,
        other => return other,
    };
    (1..PORTS_TRIED)
        .map_while(|step| wanted.port().checked_add(step))
        .map(|port| SocketAddr::new(wanted.ip(), port))
        .find(|address| check(flag, *address).is_ok())
        .ok_or(first)
}

/// A number in place of port 0, for a child that cannot tell which port it got.
///
/// # Errors
/// As [`check`].
pub fn resolve(flag: &'static str, address: SocketAddr) -> Result<SocketAddr, PortError> {
    let refused = |error| PortError::Refused { flag, address, error };
    match address.port() {
        0 => TcpListener::bind(address).and_then(|listener| listener.local_addr()).map_err(refused),
        _ => check(flag, address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag_and_the_next_free_one_is_found() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = held.local_addr().unwrap();
        let error = check("--listen", taken).unwrap_err().to_string();
        assert!(error.contains("--listen") && error.contains(&taken.to_string()), "{error}");
        let next = next_free("--listen", taken).unwrap();
        assert_eq!(next.ip(), taken.ip());
        assert!(taken.port() < next.port());
        TcpListener::bind(next).unwrap();
    }

    #[test]
    fn port_zero_stays_zero_until_it_is_resolved() {
        let any = "127.0.0.1:0".parse().unwrap();
        assert_eq!(check("--listen", any).unwrap(), any);
        assert_eq!(next_free("--listen", any).unwrap(), any);
        assert_ne!(resolve("--mqtt-listen", any).unwrap().port(), 0);
    }
}

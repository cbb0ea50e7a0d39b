//! One attempt at each address of a TCP host.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::attempts::may_pass;

/// What std's connect takes for a time at least.
const SHORTEST: Duration = Duration::from_millis(1);

/// The system repeats an attempt after pauses that grow without bound. A new attempt finds a server
/// sooner whose backlog was full.
const LONGEST: Duration = Duration::from_secs(3);

/// The addresses of a host, in the order in which to try them.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Tries each address once, in its share of the time that is left.
pub(super) fn try_each(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut kept = Kept::default();
    for (at, address) in addresses.iter().enumerate() {
        match try_one(address, share(deadline, addresses.len() - at)) {
            Ok(stream) => return Ok(stream),
            Err(error) => kept.keep(error),
        }
    }
    Err(kept.into())
}

/// The error of several addresses that counts.
#[derive(Default)]
pub(crate) struct Kept(Option<io::Error>);

impl Kept {
    /// The first that may pass by itself, else the last.
    pub(crate) fn keep(&mut self, error: io::Error) {
        if !self.0.as_ref().is_some_and(may_pass) {
            self.0 = Some(error);
        }
    }
}

impl From<Kept> for io::Error {
    fn from(kept: Kept) -> Self {
        kept.0.unwrap_or_else(|| Self::new(io::ErrorKind::NotFound, "the host has no address"))
    }
}

/// The time for one attempt at the next of so many addresses.
pub(crate) fn share(deadline: Instant, addresses: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    (left / addresses).clamp(SHORTEST, LONGEST)
}

fn try_one(address: &SocketAddr, time: Duration) -> io::Result<TcpStream> {
    check_port(address)?;
    finish(TcpStream::connect_timeout(address, time)?)
}

pub(crate) fn check_port(address: &SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no server has port 0"));
    }
    Ok(())
}

/// Prepares a new connection. If the peer has reset it already, nothing can be set, and the first
/// read reports the reset.
pub(crate) fn finish(stream: TcpStream) -> io::Result<TcpStream> {
    refuse_own_end(&stream)?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A connection to a port of this machine where nobody listens may be given that very port as its own,
/// and is then connected to itself. That is as good as refused; it is reset, so that the port is free.
pub(super) fn refuse_own_end(stream: &TcpStream) -> io::Result<()> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => {}
        _ => return Ok(()),
    }
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Err(rustix::io::Errno::CONNREFUSED.into())
}

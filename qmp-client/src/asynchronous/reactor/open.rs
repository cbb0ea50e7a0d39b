//! A socket for each kind of address, without blocking.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use async_io::Async;

use crate::address::Address;
use crate::asynchronous::runtime::{Runtime, within};
use crate::connect::error::ConnectError;
use crate::connect::open::try_open;
use crate::connect::streams::open_inherited;
use crate::connect::{Attempts, Opened, SocketError, tcp};

/// Opens a stream socket to what is at `address`, and waits for a server that is starting.
pub(crate) async fn open<R: Runtime>(
    address: &Address,
    deadline: Instant,
) -> Result<Opened, ConnectError> {
    if let Address::Tcp { host, port } = address {
        return Ok(open_tcp::<R>(address, host, *port, deadline).await?.into());
    }
    if let Some(opened) = open_inherited(address) {
        return Ok(opened?);
    }
    let mut attempts = Attempts::new(address.clone(), deadline);
    loop {
        match try_open(address) {
            Ok(opened) => return Ok(opened),
            Err(error) => R::sleep(attempts.again(error)?).await,
        }
    }
}

async fn open_tcp<R: Runtime>(
    address: &Address,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, SocketError> {
    let mut attempts = Attempts::new(address.clone(), deadline);
    let addresses = match resolve::<R>(host, port, deadline).await {
        Ok(addresses) => addresses,
        Err(error) => return Err(attempts.unresolved(error)),
    };
    loop {
        match try_each::<R>(&addresses, deadline).await {
            Ok(stream) => return Ok(stream),
            Err(error) => R::sleep(attempts.again(error)?).await,
        }
    }
}

/// To look up a name blocks, so a thread of its own does it. One that is late is not waited for.
async fn resolve<R: Runtime>(
    host: &str,
    port: u16,
    deadline: Instant,
) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    let resolved = blocking::unblock(move || tcp::resolve(&host, port));
    let left = deadline.saturating_duration_since(Instant::now());
    within(R::sleep, Some(left), resolved).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

async fn try_each<R: Runtime>(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> io::Result<TcpStream> {
    let mut kept = tcp::Kept::default();
    for (at, address) in addresses.iter().enumerate() {
        let share = tcp::share(deadline, addresses.len() - at);
        let connected = within(R::sleep, Some(share), try_one(address)).await;
        match connected.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok(stream),
            Err(error) => kept.keep(error),
        }
    }
    Err(kept.into())
}

async fn try_one(address: &SocketAddr) -> io::Result<TcpStream> {
    tcp::check_port(address)?;
    let stream = Async::<TcpStream>::connect(*address).await?.into_inner()?;
    tcp::finish(stream)
}

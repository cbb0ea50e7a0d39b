//! The ways to a connection that take sockets and child processes.

use std::os::fd::OwnedFd;
use std::time::Instant;

use async_process::{Child, Command};
use qmp_proto::Dialect;

use crate::address::Address;
use crate::asynchronous::client::Client;
use crate::asynchronous::client::builder::{Builder, start};
use crate::asynchronous::client::events::Events;
use crate::asynchronous::io::driver::Driver;
use crate::asynchronous::reactor::listener::Listener;
use crate::asynchronous::reactor::open::open;
use crate::asynchronous::reactor::socket::Socket;
use crate::asynchronous::reactor::spawn::{self, Starting};
use crate::asynchronous::runtime::Runtime;
use crate::connect::error::ConnectError;
use crate::connect::listen::ListenSocket;
use crate::connect::{Connecting, Opened};

impl<R: Runtime> Builder<R> {
    /// Connects to an [`Address`], to what one wrote for `-qmp` on QEMU's command line, or to the
    /// Unix socket at a path.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] says which step was not reached by the deadline.
    pub async fn connect(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        Ok(self.connect_with_events(address).await?.0)
    }

    /// As [`connect`](Self::connect), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with_events(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<(Client, Events), ConnectError> {
        Ok(start::<R>(self.connect_with_driver(address).await?))
    }

    /// As [`connect_with_events`](Self::connect_with_events), with a driver to be run by yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with_driver(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        let address = address.try_into().map_err(Into::into)?;
        let mut connecting = Connecting::to(address.clone(), &self.options, Instant::now());
        loop {
            let opened = open::<R>(&address, connecting.deadline()).await;
            let opened = connecting.opened(opened)?;
            match self.begin(Socket::new(opened)?, &mut connecting).await {
                Err(error) => R::sleep(connecting.again(error)?).await,
                begun => return begun,
            }
        }
    }

    /// Connects to the guest agent behind an [`Address`], in its [`dialect`](Self::dialect).
    ///
    /// Set a [`command_timeout`](Self::command_timeout). A command ends some seconds after its agent was restarted. As
    /// long as no agent runs, only a timeout ends it, and every later command waits for it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ConnectError::NoAgent`] if none answers until the deadline. It names
    /// what came instead.
    pub async fn connect_guest_agent(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        self.clone().dialect(Dialect::GuestAgent).connect(address).await
    }

    /// Takes a connected stream socket: a `UnixStream` or `TcpStream` of the standard library, or any
    /// descriptor of one. Its mode does not matter.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream(&self, stream: impl Into<OwnedFd>) -> Result<Client, ConnectError> {
        Ok(self.from_stream_with_events(stream).await?.0)
    }

    /// As [`from_stream`](Self::from_stream), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream_with_events(
        &self,
        stream: impl Into<OwnedFd>,
    ) -> Result<(Client, Events), ConnectError> {
        Ok(start::<R>(self.from_stream_with_driver(stream).await?))
    }

    /// As [`from_stream_with_events`](Self::from_stream_with_events), with a driver to be run by
    /// yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream_with_driver(
        &self,
        stream: impl Into<OwnedFd>,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin_once(Socket::new(Opened::direct(stream))?, Instant::now()).await
    }

    /// Listens for QEMU, which connects to us: at a Unix socket, an abstract name or a TCP port, of
    /// which 0 is any free one and no host is this machine alone.
    ///
    /// A socket file at the path where nobody listens, as a killed process leaves it, is replaced.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Io`], with the address in its text: somebody listens there, or nothing can.
    pub async fn listen(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Listener<R>, ConnectError> {
        let address = address.try_into().map_err(Into::into)?;
        // A host's name is looked up.
        let socket = blocking::unblock(move || ListenSocket::bind(&address)).await?;
        Ok(Listener::new(socket, self.clone())?)
    }

    /// Starts QEMU and connects to it over an inherited socket: there is no path to agree on, and
    /// no race.
    ///
    /// The arguments that make this socket a monitor are added to `command`; its standard input is
    /// taken for it, so no other option may use that (`stdio`, `-nographic`). Everything else is
    /// yours, the [`Child`] too: wait for it after `quit`. Dropping the client does not end QEMU, and
    /// dropping the [`Child`] does not either.
    ///
    /// A piped standard output or error is not read before this returns. On Linux such a pipe holds
    /// 1 MiB until then.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). The child is killed then, as it is when this future is dropped.
    ///
    /// - [`ConnectError::NotStarted`]: there is no such program, or `-daemonize` is among its
    ///   arguments.
    /// - [`ConnectError::Exited`]: it ended by itself. If its standard error is a pipe, the error shows
    ///   the last lines of it.
    pub async fn spawn(&self, command: Command) -> Result<(Client, Child), ConnectError> {
        let (client, _, child) = self.spawn_with_events(command).await?;
        Ok((client, child))
    }

    /// As [`spawn`](Self::spawn), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub async fn spawn_with_events(
        &self,
        command: Command,
    ) -> Result<(Client, Events, Child), ConnectError> {
        let began = Instant::now();
        let (socket, mut child) = spawn::spawn(command)?;
        let starting = Starting::new(&mut child);
        let begun = match Socket::new(Opened::direct(socket)) {
            Ok(socket) => {
                let connecting = Connecting::with_child(&self.options, began, starting.id());
                self.begin(socket, &mut { connecting }).await
            }
            Err(error) => Err(error.into()),
        };
        match begun {
            Ok(begun) => {
                starting.started();
                let (client, events) = start::<R>(begun);
                Ok((client, events, child))
            }
            Err(error) => Err(starting.reap::<R>(error).await),
        }
    }
}

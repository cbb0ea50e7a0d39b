//! An adapter's own names.

/// Makes an adapter of a [`Runtime`](crate::asynchronous::Runtime): its `Builder` and the functions that
/// take the defaults. The crate needs to depend on `qmp-client` alone.
#[macro_export]
macro_rules! adapter {
    ($runtime:ty) => {
        /// The options of a connection, and the ways to get one.
        pub type Builder = $crate::asynchronous::Builder<$runtime>;

        /// Where QEMU connects to us.
        pub type Listener = $crate::asynchronous::Listener<$runtime>;

        /// Connects to an [`Address`]($crate::Address), to what one wrote for `-qmp` on QEMU's
        /// command line, or to the Unix socket at a path.
        ///
        /// # Errors
        ///
        /// A [`ConnectError`]($crate::ConnectError) says which step was not reached within 10 s.
        pub async fn connect(
            address: impl TryInto<$crate::Address, Error: Into<$crate::ConnectError>>,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            Builder::new().connect(address).await
        }

        /// As [`connect`], with all events from the connection's very first on.
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn connect_with_events(
            address: impl TryInto<$crate::Address, Error: Into<$crate::ConnectError>>,
        ) -> Result<
            ($crate::asynchronous::Client, $crate::asynchronous::Events),
            $crate::ConnectError,
        > {
            Builder::new().connect_with_events(address).await
        }

        /// Connects to the guest agent behind an [`Address`]($crate::Address): that of its channel's
        /// chardev on QEMU's command line, or the Unix socket at a path.
        ///
        /// Give each command a timeout: [`Client::with_timeout`]($crate::asynchronous::Client::with_timeout). A command
        /// ends some seconds after its agent was restarted. As long as no agent runs, only a timeout ends it, and
        /// every later command waits for it.
        ///
        /// # Errors
        ///
        /// As [`connect`]; [`ConnectError::NoAgent`]($crate::ConnectError::NoAgent) if none answers
        /// within 10 s. It names what came instead.
        pub async fn connect_guest_agent(
            address: impl TryInto<$crate::Address, Error: Into<$crate::ConnectError>>,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            Builder::new().connect_guest_agent(address).await
        }

        /// Listens for QEMU, which connects to us: see
        /// [`Builder::listen`]($crate::asynchronous::Builder::listen).
        ///
        /// # Errors
        ///
        /// As [`Builder::listen`]($crate::asynchronous::Builder::listen).
        pub async fn listen(
            address: impl TryInto<$crate::Address, Error: Into<$crate::ConnectError>>,
        ) -> Result<Listener, $crate::ConnectError> {
            Builder::new().listen(address).await
        }

        /// Connects to the Unix socket at `path`.
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn connect_unix(
            path: impl AsRef<::std::path::Path>,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            connect($crate::Address::from(path.as_ref())).await
        }

        /// Connects to a TCP port.
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn connect_tcp(
            host: impl Into<String>,
            port: u16,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            connect($crate::Address::Tcp { host: host.into(), port }).await
        }

        /// Takes a connected stream socket: a `UnixStream` or `TcpStream` of the standard library,
        /// or any descriptor of one.
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn from_stream(
            stream: impl Into<::std::os::fd::OwnedFd>,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            Builder::new().from_stream(stream).await
        }

        /// Takes any pair of streams: TLS, pipes, a serial port, another runtime's sockets.
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn from_io(
            reader: impl $crate::asynchronous::AsyncRead + Unpin + Send + 'static,
            writer: impl $crate::asynchronous::AsyncWrite + Unpin + Send + 'static,
        ) -> Result<$crate::asynchronous::Client, $crate::ConnectError> {
            Builder::new().from_io(reader, writer).await
        }

        /// Starts QEMU and connects to it over an inherited socket: see
        /// [`Builder::spawn`]($crate::asynchronous::Builder::spawn).
        ///
        /// # Errors
        ///
        /// As [`connect`].
        pub async fn spawn(
            command: $crate::asynchronous::process::Command,
        ) -> Result<
            ($crate::asynchronous::Client, $crate::asynchronous::process::Child),
            $crate::ConnectError,
        > {
            Builder::new().spawn(command).await
        }
    };
}

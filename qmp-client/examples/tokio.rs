//! A client on tokio, whose sockets and timers it uses: an adapter in a dozen lines.
//!
//! ```sh
//! cargo run -p qmp-client --features async --example tokio -- unix:/run/vm.sock
//! ```
//!
//! ```text
//! status Paused
//! event RESUME
//! event STOP
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use futures_lite::StreamExt;
use qmp_client::Address;
use qmp_client::asynchronous::{Driver, Runtime, Sleep};
use qmp_proto::commands::{Cont, QueryStatus, Stop};
use qmp_proto::printable;
use tokio::net::UnixStream;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// tokio's tasks and timers.
enum Tokio {}

impl Runtime for Tokio {
    fn spawn(driver: Driver) {
        tokio::spawn(driver);
    }

    fn sleep(time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Other adapters have `connect` and its kin from `qmp_client::adapter!`. Those would work here too,
/// over smol's reactor; this takes tokio's own socket instead.
type Builder = qmp_client::asynchronous::Builder<Tokio>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: tokio unix:PATH");
        std::process::exit(2);
    };
    let Address::Unix(path) = address.parse()? else { return Err("it takes unix:PATH".into()) };
    // Unlike the adapters' `connect`, this waits for nobody.
    let connected = UnixStream::connect(&path).await;
    let connected = connected.map_err(|error| format!("{}: {error}", path.display()))?;
    let (reader, writer) = connected.into_split();
    let builder = Builder::new().command_timeout(Duration::from_secs(10));
    let (client, mut events) =
        builder.from_io_with_events(reader.compat(), writer.compat_write()).await?;

    // Both at once, from one task.
    let (cont, stop) = tokio::join!(client.execute(&Cont), client.execute(&Stop));
    cont?;
    stop?;
    println!("status {:?}", client.execute(&QueryStatus).await?.status);
    drop(client);
    while let Some(event) = events.next().await {
        println!("event {}", printable(event?.name()));
    }
    Ok(())
}

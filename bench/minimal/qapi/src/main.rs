//! Asks for the status and prints it: `minimal-qapi SOCKET`.

use std::error::Error;
use std::os::unix::net::UnixStream;

use qapi::Qmp;
use qapi::qmp::query_status;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which socket?")?;
    let stream = UnixStream::connect(path)?;
    let mut client = Qmp::from_stream(&stream);
    client.handshake()?;
    println!("{:?}", client.execute(&query_status {})?.status);
    Ok(())
}

//! Asks for the status and prints it: `minimal-ours SOCKET`.

use std::error::Error;

use qmp_blocking::commands::QueryStatus;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which socket?")?;
    let client = qmp_blocking::connect_unix(path)?;
    println!("{:?}", client.execute(&QueryStatus)?.status);
    Ok(())
}

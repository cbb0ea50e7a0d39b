//! Asks for the status and prints it: `minimal-raw SOCKET`.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("which socket?")?;
    let mut stream = UnixStream::connect(path)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    for command in ["qmp_capabilities", "query-status"] {
        stream.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes())?;
        line.clear();
        reader.read_line(&mut line)?;
    }
    let reply: Value = serde_json::from_str(&line)?;
    println!("{}", reply["return"]["status"]);
    Ok(())
}

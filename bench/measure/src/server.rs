//! Servers, each a process that ends with its handle.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::failed;
use crate::place::{Cpu, beside};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, and its sockets.
pub struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    /// The one that answers at once. Any number of clients may come to its one socket.
    pub fn scripted(cpu: Cpu) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = cpu.command();
        command.arg(beside("bench-server")).arg(folder.path().join("0"));
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let server = Self { child, folder };
        if line.trim() != "ready" {
            return Err(failed("the server does not start"));
        }
        Ok(server)
    }

    /// qemu-storage-daemon with so many monitors: each serves one client at a time.
    pub fn storage_daemon(cpu: Cpu, monitors: usize) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = cpu.command();
        command.arg("qemu-storage-daemon");
        for monitor in 0..monitors {
            let path = folder.path().join(monitor.to_string());
            let chardev =
                format!("socket,id=c{monitor},path={},server=on,wait=off", path.display());
            command.args(["--chardev", &chardev, "--monitor", &format!("chardev=c{monitor}")]);
        }
        let server = Self { child: command.spawn()?, folder };
        let start = Instant::now();
        while !(0..monitors).all(|monitor| server.socket(monitor).exists()) {
            if start.elapsed() > PATIENCE {
                return Err(failed("qemu-storage-daemon does not start"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// The socket of a monitor.
    pub fn socket(&self, monitor: usize) -> PathBuf {
        self.folder.path().join(monitor.to_string())
    }

    /// Its first socket.
    pub fn path(&self) -> PathBuf {
        self.socket(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a program can be started.
pub fn is_there(program: &str) -> bool {
    let mut command = Command::new(Path::new(program));
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

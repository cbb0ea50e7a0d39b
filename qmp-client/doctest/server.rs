// A server for the examples in the documentation, which include this file: the embedded machine; and a
// runtime for the client. Adapters have one of their own.
fn server() -> std::os::unix::net::UnixStream {
    use qmp_server::{Connection, Machine, Output};
    use std::io::{Read, Write};

    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut machine = Machine::new();
        let mut connection = <Connection>::new(machine.config());
        let mut buffer = [0; 1024];
        loop {
            while let Some(output) = connection.poll_output() {
                match output {
                    Output::Call(call) => {
                        let now = qmp_proto::Timestamp { seconds: 0, microseconds: 0 };
                        machine.execute(&call, &mut connection, now);
                    }
                    Output::Closed(_) => return,
                    _ => {}
                }
            }
            if let Some(bytes) = connection.transmit() {
                let sent = theirs.write(bytes).unwrap_or(0);
                connection.advance(sent);
            } else {
                match theirs.read(&mut buffer) {
                    Ok(0) | Err(_) => connection.handle_eof(),
                    Ok(length) => connection.handle_input(&buffer[..length]),
                }
            }
        }
    });
    ours
}

enum Threads {}

impl qmp_client::asynchronous::Runtime for Threads {
    fn spawn(driver: qmp_client::asynchronous::Driver) {
        std::thread::spawn(|| async_io::block_on(driver));
    }

    fn sleep(time: std::time::Duration) -> qmp_client::asynchronous::Sleep {
        Box::pin(async move {
            async_io::Timer::after(time).await;
        })
    }
}

qmp_client::adapter!(Threads);

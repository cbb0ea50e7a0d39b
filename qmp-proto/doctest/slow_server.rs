// A server for the guide to event loops, which includes this file: it reads 512 bytes at a time, answers a
// command with its name, "getfd" with what is in the file that came along, and "blockdev-snapshot-sync" never.
fn serve(socket: std::os::unix::net::UnixStream) -> std::io::Result<()> {
    use qmp_server::{Config, Connection, Output};
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{IoSliceMut, Read, Write};
    use std::os::fd::OwnedFd;

    let mut config = Config::default();
    config.concurrent = 2;
    let mut connection = Connection::<OwnedFd>::new(config);
    loop {
        while let Some(bytes) = connection.transmit() {
            let sent = (&socket).write(bytes)?;
            connection.advance(sent);
        }
        match connection.poll_output() {
            Some(Output::Call(call)) => {
                let mut answer = call.name.clone();
                if call.name == "getfd" {
                    answer.clear();
                    let file = connection.take_descriptor().unwrap();
                    std::fs::File::from(file).read_to_string(&mut answer)?;
                }
                if call.name != "blockdev-snapshot-sync" {
                    connection.respond(call.ticket, Ok(answer)).unwrap();
                }
            }
            Some(_) => {}
            None => {
                let mut buffer = [0; 512];
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut parts = [IoSliceMut::new(&mut buffer)];
                let received = recvmsg(&socket, &mut parts, &mut control, RecvFlags::empty())?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                        descriptors.for_each(|descriptor| connection.handle_descriptor(descriptor));
                    }
                }
                match received.bytes {
                    0 => return Ok(()),
                    length => connection.handle_input(&buffer[..length]),
                }
            }
        }
    }
}

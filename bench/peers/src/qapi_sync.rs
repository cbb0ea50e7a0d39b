//! qapi 0.15 for threads. One thread has the connection, so one command at most is outstanding.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bench_worker::{Scenario, Work, lap};
use qapi::qmp::{human_monitor_command, query_version};
use qapi::{Qmp, Stream};

type Client = Qmp<Stream<BufReader<UnixStream>, UnixStream>>;

pub(crate) fn open(scenario: Scenario, path: &Path) -> Option<Work> {
    let path = path.to_owned();
    Some(match scenario {
        Scenario::Commands => {
            let mut client = connect(&path);
            Box::new(move |count| {
                for _ in 0..count {
                    client.execute(&query_version {}).expect("a version");
                    lap();
                }
                count
            })
        }
        Scenario::Events => {
            let mut client = connect(&path);
            Box::new(move |count| {
                ask(&mut client, format!("events {count}"));
                // Events are received with a reply.
                client.nop().expect("a version");
                client.events().count()
            })
        }
        Scenario::Typed(size) => {
            let mut client = connect(&path);
            Box::new(move |count| {
                (0..count).map(|_| drop(ask(&mut client, format!("size {size}")))).count()
            })
        }
        Scenario::Connect => {
            Box::new(move |count| (0..count).map(|_| drop(connect(&path))).count())
        }
        Scenario::Idle => {
            let mut kept = Vec::new();
            Box::new(move |count| {
                kept.extend((0..count).map(|_| connect(&path)));
                count
            })
        }
        _ => return None,
    })
}

fn connect(path: &Path) -> Client {
    let stream = UnixStream::connect(path).expect("a server");
    let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let mut client = Qmp::new(Stream::new(reader, stream));
    client.handshake().expect("a server");
    client
}

fn ask(client: &mut Client, command_line: String) -> String {
    client.execute(&human_monitor_command { command_line, cpu_index: None }).expect("a string")
}

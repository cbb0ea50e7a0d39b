//! C13: any number of callers at once, each with its own reply.

use qmp_tests::qemu::{DEADLINE, Monitor, Setup};
use qmp_tests::scripted::{Random, pair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::qmp::commands::{HumanMonitorCommand, QueryName, QueryStatus, RunState};
use super::qmp::{Client, Command, Error, ErrorClass, Request};
use super::runtime::{finish, start, tell};
use super::{patient, qmp, run};

const CALLERS: usize = 8;
const COMMANDS: usize = 500;

#[test]
fn c13_replies_find_their_callers_in_any_order() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let mut random = Random::new(1);
            for _ in 0..COMMANDS {
                // Each caller waits for one of them.
                let mut commands = peer.commands(CALLERS);
                while !commands.is_empty() {
                    let at = random.below(commands.len() as u64) as usize;
                    let command = commands.swap_remove(at);
                    peer.reply(&command, &command.arguments.to_string());
                }
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let callers: Vec<_> =
            (0..CALLERS).map(|caller| start(echo(client.clone(), caller))).collect();
        for caller in callers {
            finish(caller).await;
        }
        drop(client);
        script.join();
    });
}

async fn echo(client: Client, caller: usize) {
    for number in 0..COMMANDS {
        let arguments = json!({ "caller": caller, "number": number });
        let request = Request::new("echo").arguments(&arguments);
        let reply = wait!(client.execute_request(request)).unwrap();
        assert_eq!(reply.parse::<Value>().unwrap(), arguments);
    }
}

#[test]
fn c13_many_commands_of_many_callers_with_qemu() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp).start();
        for (address, oob) in server.addresses().iter().zip([false, true]) {
            let client = wait!(patient().oob(oob).connect(address)).unwrap();
            let part = |part: u32| start(print_numbers(client.clone(), 1 + part * 100));
            let callers: Vec<_> = (0..8).map(part).collect();
            for caller in callers {
                finish(caller).await;
            }
            wait!(client.wait_idle(DEADLINE)).unwrap();
        }
    });
}

/// Prints numbers with the human monitor's calculator; each comes back in hexadecimal.
async fn print_numbers(client: Client, first: u32) {
    for number in first..first + 100 {
        let command_line = &format!("print {number}");
        let print = HumanMonitorCommand { command_line, cpu_index: None };
        assert_eq!(wait!(client.execute(&print)).unwrap(), format!("{number:#x}\r\n"));
    }
}

/// A command of one's own.
#[derive(Serialize)]
struct Weigh<'a> {
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Weight {
    grams: u64,
}

impl Command for Weigh<'_> {
    const NAME: &'static str = "x-weigh";
    type Return = Weight;
}

#[test]
fn a_command_is_typed_or_ones_own_or_a_name() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let own = peer.expect("x-weigh");
            assert_eq!(own.arguments, json!({ "what": "feather" }));
            peer.reply(&own, r#"{"grams": 1, "later": "unknown members are passed over"}"#);
            let query = peer.expect("query-name");
            peer.reply(&query, r#"{"name": "vm"}"#);
            let by_name = peer.expect("eject");
            assert_eq!(by_name.arguments, json!({ "device": "ide1-cd0" }));
            peer.fail(&by_name, "DeviceNotFound", "there is none");
            for _ in 0..2 {
                let short = peer.expect("query-kvm");
                peer.reply(&short, r#"{"enabled":  false}"#);
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let feather = Weigh { what: "feather", unit: None };
        assert_eq!(wait!(client.execute(&feather)), Ok(Weight { grams: 1 }));
        assert_eq!(wait!(client.execute(&QueryName)).unwrap().name.as_deref(), Some("vm"));
        let eject = Request::new("eject").arguments(json!({ "device": "ide1-cd0" }));
        let Err(Error::Command(error)) = wait!(client.execute_request(eject)) else { panic!() };
        assert_eq!(error.class, ErrorClass::DeviceNotFound);
        for name in ["kvm", "query-kvm"] {
            let raw = wait!(client.query(name)).unwrap();
            assert_eq!(raw.as_str(), Ok(r#"{"enabled":  false}"#));
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c5_a_return_that_does_not_fit_fails_that_call_alone() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            for value in [r#"{"running": "s3cret"}"#, r#"{"running": tru}"#] {
                let query = peer.expect("query-status");
                peer.reply(&query, value);
            }
            assert_eq!(peer.serve(), ["stop"]);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        for _ in 0..2 {
            let error = wait!(client.execute(&QueryStatus)).unwrap_err();
            assert!(matches!(error, Error::Decode(_)), "{error:?}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        run(&client, "stop").await.unwrap();
        drop(client);
        script.join();
    });
}

#[test]
fn errors_of_qemu_are_told_by_class_and_it_goes_on() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).start();
        let client = wait!(patient().connect(server.address())).unwrap();
        for (name, arguments, class) in [
            ("no-such-command", json!({}), ErrorClass::CommandNotFound),
            ("device_del", json!({ "id": "nobody" }), ErrorClass::DeviceNotFound),
            ("device_del", json!({ "id": 1 }), ErrorClass::GenericError),
        ] {
            let request = Request::new(name).arguments(arguments);
            let Err(Error::Command(error)) = wait!(client.execute_request(request)) else {
                panic!("{name}")
            };
            assert_eq!(error.class, class);
        }
        assert_eq!(wait!(client.execute(&QueryStatus)).unwrap().status, RunState::Prelaunch);
    });
}

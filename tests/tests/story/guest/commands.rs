//! Typed commands, and many at once.

use std::collections::HashSet;
use std::fs;
use std::time::SystemTime;

use qmp_tests::agent::Agent;

use super::super::qmp::guest_commands::{
    GuestGetHostName, GuestGetOsinfo, GuestGetTime, GuestInfo, GuestIpAddressType,
    GuestNetworkGetInterfaces, GuestPing,
};
use super::super::qmp::{Client, Empty, Error, ErrorClass, Request};
use super::super::runtime::{finish, start, tell};
use super::{connect, echo, is_in_step};

fn kernel(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().to_owned()
}

fn nanoseconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_nanos().try_into().unwrap()
}

#[test]
fn c23_what_an_agent_tells_of_itself() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let Empty {} = wait!(client.execute(&GuestPing)).unwrap();
        is_in_step(&client).await;
        let info = wait!(client.execute(&GuestInfo)).unwrap();
        assert!(info.version.contains('.'), "{}", info.version);
        let unanswered =
            info.supported_commands.iter().filter(|c| c.success_response == Some(false));
        let unanswered: HashSet<_> = unanswered.map(|command| &*command.name).collect();
        assert!(unanswered.contains("guest-shutdown"), "{unanswered:?}");
        let ping = info.supported_commands.iter().find(|command| command.name == "guest-ping");
        let ping = ping.unwrap();
        assert_eq!((ping.enabled, ping.success_response), (true, Some(true)));
    });
}

#[test]
fn c23_what_an_agent_tells_of_its_system() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let system = wait!(client.execute(&GuestGetOsinfo)).unwrap();
        assert_eq!(system.kernel_release, Some(kernel("osrelease")));
        assert_eq!(system.kernel_version, Some(kernel("version")));
        assert_eq!(system.machine.as_deref(), Some(std::env::consts::ARCH));
        let host = wait!(client.execute(&GuestGetHostName)).unwrap();
        assert_eq!(host.host_name, kernel("hostname"));
        let before = nanoseconds();
        let time = wait!(client.execute(&GuestGetTime)).unwrap();
        // The agent's clock has microseconds.
        assert!((before - 1000..=nanoseconds()).contains(&time), "{before} {time}");
        let interfaces = wait!(client.execute(&GuestNetworkGetInterfaces)).unwrap();
        let lo = interfaces.iter().find(|interface| interface.name == "lo").expect("a loopback");
        for address in &lo.ip_addresses {
            let expected = match address.ip_address_type {
                GuestIpAddressType::Ipv4 => ("127.0.0.1", 8),
                GuestIpAddressType::Ipv6 => ("::1", 128),
                _ => panic!("{lo:?}"),
            };
            assert_eq!((&*address.ip_address, address.prefix), expected);
        }
    });
}

#[test]
fn c23_an_agents_error_fails_its_command_alone() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        for (name, class) in [
            ("no-such-command", ErrorClass::CommandNotFound),
            ("qmp_capabilities", ErrorClass::CommandNotFound),
            ("guest-exec-status", ErrorClass::GenericError),
        ] {
            match wait!(client.execute_request(Request::new(name))) {
                Err(Error::Command(error)) => assert_eq!(error.class, class, "{name}"),
                other => panic!("{other:?}"),
            }
            is_in_step(&client).await;
        }
    });
}

const CALLERS: i64 = 8;
const EACH: i64 = 100;

/// What an agent writes piles up where nobody reads, and then it does not read either.
async fn call(client: Client, caller: i64) {
    for number in 0..EACH {
        let id = caller * EACH + number;
        assert_eq!(echo(&client, id).await, Ok(id));
        let info = wait!(client.execute(&GuestInfo)).unwrap();
        assert!(info.supported_commands.len() > 10);
    }
}

#[test]
fn c23_callers_share_an_agent_and_each_gets_its_own_replies() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let callers: Vec<_> = (0..CALLERS).map(|n| start(call(client.clone(), n))).collect();
        for caller in callers {
            finish(caller).await;
        }
    });
}

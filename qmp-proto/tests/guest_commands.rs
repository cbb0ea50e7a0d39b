//! Typed commands of the guest agent: how they are written, and real replies.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use qmp_proto::guest_commands::*;
use qmp_proto::{Command, Empty, Raw};
use serde_json::{Value, json};

/// What a command's reply is read as.
#[track_caller]
fn returned<C: Command>(_: &C, json: &'static str) -> C::Return {
    C::decode(Raw::from_static(json)).unwrap()
}

#[track_caller]
fn written<C: Command>(command: &C, arguments: Value) {
    assert_eq!(serde_json::to_value(command).unwrap(), arguments, "{}", C::NAME);
}

#[test]
fn commands_are_written_as_the_agent_takes_them() {
    written(&GuestPing, Value::Null);
    written(&GuestSyncDelimited { id: -1 }, json!({"id": -1}));
    let plain = GuestExec::new("ls");
    written(&plain, json!({"path": "ls", "capture-output": false}));
    let (env, input_data) = (Some(["A=b"].as_slice()), Some("aGVsbG8="));
    let full = GuestExec { arg: &["-l"], env, input_data, capture_output: true, ..plain };
    let arguments = json!({
        "path": "ls", "arg": ["-l"], "env": ["A=b"], "input-data": "aGVsbG8=", "capture-output": true
    });
    written(&full, arguments);
    written(&GuestShutdown::default(), json!({}));
    let mode = Some(GuestShutdownMode::Reboot);
    written(&GuestShutdown { mode }, json!({"mode": "reboot"}));
    const { assert!(GuestShutdown::NO_REPLY && !GuestPing::NO_REPLY) };
    written(&GuestExecStatus { pid: 7 }, json!({"pid": 7}));
    written(&GuestFileOpen { path: "/a", mode: None }, json!({"path": "/a"}));
    written(&GuestFileOpen { path: "/a", mode: Some("w") }, json!({"path": "/a", "mode": "w"}));
    written(&GuestFileRead { handle: 1, count: None }, json!({"handle": 1}));
    let write = GuestFileWrite { handle: 1, buf_b64: "aGVsbG8=", count: None };
    written(&write, json!({"handle": 1, "buf-b64": "aGVsbG8="}));
    let write = GuestFileWrite { count: Some(2), ..write };
    written(&write, json!({"handle": 1, "buf-b64": "aGVsbG8=", "count": 2}));
    let seek = GuestFileSeek { handle: 1, offset: -2, whence: GuestFileWhence::End };
    written(&seek, json!({"handle": 1, "offset": -2, "whence": "end"}));
}

#[test]
fn replies_of_a_real_agent() {
    assert_eq!(returned(&GuestPing, "{}"), Empty {});
    assert_eq!(returned(&GuestSyncDelimited { id: 123 }, "123"), 123);
    assert_eq!(returned(&GuestGetTime, "1795514990123342000"), 1_795_514_990_123_342_000);
    assert_eq!(returned(&GuestGetHostName, r#"{"host-name": "vm"}"#).host_name, "vm");

    let info = r#"{"version": "7.2.22", "supported_commands": [
        {"enabled": true, "name": "guest-get-cpustats", "success-response": true},
        {"enabled": false, "name": "guest-shutdown", "success-response": false}]}"#;
    let info = returned(&GuestInfo, info);
    assert_eq!(info.version, "7.2.22");
    let [stats, shutdown] = &info.supported_commands[..] else { panic!("{info:?}") };
    assert_eq!((stats.enabled, stats.success_response), (true, Some(true)));
    assert_eq!(shutdown.name, "guest-shutdown");
    assert_eq!((shutdown.enabled, shutdown.success_response), (false, Some(false)));

    let system = r#"{"name": "Debian GNU/Linux", "kernel-release": "6.1.0-18-amd64",
        "version": "12 (bookworm)", "pretty-name": "Debian GNU/Linux 12 (bookworm)",
        "version-id": "12", "kernel-version": "1 SMP PREEMPT_DYNAMIC", "machine": "x86_64",
        "id": "debian"}"#;
    let system = returned(&GuestGetOsinfo, system);
    assert_eq!(system.kernel_release.as_deref(), Some("6.1.0-18-amd64"));
    assert_eq!(system.pretty_name.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!((system.id.as_deref(), system.variant), (Some("debian"), None));
}

#[test]
fn interfaces_with_addresses_and_without() {
    let interfaces = r#"[
        {"name": "lo", "ip-addresses": [
            {"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8},
            {"ip-address-type": "ipv6", "ip-address": "::1", "prefix": 128}],
         "statistics": {"tx-packets": 2, "tx-errs": 0, "rx-bytes": 18446744073709551615,
            "rx-dropped": 0, "rx-packets": 2, "rx-errs": 0, "tx-bytes": 100, "tx-dropped": 0},
         "hardware-address": "00:00:00:00:00:00"},
        {"name": "ifb0", "hardware-address": "76:27:2c:69:b1:bf"},
        {"name": "odd", "ip-addresses": [
            {"ip-address-type": "ipv9", "ip-address": "?", "prefix": 1, "scope": "new"}]}]"#;
    let interfaces = returned(&GuestNetworkGetInterfaces, interfaces);
    let [lo, ifb, odd] = &interfaces[..] else { panic!("{interfaces:?}") };
    let kinds: Vec<_> = lo.ip_addresses.iter().map(|address| &address.ip_address_type).collect();
    assert_eq!(kinds, [&GuestIpAddressType::Ipv4, &GuestIpAddressType::Ipv6]);
    assert_eq!((&*lo.ip_addresses[0].ip_address, lo.ip_addresses[0].prefix), ("127.0.0.1", 8));
    let statistics = lo.statistics.unwrap();
    assert_eq!((statistics.rx_bytes, statistics.tx_bytes), (u64::MAX, 100));
    assert!(ifb.ip_addresses.is_empty() && ifb.statistics.is_none());
    let kind = &odd.ip_addresses[0].ip_address_type;
    assert_eq!(*kind, GuestIpAddressType::Other("ipv9".to_owned()));
    assert_eq!(serde_json::to_value(kind).unwrap(), "ipv9");
}

#[test]
fn how_programs_end() {
    assert_eq!(returned(&GuestExec::new("true"), r#"{"pid": 9217}"#).pid, 9217);
    let query = GuestExecStatus { pid: 9217 };
    let running = returned(&query, r#"{"exited": false}"#);
    assert!(!running.exited && running.exitcode.is_none() && running.out_truncated.is_none());
    let ended = r#"{"exitcode": 3, "err-data": "ZXJyCg==", "out-data": "aGVsbG8=",
        "err-truncated": false, "out-truncated": true, "exited": true}"#;
    let ended = returned(&query, ended);
    assert_eq!((ended.exited, ended.exitcode, ended.signal), (true, Some(3), None));
    assert_eq!((ended.out_data.as_deref(), ended.out_truncated), (Some("aGVsbG8="), Some(true)));
    assert_eq!((ended.err_data.as_deref(), ended.err_truncated), (Some("ZXJyCg=="), Some(false)));
    let killed = r#"{"out-data": "YmFyCjIK", "signal": 9, "out-truncated": false, "exited": true}"#;
    let killed = returned(&query, killed);
    assert_eq!((killed.exitcode, killed.signal, killed.err_data), (None, Some(9), None));
}

#[test]
fn files_are_opened_read_and_written() {
    let open = GuestFileOpen { path: "/etc/hostname", mode: None };
    assert_eq!(returned(&open, "1000"), 1000);
    let read = GuestFileRead { handle: 1000, count: None };
    let piece = returned(&read, r#"{"count": 4, "buf-b64": "bG9oZQ==", "eof": true}"#);
    assert_eq!((piece.count, &*piece.buf_b64, piece.eof), (4, "bG9oZQ==", true));
    let write = GuestFileWrite { handle: 1000, buf_b64: "", count: None };
    let wrote = returned(&write, r#"{"count": 5, "eof": false}"#);
    assert_eq!((wrote.count, wrote.eof), (5, false));
    let seek = GuestFileSeek { handle: 1000, offset: 0, whence: GuestFileWhence::Set };
    let stands = returned(&seek, r#"{"eof": false, "position": 12}"#);
    assert_eq!((stands.position, stands.eof), (12, false));
    assert_eq!(returned(&GuestFileFlush { handle: 1000 }, "{}"), Empty {});
    assert_eq!(returned(&GuestFileClose { handle: 1000 }, "{}"), Empty {});
}

#[test]
fn c5_of_old_agents_and_of_new_ones() {
    let old =
        r#"{"version": "1.2", "supported_commands": [{"enabled": true, "name": "guest-ping"}]}"#;
    assert_eq!(returned(&GuestInfo, old).supported_commands[0].success_response, None);
    assert!(returned(&GuestInfo, r#"{"version": "0"}"#).supported_commands.is_empty());
    assert_eq!(returned(&GuestGetOsinfo, r#"{"new": [1]}"#), GuestOsInfo::default());
    let new = r#"{"exited": true, "exitcode": -1073741819, "core-dumped": {"new": true}}"#;
    assert_eq!(returned(&GuestExecStatus { pid: 1 }, new).exitcode, Some(-1_073_741_819));
}

#[test]
fn c22_arguments_and_output_are_not_shown() {
    let exec = GuestExec { arg: &["hunter2"], input_data: Some("hunter2"), ..GuestExec::new("su") };
    let status =
        returned(&GuestExecStatus { pid: 1 }, r#"{"exited": true, "out-data": "hunter2"}"#);
    let write = GuestFileWrite { handle: 1, buf_b64: "hunter2", count: None };
    let read = GuestFileRead { handle: 1, count: None };
    let read = returned(&read, r#"{"count": 5, "buf-b64": "hunter2", "eof": true}"#);
    for shown in [format!("{exec:?}"), format!("{status:?}"), format!("{write:?}{read:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

// A server for the examples in the documentation, which include this file: the embedded machine, which
// runs, with a few commands more.
fn server() -> std::os::unix::net::UnixStream {
    use qmp_blocking::Empty;
    use qmp_blocking::commands::{DeviceDel, QueryName, QueryStatus, RunState};
    use qmp_blocking::{Command, TypedEvent, events::DeviceDeleted};
    use serde_json::json;

    let mut machine = qmp_server::Machine::new();
    machine.on(QueryStatus::NAME, |_, _| Ok(json!({"status": RunState::Running, "running": true})));
    machine.on(QueryName::NAME, |_, _| Ok(json!({"name": "demo"})));
    machine.on("eject", |_, _| Ok(Empty {}));
    machine.on(DeviceDel::NAME, |vm, _| {
        let data = json!({"device": "net0", "path": "/machine/net0"});
        vm.event(DeviceDeleted::NAME, Some(&data));
        Ok(Empty {})
    });
    machine.on("stop", |vm, _| {
        vm.event::<Empty>("STOP", None);
        Ok(Empty {})
    });
    qmp_server::net::connect_machine(machine).unwrap()
}

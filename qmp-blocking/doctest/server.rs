// A server for the examples in the documentation, which include this file: it greets, answers a few
// commands as QEMU does, and says STOP and SHUTDOWN.
fn server() -> std::os::unix::net::UnixStream {
    let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::spawn(move || serve(server));
    client
}

fn serve(mut stream: std::os::unix::net::UnixStream) {
    use serde_json::{Value, json};
    use std::io::Write;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7},
        "package": ""}, "capabilities": ["oob"]}}"#;
    stream.write_all(GREETING.as_bytes()).unwrap();
    let input = stream.try_clone().unwrap();
    for command in serde_json::Deserializer::from_reader(input).into_iter::<Value>() {
        let Ok(command) = command else { return };
        let event = |name: &str| {
            json!({"event": name, "timestamp": {"seconds": 1, "microseconds": 0}, "data": {
                "guest": false, "reason": "host-qmp-quit", "device": "net0", "path": "/machine/net0"
            }})
        };
        let name = command["execute"].as_str().unwrap_or("exec-oob");
        let (events, outcome) = match name {
            "query-status" => (vec![], json!({"status": "running", "running": true})),
            "query-name" => (vec![], json!({"name": "demo"})),
            "stop" => (vec![event("STOP")], json!({})),
            "device_del" => (vec![event("DEVICE_DELETED")], json!({})),
            "quit" => (vec![event("SHUTDOWN")], json!({})),
            _ => (vec![], json!({})),
        };
        let reply = json!({"return": outcome, "id": command["id"]});
        for message in events.iter().chain([&reply]) {
            let _ = stream.write_all(format!("{message}\r\n").as_bytes());
        }
        if name == "quit" {
            return;
        }
    }
}

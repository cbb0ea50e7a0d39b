use super::*;

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

fn named(name: &str) -> Address {
    Address::Abstract(name.into())
}

fn padded(name: &str) -> Address {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(107, 0);
    Address::Abstract(bytes)
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.into(), port }
}

fn pipe(path: &str) -> Address {
    Address::Pipe(path.into())
}

fn terminal(path: &str) -> Address {
    Address::Terminal(path.into())
}

/// What is read, as what, and how that is written.
fn table() -> Vec<(&'static str, Address, &'static str)> {
    vec![
        ("unix:/run/q", unix("/run/q"), "unix:/run/q"),
        ("unix:q", unix("q"), "unix:q"),
        ("unix:/run/q,server=on,wait=off", unix("/run/q"), "unix:/run/q"),
        ("unix:/run/q,server,nowait,", unix("/run/q"), "unix:/run/q"),
        ("unix:/a,,b,server", unix("/a,b"), "unix:/a,,b"),
        ("unix:/a,,,server", unix("/a,"), "unix:/a,,"),
        ("unix:,,", unix(","), "unix:,,"),
        ("unix:/a=b,server", unix("/a=b"), "unix:path=/a=b"),
        ("unix:path=a=b", unix("a=b"), "unix:path=a=b"),
        ("unix:server=on,path=/z", unix("/z"), "unix:/z"),
        ("unix:/y,path=/z", unix("/z"), "unix:/z"),
        ("unix:@q", unix("@q"), "unix:@q"),
        ("unix:@q,abstract=on", named("@q"), "unix:@q,abstract=on"),
        ("unix:q,abstract", named("q"), "unix:q,abstract=on"),
        ("unix:q,abstract=yes,tight=on", named("q"), "unix:q,abstract=on"),
        ("unix:q,abstract=on,tight=off", padded("q"), "unix:q,abstract=on,tight=off"),
        ("unix:q,abstract=on,notight", padded("q"), "unix:q,abstract=on,tight=off"),
        ("unix:q,abstract=off,tight=off", unix("q"), "unix:q"),
        ("unix:/q,telnet=off,notls,websocket=n", unix("/q"), "unix:/q"),
        ("tcp:localhost:4444", tcp("localhost", 4444), "tcp:localhost:4444"),
        ("tcp::4444,server=on", tcp("", 4444), "tcp::4444"),
        ("tcp:[::1]:4444,server,nowait,nodelay,ipv6", tcp("::1", 4444), "tcp:[::1]:4444"),
        ("tcp:[fe80::1%eth0]:1", tcp("fe80::1%eth0", 1), "tcp:[fe80::1%eth0]:1"),
        ("tcp:[h]:65535", tcp("h", 65535), "tcp:h:65535"),
        ("tcp:h:1,port=2", tcp("h", 2), "tcp:h:2"),
        ("pipe:/tmp/p", pipe("/tmp/p"), "pipe:/tmp/p"),
        ("pipe:/tmp/p,,q,r=s", pipe("/tmp/p,,q,r=s"), "pipe:/tmp/p,,q,r=s"),
        ("pty:/dev/pts/3", terminal("/dev/pts/3"), "pty:/dev/pts/3"),
        ("serial,id=s,path=/dev/ttyS0", terminal("/dev/ttyS0"), "pty:/dev/ttyS0"),
        ("tty,path=/dev/a,,b", terminal("/dev/a,b"), "pty:/dev/a,b"),
        ("fd:0", Address::Fd(0), "fd:0"),
        ("fd:2147483647,nodelay", Address::Fd(2_147_483_647), "fd:2147483647"),
        ("stdio", Address::Stdio, "stdio"),
        ("stdio,id=q,signal=off", Address::Stdio, "stdio"),
        ("/run/q,server", unix("/run/q,server"), "unix:/run/q,,server"),
        ("socket,id=q,path=/run/a,,b,server=on", unix("/run/a,b"), "unix:/run/a,,b"),
        ("socket,path=q,abstract=on", named("q"), "unix:q,abstract=on"),
        ("socket,host=h,port=5,id=q", tcp("h", 5), "tcp:h:5"),
        ("socket,host=::1,port=5", tcp("::1", 5), "tcp:[::1]:5"),
        ("socket,host=,port=5", tcp("", 5), "tcp::5"),
        ("socket,fd=7", Address::Fd(7), "fd:7"),
        ("pipe,id=p,path=/a,,b", pipe("/a,b"), "pipe:/a,b"),
    ]
}

#[test]
fn what_qemu_takes_is_read_and_written() {
    for (text, address, written) in table() {
        assert_eq!(text.parse(), Ok(address.clone()), "{text}");
        assert_eq!(address.to_string(), written, "{text}");
        assert_eq!(written.parse(), Ok(address), "{written}");
    }
}

#[test]
fn what_is_written_reads_back() {
    let awkward =
        ["=", "a=b", "path=x", ",", ",,", "a,b=c", "[", "[x", "]:", "a]:b", ":", "a:b", "é ", "\0"];
    for text in awkward {
        for address in [unix(text), named(text), padded(text), tcp(text, 0), pipe(text)] {
            let written = address.to_string();
            assert_eq!(written.parse(), Ok(address), "{written}");
        }
    }
    let zeros = "\0".repeat(107);
    for name in ["n".repeat(107), "n".repeat(106) + "\0", "n".to_owned() + &zeros, zeros] {
        assert_eq!(named(&name).to_string().parse(), Ok(named(&name)));
    }
}

#[test]
fn errors_say_what_was_expected_and_where() {
    use AddressProblem::*;
    let cases = [
        ("", 0, Kind),
        ("unix", 0, Kind),
        ("Unix:/q", 0, Kind),
        ("q.sock", 0, Kind),
        ("udp:h:1", 0, Kind),
        ("mon:stdio", 0, Kind),
        ("stdio:", 0, Kind),
        ("socket", 0, Kind),
        ("é:", 0, Kind),
        ("unix:", 5, Path),
        ("unix:,server", 5, Path),
        ("unix:path=", 10, Path),
        ("unix:q,fd=3", 5, Target),
        ("unix:/q,abstract=maybe", 17, Switch("abstract")),
        ("unix:/q,telnet=", 15, Switch("telnet")),
        ("unix:/q,server=on,telnet=on", 18, NotPlain("telnet")),
        ("unix:/q,tn3270", 8, NotPlain("tn3270")),
        ("telnet:h:1", 0, NotPlain("telnet")),
        ("websocket:h:1", 0, NotPlain("websocket")),
        ("tcp:h:1,websocket=on", 8, NotPlain("websocket")),
        ("tcp:h:1,websocket", 8, NotPlain("websocket")),
        ("socket,tls-creds=t,host=h,port=1", 7, NotPlain("tls-creds")),
        ("tcp:", 4, HostAndPort),
        ("tcp:h", 4, HostAndPort),
        ("tcp:::1:4444", 4, HostAndPort),
        ("tcp:[::1]", 4, HostAndPort),
        ("tcp:[::1:4444", 4, HostAndPort),
        ("tcp:h:", 6, Port),
        ("tcp:h:http", 6, Port),
        ("tcp:h:+1", 6, Port),
        ("tcp:[::1]:65536", 10, Port),
        ("tcp:a,,b:65536", 9, Port),
        ("socket,host=h", 7, Port),
        ("socket,port=1", 7, Target),
        ("socket,id=q", 7, Target),
        ("socket,path=/q,host=h,port=1", 7, Target),
        ("fd:", 3, Descriptor),
        ("fd:-1", 3, Descriptor),
        ("fd:2147483648", 3, Descriptor),
        ("socket,fd=monitor", 10, Descriptor),
        ("pipe:", 5, Path),
        ("pipe,id=p", 5, Path),
        ("pty:", 4, Path),
        ("pty", 0, Kind),
        ("serial,id=s", 7, Path),
    ];
    for (text, offset, problem) in cases {
        assert_eq!(text.parse::<Address>(), Err(AddressError::new(offset, problem)), "{text}");
    }
}

#[test]
fn errors_texts() {
    let text = |text: &str| text.parse::<Address>().unwrap_err().to_string();
    assert_eq!(
        text("vm1"),
        "no address of a monitor: at byte 0, expected unix:PATH, tcp:HOST:PORT, pipe:PATH, \
         pty:PATH, fd:N, stdio, the options of a chardev (socket,path=PATH), or a path that begins with '/'"
    );
    assert_eq!(
        text("unix:/q,server=on,telnet=on"),
        "no address of a monitor: at byte 18, telnet puts telnet's control bytes around QMP, which \
         must be plain here: leave it out on both sides"
    );
    assert!(text("tcp:h:1,tls-creds=t").contains("tls-creds puts TLS around QMP"));
    assert!(text("websocket:h:1").contains("websocket puts WebSocket frames around QMP"));
    assert!(
        text("tcp:::1:4").ends_with("expected HOST:PORT, an IPv6 address in brackets: [::1]:4444")
    );
    assert!(text("tcp:h:x").ends_with("at byte 6, expected the number of a port, 0 to 65535"));
    assert!(text("fd:x").ends_with("expected the number of a descriptor, 0 to 2147483647"));
    assert!(text("socket,id=q").ends_with("expected exactly one of path=, host= and fd="));
    assert!(text("unix:q,abstract=1").ends_with("at byte 16, expected abstract to be on or off"));
    assert!(text("pipe:").ends_with("at byte 5, expected a path"));
}

#[test]
fn no_text_panics() {
    let parts = [
        "unix", "tcp", "fd", "socket", "pipe", "pty", "serial", ":", ",", "=", "[", "]", "é",
        "path", "host", "1",
    ];
    let mut seed = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(parts[(seed >> 33) as usize % parts.len()]);
        }
        match text.parse::<Address>() {
            Ok(address) => assert_eq!(address.to_string().parse(), Ok(address), "{text}"),
            Err(error) => assert!(error.offset() <= text.len(), "{text}"),
        }
    }
}

#[test]
fn a_path_is_a_unix_socket() {
    assert_eq!(Address::from(Path::new("q")), unix("q"));
    assert_eq!(Address::from(PathBuf::from("q")), unix("q"));
}

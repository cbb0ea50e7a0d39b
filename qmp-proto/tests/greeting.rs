//! What a greeting may hold, and how much: C3 and C5.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CloseReason, Config, Greeting, Phase, Violation};

use support::peer::{GREETING, Peer, Told, config, event};

const LIMIT: usize = 64 << 10;

/// A greeting's object with no text in it.
const AROUND: &str = r#"{"capabilities": ["oob"], "new": ""}"#;

/// A greeting whose object is so large.
fn of_size(size: usize) -> String {
    let text = "x".repeat(size - AROUND.len());
    format!(r#"{{"QMP": {{"capabilities": ["oob"], "new": "{text}"}}}}"#)
}

#[test]
fn c3_a_greeting_beyond_64_kib_closes_and_names_the_limit() {
    for chunk in [1, 1000, usize::MAX] {
        let mut peer = Peer::new(Config::default());
        let around = of_size(AROUND.len()).len() - AROUND.len();
        let fitting = of_size(LIMIT - around);
        assert_eq!(fitting.len(), LIMIT);
        fitting.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        peer.accept();
        assert_eq!(peer.told(), [Told::Ready]);

        let mut peer = Peer::new(Config::default());
        let queued = peer.execute("stop");
        of_size(LIMIT + 1).as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        let reason = CloseReason::Violation(Violation::TooLarge { limit: LIMIT });
        assert_eq!(reason, CloseReason::Violation(Violation::TooLarge { limit: 65_536 }));
        assert_eq!(peer.told(), [Told::NotSent(queued), Told::Closed(reason)]);
    }
}

#[test]
fn c3_a_smaller_limit_is_the_greetings_too() {
    let mut peer = Peer::new(config(|config| config.max_message = Some(1000)));
    peer.feed(of_size(1001));
    let reason = CloseReason::Violation(Violation::TooLarge { limit: 1000 });
    assert_eq!(peer.told(), [Told::Closed(reason)]);
}

/// What comes after the greeting may be as large as ever, in the same read and in the next.
#[test]
fn c3_the_greetings_limit_is_the_greetings_alone() {
    let large = format!(r#"{{"event": "LARGE", "data": "{}"}}"#, "x".repeat(3 * LIMIT));
    for chunk in [1, 1000, usize::MAX] {
        let mut peer = Peer::new(Config::default());
        let text = [GREETING, &large, &event("STOP"), &large].concat();
        text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        peer.accept();
        peer.feed(&large);
        let event = |name: &str| Told::Event(name.to_owned());
        let told = [event("LARGE"), event("STOP"), event("LARGE"), Told::Ready, event("LARGE")];
        assert_eq!(peer.told(), told);
    }
}

/// The greeting as it is understood, whole and in pieces.
#[track_caller]
fn understood(text: &str) -> Greeting {
    let mut greeting = None;
    for chunk in [1, 7, usize::MAX] {
        let mut peer = Peer::new(Config::default());
        text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        let phase = peer.connection.phase();
        assert_eq!(phase, Phase::Negotiating, "{text}: {:?}", peer.connection.close_reason());
        peer.accept();
        assert_eq!(peer.told(), [Told::Ready], "{text}");
        greeting = peer.connection.greeting().cloned();
    }
    greeting.unwrap()
}

const VERSION: &str = r#"{"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}"#;

#[track_caller]
fn assert_usual(text: &str) {
    let greeting = understood(text);
    assert_eq!(greeting.capabilities, ["oob"], "{text}");
    let version = greeting.version.expect(text);
    assert_eq!((version.qemu.major, version.qemu.minor, version.qemu.micro), (7, 2, 22), "{text}");
    assert_eq!(version.package, "Debian", "{text}");
}

#[test]
fn c5_whatever_else_a_greeting_holds_does_not_matter() {
    let nested = ["[".repeat(200), "]".repeat(200)].concat();
    let objects = ["{\"a\":".repeat(200), "0".to_owned(), "}".repeat(200)].concat();
    let values = [
        &nested,
        &objects,
        "1e400",
        "-1e400",
        "inf",
        "nan",
        "0e1",
        r#""\ud800""#,
        r#""\udc00x""#,
        r#""\uffff""#,
        r#"["\ud800", {"\ud800": 1}]"#,
        "null",
        "[1, 2.5, true]",
    ];
    let usual = format!(r#""version": {VERSION}, "capabilities": ["oob"]"#);
    for value in values {
        assert_usual(&format!(r#"{{"QMP": {{"new": {value}, {usual}}}}}"#));
        assert_usual(&format!(r#"{{"QMP": {{{usual}, "new": {value}}}}}"#));
        assert_usual(&format!(r#"{{"new": {value}, "QMP": {{{usual}}}, "newer": {value}}}"#));
        let version = VERSION.replacen('{', &format!(r#"{{"new": {value}, "#), 1);
        // At most the version is not readable for that.
        let text = format!(r#"{{"QMP": {{"version": {version}, "capabilities": ["oob"]}}}}"#);
        assert_eq!(understood(&text).capabilities, ["oob"], "{text}");
    }
    for name in [r"\ud800", r"\uffff", "", "\u{1f980}"] {
        assert_usual(&format!(r#"{{"QMP": {{"{name}": 1, {usual}, "{name}": 2}}}}"#));
    }
}

#[test]
fn c5_capabilities_that_are_no_strings_are_passed_over() {
    let nested = ["[".repeat(200), "]".repeat(200)].concat();
    for element in ["1", "null", "1e400", "{\"oob\": 1}", "[\"later\"]", &nested] {
        let text = format!(
            r#"{{"QMP": {{"version": {VERSION}, "capabilities": [{element}, "oob", {element}]}}}}"#
        );
        assert_usual(&text);
    }
    // Half a pair of surrogates is no text.
    let text = r#"{"QMP": {"capabilities": ["\ud800", "oob", "later"]}}"#;
    let capabilities = understood(text).capabilities;
    assert!(capabilities.ends_with(&["oob".to_owned(), "later".to_owned()]), "{capabilities:?}");
}

#[test]
fn c5_a_version_that_is_none_is_left_out() {
    for version in [
        "null",
        "7",
        r#""7.2.22""#,
        "[]",
        "{}",
        r#"{"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": null}"#,
        r#"{"qemu": {"micro": 22, "minor": 2}, "package": ""}"#,
        r#"{"qemu": {"micro": -1, "minor": 2, "major": 7}, "package": ""}"#,
        r#"{"qemu": "7.2.22", "package": ""}"#,
    ] {
        let text = format!(r#"{{"QMP": {{"version": {version}, "capabilities": ["oob"]}}}}"#);
        let greeting = understood(&text);
        assert_eq!((greeting.version, &*greeting.capabilities), (None, &["oob".to_owned()][..]));
    }
}

#[test]
fn c5_of_a_greetings_repeated_members_the_last_counts() {
    let other = r#"{"qemu": {"micro": 0, "minor": 0, "major": 10}, "package": "old"}"#;
    assert_usual(&format!(
        r#"{{"QMP": {{"version": {other}, "capabilities": ["later"], "version": {VERSION},
            "capabilities": ["oob"]}}}}"#
    ));
    assert_usual(&format!(
        r#"{{"QMP": {{"capabilities": 5, "version": 5, "capabilities": ["oob"],
            "\u0076ersion": {VERSION}}}}}"#
    ));
    assert_usual(&format!(
        r#"{{"QMP": 5, "QMP": {{"version": {VERSION}, "capabilities": ["oob"]}}}}"#
    ));
}

#[test]
fn c5_of_a_versions_repeated_members_the_last_counts() {
    assert_usual(
        r#"{"QMP": {"version": {"qemu": {"major": 1, "micro": 22, "minor": 2, "major": 7},
            "package": "old", "package": "Debian"}, "capabilities": ["oob"]}}"#,
    );
}

//! The recorded sessions of real servers.
#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeSet;
use std::fs;

#[test]
fn the_index_knows_each_capture_and_its_size() {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(support::CAPTURES).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".bin").or_else(|| file.strip_suffix(".bin.gz"));
        files.extend(name.map(str::to_owned));
    }
    let index = support::index();
    assert_eq!(files, index.keys().cloned().collect());

    for capture in support::captures() {
        assert_eq!(capture.bytes.len(), index[&capture.name].bytes, "{}", capture.name);
    }
}

#[test]
fn a_capture_is_found_by_its_name() {
    let capture = support::capture("greeting-qemu7");
    assert_eq!(capture.name, "greeting-qemu7");
    assert!(capture.bytes.starts_with(br#"{"QMP": "#));
    assert_eq!(capture.counts["greeting"], 1);
}

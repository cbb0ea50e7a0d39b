//! Addresses read back as they were written.

use qmp_client::address::Address;

/// The text is an address, or it is the path, name or host of several.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Address>() {
        Ok(address) => read_back(&address),
        Err(error) => assert!(text.is_char_boundary(error.offset()), "{error}"),
    }
    let port = data.iter().fold(0u16, |port, byte| port.rotate_left(3) ^ u16::from(*byte));
    read_back(&Address::Tcp { host: text.to_owned(), port });
    if !text.is_empty() {
        read_back(&Address::Unix(text.into()));
        read_back(&Address::Pipe(text.into()));
        read_back(&Address::Abstract(data.to_vec()));
        read_back(&Address::Abstract(padded(data)));
    }
}

fn read_back(address: &Address) {
    let written = address.to_string();
    assert_eq!(written.parse().as_ref(), Ok(address), "{written}");
}

/// The abstract name as the kernel has it without `tight`: filled up with zero bytes.
fn padded(name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    name.resize(name.len().max(107), 0);
    name
}

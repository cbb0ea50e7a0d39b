//! Makes modules of README's Rust blocks, for `tests/readme.rs`.

#[allow(unreachable_pub, reason = "it is the tests' module")]
#[path = "src/readme.rs"]
mod readme;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/readme.rs");
    println!("cargo:rerun-if-changed=../README.md");
    let blocks = readme::blocks(&fs::read_to_string("../README.md")?);
    let rust = blocks.iter().filter(|block| block.language == "rust");
    let modules = (1..)
        .zip(rust)
        .map(|(number, block)| format!("pub mod block{number} {{\n{}}}\n", callable(&block.text)));
    let out = env::var_os("OUT_DIR").ok_or("it is run by cargo")?;
    fs::write(Path::new(&out).join("readme.rs"), modules.collect::<String>())?;
    Ok(())
}

/// The block with public functions, and with addresses from the test.
fn callable(text: &str) -> String {
    let public = |line: &str| match line.starts_with("fn ") {
        true => format!("pub {line}\n"),
        false => format!("{line}\n"),
    };
    let mut text: String = text.lines().map(public).collect();
    for address in ["unix:/tmp/vm.sock", "unix:/tmp/guest-agent.sock", "tcp:localhost:4444"] {
        let literal = format!("\"{address}\"");
        text = text.replace(&literal, &format!("&*crate::address({literal})"));
    }
    text
}

//! Builds only while neither qmp-proto nor any crate under it links std, on any target.
//!
//! std has a panic handler, and a crate graph may have one: with std in the graph, the one below is
//! a duplicate lang item and the build fails.
#![no_std]
#![forbid(unsafe_code)]

// Unless it is named, the compiler does not load it.
use qmp_proto as _;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

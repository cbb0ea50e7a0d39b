//! Builds only while none of qmp-proto, qmp-server and the crates under them links std, on any target.
//!
//! std has a panic handler, and a crate graph may have one: with std in the graph, the one below is
//! a duplicate lang item and the build fails.
#![no_std]
#![forbid(unsafe_code)]

// Unless they are named, the compiler does not load them.
use qmp_proto as _;
use qmp_server as _;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

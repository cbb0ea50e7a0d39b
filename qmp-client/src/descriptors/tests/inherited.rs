use rustix::io::FdFlags;

use super::*;

#[test]
fn the_standard_descriptors_can_be_had() {
    for number in 0..3 {
        let copy = duplicate_inherited(number).unwrap();
        assert!(rustix::io::fcntl_getfd(&copy).unwrap().contains(FdFlags::CLOEXEC));
    }
}

/// By number, which Linux alone can do.
#[cfg(target_os = "linux")]
mod numbered {
    use std::os::fd::AsRawFd;

    use rustix::io::Errno;

    use super::*;

    /// `None`, said aloud, where a sandbox forbids what is tested.
    fn duplicate_if_allowed(fd: u32) -> Option<io::Result<OwnedFd>> {
        let outcome = duplicate_inherited(fd);
        let error = outcome.as_ref().err().and_then(Errno::from_io_error);
        if matches!(error, Some(Errno::PERM | Errno::NOSYS)) {
            eprintln!("LEFT OUT: pidfd_getfd is forbidden here");
            return None;
        }
        Some(outcome)
    }

    #[test]
    fn an_inherited_descriptor_is_had_by_its_number() {
        let (stream, mut peer) = witnessed();
        let number = stream.as_raw_fd();
        let Some(copy) = duplicate_if_allowed(u32::try_from(number).unwrap()) else {
            return;
        };
        let copy = copy.unwrap();
        assert_ne!(copy.as_raw_fd(), number);
        assert!(rustix::io::fcntl_getfd(&copy).unwrap().contains(FdFlags::CLOEXEC));
        drop(stream);
        UnixStream::from(copy).write_all(b"!").unwrap();
        peer.read_exact(&mut [0]).unwrap();
        assert_all_closed(peer);
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error() {
        for number in [i32::MAX as u32, u32::MAX] {
            let Some(outcome) = duplicate_if_allowed(number) else {
                return;
            };
            let error = outcome.unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(Errno::BADF), "{number}");
        }
    }
}

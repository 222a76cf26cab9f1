//! Exit codes that tell scripts and service managers what went wrong (`sysexits.h`).

/// The command was used wrongly.
pub const USAGE: u8 = 64;
/// The input is not what it should be.
pub const DATA_ERROR: u8 = 65;
/// An input does not exist or cannot be read.
pub const NO_INPUT: u8 = 66;
/// A host name that is not known.
pub const NO_HOST: u8 = 68;
/// Something that was needed is not there: a service, a program.
pub const UNAVAILABLE: u8 = 69;
/// A defect of this program.
pub const SOFTWARE: u8 = 70;
/// The operating system refused something.
pub const OS_ERROR: u8 = 71;
/// Reading or writing failed midway.
pub const IO_ERROR: u8 = 74;
/// Not permitted.
pub const NO_PERMISSION: u8 = 77;
/// The configuration cannot be used; the service manager does not try again.
pub const CONFIG: u8 = 78;
/// Ended by SIGINT, as a shell reports it.
pub const INTERRUPTED: u8 = 130;

//! `callscribe service`: runs the local short-stream service until it is told to stop.

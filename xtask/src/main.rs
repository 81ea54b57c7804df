//! The command line of schedlab.

mod error;
mod kernel;
mod paths;
mod progress;

fn main() {}

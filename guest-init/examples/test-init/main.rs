//! An init of one's own: guest-init with work functions linked in, which break things, look on, or
//! run what they are given. The VM tests boot it with `--init`; one program, as each costs a minute
//! to link.

mod faulty;
mod many;
mod observer;

use workloads::register;

fn main() {
    for functions in [faulty::FUNCTIONS, many::FUNCTIONS, observer::FUNCTIONS] {
        for (name, function) in functions {
            register(*name, *function);
        }
    }
    faulty::prepare();
    guest_init::boot()
}

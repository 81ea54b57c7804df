//! PID 1 of the guest. Everything is in the library, so that users can link their own.

fn main() {
    guest_init::boot()
}

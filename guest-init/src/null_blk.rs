//! The disk of a guest that must hear nothing from the host: null_blk, which keeps its blocks in
//! memory and completes a request by a timer. Called by `storage`.

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::fs::{create_dir, write};
use std::path::Path;

const CONFIGFS: &str = "/sys/kernel/config";
/// Since Linux 6.0 the device has the name of its folder.
const NAME: &str = "vda";
/// What kernels before that call the first one.
const OLD_NAME: &str = "nullb0";

/// An attribute and its value; the size is the user's.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("memory_backed", "1"),
    // A timer completes the request, 100 us after it came in.
    ("irqmode", "2"),
    ("completion_nsec", "100000"),
    // A write cache, so that a flush is a request too.
    ("cache_size", "1"),
    // blk-mq, as all real drivers.
    ("queue_mode", "2"),
];

/// Makes a device of `mib` MiB and returns its name, or says why there is none.
pub(crate) fn create(mib: &str) -> Result<&'static str, String> {
    let drivers = Path::new(CONFIGFS).join("nullb");
    if !drivers.is_dir() {
        match mount("configfs", CONFIGFS, "configfs", MountFlags::empty(), c"") {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => return Err(format!("mount(configfs) failed: {errno}")),
        }
    }
    let device = drivers.join(NAME);
    create_dir(&device).map_err(|e| format!("mkdir({}) failed: {e}", device.display()))?;
    let set = |name: &str, value: &str| {
        write(device.join(name), value).map_err(|e| format!("{name}={value} was refused: {e}"))
    };
    set("size", mib)?;
    ATTRIBUTES.iter().try_for_each(|(name, value)| set(name, value))?;
    set("power", "1")?;
    let exists = |name: &&str| Path::new("/sys/block").join(name).exists();
    [NAME, OLD_NAME].into_iter().find(exists).ok_or_else(|| "it made no device".into())
}

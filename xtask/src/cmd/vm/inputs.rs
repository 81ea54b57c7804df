//! All that a run depends on, as one hash. Called by `hunt` and `matrix`, whose results hold for
//! the same inputs only.

use crate::cli::VmArgs;
use crate::files::sha256;
use crate::run::{BootPlan, resolved};
use anyhow::Result;

/// `under` is the accelerator and the CPU, where these are no matter of the arguments.
pub(in crate::cmd) fn inputs(
    args: &VmArgs,
    plan: &BootPlan,
    qemu: &str,
    under: Option<(&str, &str)>,
) -> Result<String> {
    let (kernel, image) = (&plan.kernel.sha256, &plan.image.sha256);
    let scenario = resolved(&plan.scenario)?;
    let machine = (&plan.layout, &plan.disk, &plan.cpu_model, plan.icount_shift());
    let allowed: Vec<_> = args.guest.allow_splat.iter().map(|regex| regex.as_str()).collect();
    let console = (&plan.kernel_args, allowed);
    let all = format!("{qemu}\n{kernel}\n{image}\n{scenario}\n{machine:?}\n{console:?}");
    let under = under.map(|(accel, cpu)| format!("\n{accel} {cpu}")).unwrap_or_default();
    Ok(sha256((all + &under).as_bytes()))
}

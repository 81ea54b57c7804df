//! The guest that a scenario needs. `workloads` knows nothing of virtual machines: this is text
//! for whoever makes one, in the form of its command line.

use crate::config::ConfigError;
use serde::{Deserialize, Serialize};

/// Defaults for the options of `xtask vm` with these names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// `--machine`: a ready one by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// `--cpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u16>,
    /// `--topology`, as `1s2c2t`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// `--numa`, as `2` or `0-1:512M,-:256M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<String>,
    /// `--numa-distance`, as `21`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_distance: Option<String>,
    /// `--memory`, as `1G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// `--kernel-arg`: arguments of the kernel, as `preempt=lazy`, before those of the command line.
    /// Of two with the same name most kernels take the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
}

impl Machine {
    /// Whether any will do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.cpus.is_some() && self.topology.is_some() {
            let why =
                "does nothing: `topology` says how many CPUs there are; leave one of them out";
            return Err(ConfigError::new("cpus", why));
        }
        for (at, arg) in self.kernel_args.iter().enumerate() {
            if arg.trim().is_empty() || !arg.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                let why = format!("is {arg:?}; a kernel argument is text, as `preempt=lazy`");
                return Err(ConfigError::new(format!("kernel_args[{at}]"), why));
            }
        }
        Ok(())
    }
}

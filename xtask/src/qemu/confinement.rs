//! What a QEMU that runs a stranger's kernel keeps of its user's rights, should the guest break out
//! of it: it reads what the user may read, and writes into its run folder. Called by
//! `cmd::bundle::replay`; `sys` puts it into force between fork and exec.

use crate::error::Refusal;
use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitiesSecureBits, clear_ambient_capability_set, set_capabilities_secure_bits,
};
use std::io;
use std::path::Path;

/// Linux 6.12: files, devices, TCP, signals. Older kernels keep what they know of it.
const RULES: ABI = ABI::V6;

/// What QEMU, or a script in its place, writes to all the same.
const DEVICES: [&str; 2] = ["/dev/kvm", "/dev/null"];

/// Rules of Landlock (landlock(7)), and no capabilities, which root has after an exec otherwise.
#[derive(Debug)]
pub(crate) struct Confinement {
    rules: RulesetCreated,
}

/// What a thread is kept from.
pub(crate) struct Kept {
    from_files: RulesetStatus,
    from_capabilities: bool,
}

impl Confinement {
    /// To `folder`, and to `port` if a debugger is to find QEMU there.
    pub(crate) fn to(folder: &Path, port: Option<u16>) -> Result<Self> {
        let rules = || -> Result<_> {
            let write = AccessFs::from_write(RULES);
            let mut rules = Ruleset::default()
                .handle_access(write)?
                .handle_access(AccessNet::from_all(RULES))?
                .scope(Scope::from_all(RULES))?
                .create()?
                .add_rule(PathBeneath::new(PathFd::new(folder)?, write))?;
            for device in DEVICES.into_iter().filter_map(|path| PathFd::new(path).ok()) {
                let rule = PathBeneath::new(device, write & AccessFs::from_file(RULES));
                rules = rules.add_rule(rule)?;
            }
            Ok(match port {
                Some(port) => rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?,
                None => rules,
            })
        };
        let failed = || format!("landlock_create_ruleset(`{}`) failed", folder.display());
        Ok(Self { rules: rules().with_context(failed)? })
    }

    /// For another QEMU of the same guest.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let rules = self.rules.try_clone().context("dup(Landlock's rules) failed")?;
        Ok(Self { rules })
    }

    /// What this host does not keep from QEMU; tried by a thread that ends with it.
    pub(crate) fn gaps(&self) -> Result<Vec<&'static str>> {
        let tried = std::thread::scope(|scope| scope.spawn(|| self.enter()).join());
        let tried = tried.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        let fix = "see whether a sandbox of yours denies it";
        let kept = tried.context(Refusal::host("landlock_restrict_self failed", fix))?;
        let files = match kept.from_files {
            RulesetStatus::FullyEnforced => None,
            RulesetStatus::PartiallyEnforced => Some(
                "Landlock of this host is older than Linux 6.12: a guest that breaks out of QEMU \
                 cannot write your files, but maybe truncate them, connect, or send signals",
            ),
            RulesetStatus::NotEnforced => Some(
                "this host has no Landlock: a guest that breaks out of QEMU may write what you may",
            ),
        };
        let capabilities = (!kept.from_capabilities).then_some(
            "QEMU keeps the capabilities of root, as CAP_SETPCAP is missing: better not be root",
        );
        Ok(files.into_iter().chain(capabilities).collect())
    }

    /// Puts the calling thread under it for good. System calls alone: nothing is allocated.
    pub(crate) fn enter(&self) -> io::Result<Kept> {
        let from_capabilities = lose_capabilities().is_ok();
        let status = self.rules.try_clone()?.restrict_self();
        // Its own error would be boxed.
        let status = status.map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
        Ok(Kept { from_files: status.ruleset, from_capabilities })
    }
}

/// Of root and of others, from the next exec on (capabilities(7)).
fn lose_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    if geteuid().is_root() {
        let for_good = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        set_capabilities_secure_bits(for_good)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::die_with_parent;
    use std::process::Command;

    #[test]
    fn a_confined_program_writes_to_its_folder_alone_and_has_no_capabilities() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let confinement = Confinement::to(inside.path(), None).unwrap();
        // A host that cannot do it says so, which is all that can be asked of it.
        let is_whole = confinement.gaps().unwrap().is_empty();
        let script = "exec 2>&1; (: > \"$0/new\"); (: > \"$1/new\"); (: > \"$1/old\"); kill -0 $PPID; \
            grep -e ^CapEff -e ^NoNewPrivs /proc/self/status 2> /dev/null";
        std::fs::write(outside.path().join("old"), "kept").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(inside.path()).arg(outside.path());
        let output = die_with_parent(&mut command, None, Some(confinement), &[]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(inside.path().join("new").exists(), "{said}");
        assert!(said.contains("NoNewPrivs:\t1"), "{said}");
        if is_whole {
            assert!(!outside.path().join("new").exists(), "{said}");
            assert_eq!(std::fs::read_to_string(outside.path().join("old")).unwrap(), "kept");
            assert!(said.contains("CapEff:\t0000000000000000"), "{said}");
            assert!(said.contains("not permitted"), "it may send signals: {said}");
        }
    }
}

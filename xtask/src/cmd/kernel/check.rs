//! `kernel check`: what is needed of a kernel and what it has. `vm` refuses by the same table.

use crate::error::{Refusal, exit};
use crate::kernel::{self, Finding, Has, Kernel};
use crate::paths::Paths;
use crate::progress::{Progress, json_to_stdout, to_stdout};
use crate::report::new_table;
use anyhow::Result;
use serde::Serialize;
use std::io::Write;

/// `kernel check --json`.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    spec: &'a str,
    release: &'a str,
    version: &'a str,
    image: String,
    sha256: &'a str,
    features: Vec<&'static str>,
    package: Option<&'a str>,
    configuration: Option<&'a str>,
    modules: Option<String>,
    system_map: Option<String>,
    /// Type information; none if the configuration is not known.
    btf: Option<bool>,
    boots: bool,
    needs: &'a [Finding],
}

pub(super) fn check(spec: &str, json: bool, paths: &Paths) -> Result<u8> {
    let progress = Progress::new();
    let kernel = kernel::resolve(spec, paths, &progress)?;
    drop(progress);
    let needs = kernel.findings();
    let boots = !needs.iter().any(Finding::is_fatal);
    let checked = Checked {
        spec: &kernel.spec,
        release: &kernel.release,
        version: &kernel.version,
        image: kernel.image.display().to_string(),
        sha256: &kernel.sha256,
        features: kernel.features(),
        package: kernel.package.as_deref(),
        configuration: kernel.config.as_ref().map(|config| config.origin.as_str()),
        modules: kernel.modules.as_ref().map(|path| path.display().to_string()),
        system_map: kernel.symbols.as_ref().map(|path| path.display().to_string()),
        btf: kernel.has_btf(),
        boots,
        needs: &needs,
    };
    match json {
        true => json_to_stdout(&checked)?,
        false => to_stdout(|out| checked.print(out))?,
    }
    Ok(if boots { exit::PASS } else { exit::BAD_INPUT })
}

impl Checked<'_> {
    fn print(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}: Linux {} {}", self.spec, self.release, self.version)?;
        writeln!(out, "  image: {}, sha256 {}", self.image, self.sha256)?;
        writeln!(out, "  scheduler: {}", self.features.join(", "))?;
        for (what, is) in [
            ("package", self.package),
            ("configuration", self.configuration),
            ("modules", self.modules.as_deref()),
            ("System.map", self.system_map.as_deref()),
            ("type information", self.btf.filter(|has| *has).map(|_| "BTF")),
        ] {
            writeln!(out, "  {what}: {}", is.unwrap_or("none found"))?;
        }
        let mut table = new_table(&["needed by", "option", "this kernel", "without it"]);
        for need in self.needs {
            let options = need.options.join(" or ");
            table.add_row([need.by, &options, shown(need.has), need.without]);
        }
        writeln!(out, "\n{table}\n\n{}", self.verdict())?;
        Ok(())
    }

    fn verdict(&self) -> String {
        let lacking = self.needs.iter().filter(|need| need.has == Has::No).count();
        match (self.configuration, self.boots, lacking) {
            (None, ..) => "Nothing is known of its options: a guest will show.".to_owned(),
            (_, false, _) => "Our guest cannot boot on it: see the lines of `guest`.".to_owned(),
            (_, true, 0) => "Guests boot on it, and nothing is skipped.".to_owned(),
            (_, true, n) => format!("Guests boot on it; {n} of these needs are not met."),
        }
    }
}

fn shown(has: Has) -> &'static str {
    match has {
        Has::BuiltIn => "built in",
        Has::Module => "module",
        Has::No => "no",
        Has::Unknown => "unknown",
    }
}

/// Refuses what would hang or panic at boot, by the option that it lacks.
pub(in crate::cmd) fn refuse_unfit(kernel: &Kernel) -> Result<()> {
    let findings = kernel.findings();
    let fatal: Vec<_> = findings.iter().filter(|finding| finding.is_fatal()).collect();
    let Some(first) = fatal.first() else { return Ok(()) };
    let options: Vec<_> = fatal.iter().flat_map(|finding| finding.options).copied().collect();
    let message = format!(
        "kernel `{}` (Linux {}) cannot boot our guest: without {} {}",
        kernel.spec,
        kernel.release,
        first.options.join(" or "),
        first.without
    );
    let fix = format!("build it with {}; `cargo xtask kernel check SPEC` shows all needs", {
        options.iter().map(|option| format!("{option}=y")).collect::<Vec<_>>().join(", ")
    });
    Err(Refusal::input(message, fix).into())
}

//! apt with a state of its own: it keeps the machine's proxies and keys, but neither reads nor
//! changes its lists, and needs no root. `debian.rs` asks it what a suite holds, `download.rs` downloads.

use super::control::{self, Paragraph};
use super::sources::Mirror;
use crate::disk;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Read after the machine's own configuration. Hooks of the machine act on its own lists, and a
/// failed download must not pass as old news. The kernels are for amd64 wherever this runs.
const CONFIG: &str = r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architectures { "amd64"; };
APT::Architecture "amd64";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::GzipIndexes "true";
"#;

/// One suite of one mirror.
#[derive(Debug)]
pub(super) struct Apt {
    suite: String,
    dir: PathBuf,
}

impl Apt {
    /// Prepares the folder `dir` for this suite; no network yet.
    pub(super) fn open(dir: &Path, suite: &str, mirror: &Mirror) -> Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| disk::unwritable(dir))?;
        for folder in ["state", "lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder).with_context(|| disk::unwritable(&folder))?;
        }
        let apt = Self { suite: suite.to_owned(), dir };
        apt.write("apt.conf", CONFIG)?;
        apt.write("status", "")?;
        let signed_by = match &mirror.signed_by {
            Some(key) if key.contains("BEGIN PGP") => {
                apt.write("key.asc", &whole_key(key))?;
                format!(" signed-by={}", apt.dir.join("key.asc").display())
            }
            Some(key) => format!(" signed-by={}", key.replace(char::is_whitespace, ",")),
            None => String::new(),
        };
        let options = format!("arch=amd64 target=Packages{signed_by}");
        apt.write("sources.list", &format!("deb [{options}] {} {suite} main\n", mirror.uri))?;
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        disk::write_whole(&self.dir.join(name), text.as_bytes())
    }

    /// Fetches the list of what the suite holds; apt checks its signature.
    pub(super) fn update(&self) -> Result<()> {
        let output = self.run("apt-get", &self.dir, &["update"])?;
        if output.status.success() { Ok(()) } else { Err(self.no_suite(&output.stderr).into()) }
    }

    /// The newest version of a package, if the suite has one.
    pub(super) fn show(&self, package: &str) -> Result<Option<Paragraph>> {
        let output = self.run("apt-cache", &self.dir, &["show", package])?;
        // apt lists versions newest first.
        Ok(control::paragraphs(&String::from_utf8_lossy(&output.stdout)).into_iter().next())
    }

    /// All packages whose name begins so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let output = self.run("apt-cache", &self.dir, &["pkgnames", prefix])?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Where the files of packages are, each `NAME=VERSION`, a line each.
    pub(super) fn uris(&self, packages: &[String]) -> Result<String> {
        let mut arguments = vec!["--print-uris", "download"];
        arguments.extend(packages.iter().map(String::as_str));
        let output = self.run("apt-get", &self.dir, &arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let (names, error) = (packages.join(" "), last_error(&output.stderr));
        let fix = "try again; if it fails again, pass the path of a bzImage or of a .deb";
        Err(Refusal::host(format!("apt-get download({names}) failed: {error}"), fix).into())
    }

    fn run(&self, program: &str, cwd: &Path, arguments: &[&str]) -> Result<Output> {
        let output = self.command(program, cwd, arguments).output();
        output.map_err(|error| no_program(program, error))
    }

    /// A program of apt's, to be run in `cwd`.
    pub(super) fn command(&self, program: &str, cwd: &Path, arguments: &[&str]) -> Command {
        let option = |name: &str, path: &str| format!("{name}={}", self.dir.join(path).display());
        let mut command = Command::new(program);
        command.current_dir(cwd).env("LC_ALL", "C").arg("-c").arg(self.dir.join("apt.conf"));
        for option in [
            option("Dir::State", "state"),
            option("Dir::State::Lists", "lists"),
            option("Dir::State::status", "status"),
            option("Dir::Cache", "cache"),
            option("Dir::Etc::SourceList", "sources.list"),
            "Dir::Cache::pkgcache=pkgcache.bin".to_owned(),
            "Dir::Etc::SourceParts=-".to_owned(),
            "Dir::Etc::Preferences=-".to_owned(),
            "Dir::Etc::PreferencesParts=-".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.args(arguments);
        command
    }

    fn no_suite(&self, stderr: &[u8]) -> Refusal {
        let error = last_error(stderr);
        let message = format!("apt-get update({}) failed: {error}", self.suite);
        // All that apt tells apart of "no such suite" and "no such mirror" is this sentence.
        if error.contains("does not have a Release file") {
            let fix = "name a suite that the mirror has, for example `debian:trixie-backports`";
            return Refusal::input(message, fix);
        }
        Refusal::host(message, "mend the network or the apt sources, or pass the path of a bzImage")
    }
}

/// As a key file; in a `.sources` file a line with a dot stands for an empty one.
fn whole_key(folded: &str) -> String {
    let lines = folded.lines().map(|line| if line == "." { "" } else { line });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

pub(super) fn no_program(program: &str, error: std::io::Error) -> anyhow::Error {
    let refusal = if error.kind() == ErrorKind::NotFound {
        Refusal::host(
            format!("`debian:` needs `{program}`, which is not on the PATH"),
            "pass the path of a bzImage or of a .deb",
        )
    } else {
        Refusal::host(format!("run(`{program}`) failed"), "mend the apt of this machine")
    };
    anyhow::Error::new(error).context(refusal)
}

/// The last error that says something: the closing summary does not.
pub(super) fn last_error(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let errors = text.lines().filter_map(|line| line.strip_prefix("E: ").map(str::trim));
    let telling = |line: &&str| !line.starts_with("Some index files failed");
    errors.rev().find(telling).unwrap_or("apt gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code};

    fn apt(dir: &Path, signed_by: &str) -> (Apt, String) {
        let signed_by = Some(signed_by.to_owned());
        let mirror = Mirror { uri: "http://mirror.invalid/debian".to_owned(), signed_by };
        let apt = Apt::open(dir, "sid", &mirror).unwrap();
        let sources = std::fs::read_to_string(dir.join("sources.list")).unwrap();
        (apt, sources)
    }

    #[test]
    fn the_private_source_names_one_suite_and_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (_, sources) = apt(dir.path(), "/k.gpg");
        let want = "deb [arch=amd64 target=Packages signed-by=/k.gpg] \
                    http://mirror.invalid/debian sid main\n";
        assert_eq!(sources, want);
        let (_, sources) = apt(dir.path(), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n.\nabc");
        assert!(sources.contains("/key.asc] "), "{sources}");
        let key = std::fs::read_to_string(dir.path().join("key.asc")).unwrap();
        assert_eq!(key, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n");
    }

    #[test]
    fn an_unknown_suite_is_bad_input_and_a_dead_mirror_is_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let (apt, _) = apt(dir.path(), "/k.gpg");
        let suite = apt.no_suite(
            b"E: The repository 'http://mirror.invalid/debian x Release' does not have a Release file.\n",
        );
        assert_eq!(exit_code(&suite.into()), exit::BAD_INPUT);
        let dead = apt.no_suite(
            b"W: note\nE: Failed to fetch http://mirror.invalid/x  Could not resolve\n\
              E: Some index files failed to download. They have been ignored, or old ones used instead.\n",
        );
        assert_eq!(
            dead.to_string(),
            "apt-get update(sid) failed: Failed to fetch http://mirror.invalid/x  Could not resolve"
        );
        assert_eq!(exit_code(&dead.into()), exit::HOST);
    }

    #[test]
    fn a_host_without_apt_is_told_what_else_works() {
        let dir = tempfile::tempdir().unwrap();
        let (apt, _) = apt(dir.path(), "/k.gpg");
        let error = apt.run("no-such-apt-get", dir.path(), &["update"]).unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
        assert!(crate::error::render(&error).ends_with("pass the path of a bzImage or of a .deb"));
    }
}

//! Which mirror of the Debian archive this machine uses: its own apt sources say, so that no host
//! name stands here and a site's mirror is respected. `debian.rs` calls [`machine_mirror`].

use super::control::{self, Paragraph};
use crate::error::Refusal;
use anyhow::Result;
use std::path::Path;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where the archive is and whose signature to expect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mirror {
    pub(super) uri: String,
    /// A keyring's path, a fingerprint, or a whole key; none leaves it to apt.
    pub(super) signed_by: Option<String>,
}

/// One enabled entry for binary packages.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The mirror in this machine's own sources.
pub(super) fn machine_mirror() -> Result<Mirror> {
    let mirror = choose(&entries(Path::new("/etc/apt"))).ok_or_else(|| {
        Refusal::host(
            "no Debian archive in `/etc/apt/sources.list` or `/etc/apt/sources.list.d`",
            "add one there, or pass the path of a bzImage or of a .deb",
        )
    })?;
    let keyring = || Path::new(KEYRING).is_file().then(|| KEYRING.to_owned());
    Ok(Mirror { signed_by: mirror.signed_by.or_else(keyring), ..mirror })
}

/// In the order in which apt reads them; what cannot be read is not there.
fn entries(etc: &Path) -> Vec<Entry> {
    let dir = std::fs::read_dir(etc.join("sources.list.d"));
    let mut files: Vec<_> = dir.into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    files.insert(0, etc.join("sources.list"));
    let mut entries = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(text.lines().filter_map(one_line)),
            Some("sources") => {
                entries.extend(control::paragraphs(&text).iter().filter_map(from_paragraph));
            }
            _ => {}
        }
    }
    entries
}

/// `deb [option=value ...] URI SUITE COMPONENT...`
fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Entry {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

fn from_paragraph(paragraph: &Paragraph) -> Option<Entry> {
    let disabled = paragraph.get("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    let binary = paragraph.words("Types").iter().any(|kind| kind == "deb");
    (binary && !disabled).then(|| Entry {
        uris: paragraph.words("URIs"),
        suites: paragraph.words("Suites"),
        components: paragraph.words("Components"),
        signed_by: paragraph.get("Signed-By").map(|key| key.trim().to_owned()),
    })
}

/// The main archive: component `main`, a path that ends in `debian`, and best a plain codename.
/// Vendors' archives carry Debian codenames too, but not under that path.
fn choose(entries: &[Entry]) -> Option<Mirror> {
    let carries = |entry: &&Entry| {
        let main = entry.components.iter().any(|component| component == "main");
        main && entry.suites.iter().any(|suite| !suite.contains('/') && !is_security(suite))
    };
    let plain = |entry: &Entry| entry.suites.iter().any(|suite| !suite.contains(['-', '/']));
    let candidates = entries.iter().filter(carries).filter_map(|entry| {
        let uri = entry.uris.iter().find(|uri| is_archive(uri))?;
        Some((!plain(entry), Mirror { uri: uri.clone(), signed_by: entry.signed_by.clone() }))
    });
    candidates.min_by_key(|(suffixed, _)| *suffixed).map(|(_, mirror)| mirror)
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security")
}

/// `.../debian`, a snapshot of it at `.../debian/20260101T000000Z`, or a list of mirrors of it.
fn is_archive(uri: &str) -> bool {
    let mut segments = uri.trim_end_matches('/').rsplit('/');
    let last = segments.next().unwrap_or_default();
    let snapshot = last.starts_with(|c: char| c.is_ascii_digit()) && last.ends_with('Z');
    let name = if snapshot { segments.next().unwrap_or_default() } else { last };
    matches!(name, "debian" | "debian.list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[(&str, &str)]) -> Option<Mirror> {
        let etc = tempfile::tempdir().unwrap();
        std::fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(etc.path().join(name), text).unwrap();
        }
        choose(&entries(etc.path()))
    }

    fn mirror(uri: &str, signed_by: Option<&str>) -> Option<Mirror> {
        Some(Mirror { uri: uri.to_owned(), signed_by: signed_by.map(str::to_owned) })
    }

    #[test]
    fn one_line_sources_with_options_are_read() {
        let text = "# deb http://old.invalid/debian sid main\n\
                    deb-src http://src.invalid/debian sid main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.invalid/debian sid main # x\n";
        let want = mirror("http://mirror.invalid/debian", Some("/k.gpg"));
        assert_eq!(chosen(&[("sources.list", text)]), want);
    }

    #[test]
    fn deb822_sources_are_read_and_disabled_ones_are_not() {
        let text = "Types: deb\nEnabled: no\nURIs: http://off.invalid/debian\nSuites: sid\n\
                    Components: main\n\nTypes: deb deb-src\nURIs: http://mirror.invalid/debian/\n\
                    Suites: trixie trixie-updates\nComponents: main contrib\nSigned-By: /k.gpg\n";
        let want = mirror("http://mirror.invalid/debian/", Some("/k.gpg"));
        assert_eq!(chosen(&[("sources.list.d/debian.sources", text)]), want);
    }

    #[test]
    fn a_plain_codename_wins_and_security_never_does() {
        let text = "deb http://security.invalid/debian sid-security main\n\
                    deb http://ports.invalid/debian sid-backports main\n\
                    deb http://mirror.invalid/debian sid main\n";
        assert_eq!(chosen(&[("sources.list", text)]), mirror("http://mirror.invalid/debian", None));
        let security = text.lines().next().unwrap();
        assert_eq!(chosen(&[("sources.list", security)]), None);
    }

    #[test]
    fn archives_of_vendors_are_passed_over() {
        let vendors = "deb http://a.invalid/linux/debian sid stable\n\
                       deb http://b.invalid/debian/12/prod sid main\n\
                       deb http://c.invalid/ubuntu noble main\n\
                       deb http://d.invalid/debian sid/updates main\n\
                       deb http://broken.invalid\ndeb [unclosed http://e.invalid/debian sid main\n";
        assert_eq!(chosen(&[("sources.list.d/a.list", vendors)]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn snapshots_and_mirror_lists_are_the_archive() {
        for uri in [
            "http://mirror.invalid/archive/debian/20260101T000000Z",
            "mirror+file:///etc/apt/mirrors/debian.list",
        ] {
            let text = format!("deb {uri} sid main\n");
            assert_eq!(chosen(&[("sources.list", &text)]), mirror(uri, None));
        }
    }
}

//! Where this host's loader looks for shared libraries: the folders of `/etc/ld.so.conf` and those
//! that every loader knows. `elf.rs` searches them.

use std::path::{Path, PathBuf};

const CONF: &str = "/etc/ld.so.conf";
const DEFAULT: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// In the order in which they are searched.
#[derive(Debug)]
pub(super) struct Folders(Vec<PathBuf>);

impl Folders {
    pub(super) fn of_host() -> Self {
        Self::below(Path::new(CONF))
    }

    /// With this file in the place of `/etc/ld.so.conf`.
    fn below(conf: &Path) -> Self {
        let mut folders = Vec::new();
        read(conf, &mut folders, 0);
        folders.extend(DEFAULT.iter().map(PathBuf::from));
        Self(folders)
    }

    /// With `first` searched before them.
    pub(super) fn after(mut self, first: &Path) -> Self {
        self.0.insert(0, first.to_path_buf());
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter()
    }
}

/// What cannot be read has nothing to say, as to the loader. `depth` ends files that include
/// themselves.
fn read(conf: &Path, folders: &mut Vec<PathBuf>, depth: u32) {
    const DEEPEST: u32 = 8;
    let text = std::fs::read_to_string(conf).unwrap_or_default();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(pattern) if depth < DEEPEST => {
                let base = conf.parent().unwrap_or_else(|| Path::new("/"));
                for file in matching(&base.join(pattern.trim())) {
                    read(&file, folders, depth + 1);
                }
            }
            None if line.starts_with('/') => folders.push(line.into()),
            _ => {}
        }
    }
}

/// Files that a path stands for whose last part may have one `*`.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let Some((before, after)) = name.split_once('*') else { return vec![pattern.to_path_buf()] };
    let folder = pattern.parent().unwrap_or_else(|| Path::new("/"));
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= before.len() + after.len()
            && name.starts_with(before)
            && name.ends_with(after)
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(fits).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_searched_before_the_defaults_and_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("ld.so.conf");
        let parts = dir.path().join("conf.d");
        std::fs::create_dir(&parts).unwrap();
        // It includes itself too.
        std::fs::write(&conf, "/first # a comment\ninclude conf.d/*.conf\ninclude ld.so.conf\n")
            .unwrap();
        std::fs::write(parts.join("b.conf"), "/b\n").unwrap();
        std::fs::write(parts.join("a.conf"), "# nothing\n/a\n").unwrap();
        std::fs::write(parts.join("c.bak"), "/no\n").unwrap();
        let folders = Folders::below(&conf).0;
        let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        assert_eq!(shown[..3], ["/first", "/a", "/b"]);
        assert_eq!(shown[shown.len() - 6..], DEFAULT);
        assert!(!shown.contains(&"/no".to_owned()));
    }
}

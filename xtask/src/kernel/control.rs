//! Debian's paragraphs of `Field: value` lines: package control files, the answers of
//! `apt-cache show`, and apt's `.sources`. `deb.rs`, `apt.rs` and `sources.rs` read them here.

/// One paragraph.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Paragraph {
    fields: Vec<(String, String)>,
}

/// One package that another one needs; of alternatives only the first counts.
#[derive(Debug, PartialEq)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Set where exactly this version is needed.
    pub(super) version: Option<String>,
}

/// Every paragraph of `text`, in order; comment lines and lines of no known form are skipped.
pub(super) fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut all = Vec::new();
    let mut open = Paragraph::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            all.push(std::mem::take(&mut open));
        } else {
            open.add_line(line);
        }
    }
    all.push(open);
    all.retain(|paragraph| !paragraph.fields.is_empty());
    all
}

impl Paragraph {
    fn add_line(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = self.fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            self.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The value of a field, whose name has no case; lines of a folded value end in `\n`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(field.1.as_str())
    }

    /// The words of a field, none if it is not there.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// What `Depends` lists.
    pub(super) fn depends(&self) -> Vec<Dependency> {
        self.get("Depends").unwrap_or_default().split(',').filter_map(dependency).collect()
    }
}

/// `name:arch (= version) | alternative`.
fn dependency(text: &str) -> Option<Dependency> {
    let first = text.split('|').next().unwrap_or_default().trim();
    let (name, relation) = first.split_once('(').unwrap_or((first, ""));
    let name = name.trim().split(':').next().filter(|name| !name.is_empty())?;
    let exact = relation.trim().strip_prefix('=');
    let version = exact.map(|version| version.trim_end_matches(')').trim().to_owned());
    Some(Dependency { name: name.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_end_at_blank_lines() {
        let all = paragraphs("\n# note\nPackage: a\nversion:1\n\n\n \nPackage: b\n");
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].get("package"), all[0].get("Version")), (Some("a"), Some("1")));
        assert_eq!((all[1].get("Package"), all[1].get("Version")), (Some("b"), None));
    }

    #[test]
    fn folded_values_keep_their_lines() {
        let all = paragraphs("Suites: one\n two\nSigned-By:\n -----BEGIN-----\n .\n abc\n");
        assert_eq!(all[0].words("Suites"), ["one", "two"]);
        assert_eq!(all[0].get("Signed-By"), Some("\n-----BEGIN-----\n.\nabc"));
    }

    #[test]
    fn a_dependency_is_its_first_alternative_with_an_exact_version_only() {
        let text =
            "Depends: kmod, dracut | mkinit, linux-base (>= 4.3~), linux-x:any (= 7.3.4-1~b+1),";
        let dependency = |name: &str, version: Option<&str>| Dependency {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        assert_eq!(
            paragraphs(text)[0].depends(),
            [
                dependency("kmod", None),
                dependency("dracut", None),
                dependency("linux-base", None),
                dependency("linux-x", Some("7.3.4-1~b+1")),
            ]
        );
    }

    #[test]
    fn noise_is_no_paragraph() {
        assert_eq!(paragraphs(""), []);
        assert_eq!(paragraphs(" folded into nothing\nno colon\n\n"), []);
    }
}

//! A matrix as one page that needs nothing else: the grid as a heat map, each cell opening what was
//! measured in it. Called by `cmd::matrix`.

use super::super::table::Table;
use super::data::Page;
use anyhow::{Context as _, Result};
use std::io::Write;

const TEMPLATE: &str = include_str!("page.html");
/// What stands in the template for what; the data last, so that nothing in it is taken for a mark.
const PARTS: [(&str, &str); 4] = [
    ("/*page.css*/", include_str!("page.css")),
    ("/*plot.js*/", include_str!("plot.js")),
    ("/*panel.js*/", include_str!("panel.js")),
    ("/*map.js*/", include_str!("map.js")),
];
const TITLE: &str = "TITLE";
const DATA: &str = "DATA";

/// The page; it finds run folders beside itself.
pub(crate) fn html(table: &Table, out: &mut impl Write) -> Result<()> {
    let page =
        PARTS.iter().fold(TEMPLATE.to_owned(), |page, (mark, part)| page.replace(mark, part));
    let (head, rest) = page.split_once(TITLE).context("a page without a title")?;
    let (body, tail) = rest.split_once(DATA).context("a page without data")?;
    let data = serde_json::to_string(&Page::of(table)).context("serialize(page) failed")?;
    // Nothing of it ends the element that it is in, or begins a comment there.
    let data = data.replace('<', "\\u003c");
    let title = table.name.replace('&', "&amp;").replace('<', "&lt;");
    Ok(write!(out, "{head}{title}{body}{data}{tail}")?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, shown, small, synthetic};
    use super::*;
    use std::process::Command;

    const BROWSERS: [&str; 2] = ["chromium", "google-chrome"];

    /// The page of `table` after its scripts have run, opened at `hash`.
    fn opened(table: &Table, hash: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let page = dir.path().join("matrix.html");
        std::fs::write(&page, shown(html, table)).unwrap();
        let known = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        let browser = BROWSERS
            .iter()
            .find(|name| known(name))
            .expect("no browser: apt-get install --yes --no-install-recommends chromium");
        let seen = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
            .args(["--virtual-time-budget=10000", "--dump-dom"])
            .arg(format!("file://{}#{hash}", page.display()))
            .output()
            .unwrap();
        let dom = String::from_utf8(seen.stdout).unwrap();
        assert!(dom.contains("data-ready-ms"), "{}", String::from_utf8_lossy(&seen.stderr));
        assert!(!dom.contains("data-error"), "{}", &dom[..dom.len().min(500)]);
        dom
    }

    fn attribute(dom: &str, name: &str) -> f64 {
        let (_, rest) = dom.split_once(&format!("{name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    }

    #[test]
    fn it_asks_for_nothing_and_is_the_same_for_the_same_table() {
        let page = shown(html, &synthetic(20, 1));
        assert_eq!(page, shown(html, &synthetic(20, 1)));
        assert!(page.contains("default-src 'none'"));
        for outside in ["src=", "url(", "@import", "fetch(", "https:"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("http:").count(), 1, "the name space of SVG alone");
    }

    #[test]
    fn nothing_of_a_guest_ends_the_data() {
        let page = shown(html, &hostile());
        assert_eq!(page.matches("<script").count(), 2);
        assert!(page.contains("\\u003cscript>alert(1)"));
    }

    #[test]
    #[ignore = "starts a browser: a step of its own in `ci`"]
    fn chromium_opens_200_cells_in_2_s_from_less_than_3_mb() {
        let table = synthetic(200, 7);
        let size = shown(html, &table).len();
        assert!(size < 3_000_000, "{size} bytes");
        let dom = opened(&table, "");
        let ready_ms = attribute(&dom, "data-ready-ms");
        assert!(ready_ms < 2000.0, "{ready_ms} ms");
        assert_eq!(dom.matches("class=\"cell ").count(), 200);
        assert!(dom.contains("<aside hidden"), "no panel without a hash");
    }

    #[test]
    #[ignore = "starts a browser: a step of its own in `ci`"]
    fn chromium_opens_the_panel_of_a_cell_by_its_hash() {
        let table = synthetic(200, 7);
        let row = table.rows.iter().find(|row| row.runs.len() == 2).unwrap();
        let dom = opened(&table, &row.name);
        let (_, panel) = dom.split_once("<aside").unwrap();
        for (what, count) in [
            ("class=\"check ", 8),
            ("class=\"worker\"", 16),
            ("class=\"cpu\"", 4),
            ("class=\"plot\"", 3),
        ] {
            assert_eq!(panel.matches(what).count(), count, "{what}");
        }
        let paths = panel.matches("class=\"cdf ").count();
        assert!(paths > 3 * 4, "{paths} distributions of this cell and its neighbours");
        assert!(panel.contains("2 of 2, the same as 1"), "{}", row.name);
        let folder = format!("href=\"cells/{}/1/\"", row.name);
        assert!(panel.contains(&folder), "{folder}");
    }

    #[test]
    #[ignore = "starts a browser: a step of its own in `ci`"]
    fn chromium_shows_hostile_text_as_text() {
        let table = hostile();
        let dom = opened(&table, &table.rows[6].name);
        assert!(dom.contains("&lt;script&gt;alert(1)&lt;/script&gt; ]]&gt;"));
        let dom = opened(&small(1), "no-such-cell");
        assert!(dom.contains("no cell is called no-such-cell"));
    }
}

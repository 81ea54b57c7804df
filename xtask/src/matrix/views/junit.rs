//! A matrix as JUnit XML, a suite a kernel and scheduler, a case a cell. No times: they are facts of
//! the host. Called by `cmd::matrix`.

use super::super::table::{Row, Standing, Table};
use super::{broken, check_line, clean, reason};
use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::BTreeMap;
use std::io::Write;

/// Suites in the order of the plan. What the file expects to fail is skipped with the reason; what
/// could not be judged is an error, as it neither held nor failed; an unexpected pass is a success,
/// since JUnit has no word for it.
pub(crate) fn junit(table: &Table, out: &mut impl Write) -> Result<()> {
    let mut report = Report::new(clean(&table.name));
    let mut at = BTreeMap::new();
    for row in &table.rows {
        let suite = format!("{}/{}", row.cell.kernel, row.cell.scheduler);
        let at = *at.entry(suite.clone()).or_insert(report.test_suites.len());
        if at == report.test_suites.len() {
            report.test_suites.push(TestSuite::new(clean(&suite)));
        }
        report.test_suites[at].add_test_case(case(row, &suite));
    }
    report.tests = report.test_suites.iter().map(|suite| suite.tests).sum();
    report.failures = report.test_suites.iter().map(|suite| suite.failures).sum();
    report.errors = report.test_suites.iter().map(|suite| suite.errors).sum();
    report.serialize(out).context("serialize(JUnit XML) failed")
}

fn case(row: &Row, suite: &str) -> TestCase {
    let name = row.name.strip_prefix(suite).unwrap_or(&row.name).trim_start_matches('/');
    let mut case = TestCase::new(clean(name), status(row));
    case.set_classname(clean(suite));
    if let Some(run) = row.telling() {
        let standing = match row.standing {
            Standing::UnexpectedPass => reason(row).map(|why| format!("{why}\n")),
            _ => None,
        };
        let (kernel, machine, folder) = (run.linux(), run.place(), &run.folder);
        let facts = format!("Linux {}\n{}\n{}", clean(&kernel), clean(&machine), clean(folder));
        case.set_system_out(standing.unwrap_or_default() + &facts);
    }
    case
}

fn status(row: &Row) -> TestCaseStatus {
    let name = row.standing.name();
    let why = reason(row).unwrap_or_else(|| name.to_owned());
    let kind = match row.standing {
        Standing::Pass | Standing::UnexpectedPass => return TestCaseStatus::success(),
        Standing::Skipped | Standing::KnownFailure => {
            // As text: the older of Jenkins's schemas have no attribute here.
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_description(format!("{name}: {why}"));
            return skipped;
        }
        Standing::Fail => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let checks: Vec<_> = broken(row).map(check_line).collect();
    status.set_type(name).set_message(&why).set_description(checks.join("\n"));
    status
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hostile, shown, small, synthetic};
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// The schema of Jenkins that the crate junit-report carries for its own tests.
    fn schema() -> PathBuf {
        let metadata = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--offline"])
            .args(["--filter-platform=x86_64-unknown-linux-gnu", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .output()
            .unwrap();
        assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
        let mut packages = metadata["packages"].as_array().unwrap().iter();
        let package = packages.find(|package| package["name"] == "junit-report").unwrap();
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        manifest.with_file_name("tests").join("JUnit.xsd")
    }

    fn validate(xml: &str, schema: &Path) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, xml).unwrap();
        let checked = Command::new("xmllint")
            .args(["--nonet", "--noout", "--schema"])
            .args([schema, file.path()])
            .output()
            .expect("no xmllint: apt-get install --yes --no-install-recommends libxml2-utils");
        match checked.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&checked.stderr).into_owned()),
        }
    }

    #[test]
    fn the_schema_of_jenkins_takes_it_and_refuses_what_is_not_junit() {
        let schema = schema();
        for table in [hostile(), small(12), synthetic(40, 3)] {
            assert_eq!(validate(&shown(junit, &table), &schema), Ok(()));
        }
        let xml = shown(junit, &small(1));
        let error = validate(&xml.replace("<testcase name=", "<testcase title="), &schema);
        assert!(error.unwrap_err().contains("title"));
        assert!(validate(&xml.replace("</testsuite>", ""), &schema).is_err());
    }

    #[test]
    fn each_standing_is_a_success_a_failure_an_error_or_skipped() {
        insta::assert_snapshot!(shown(junit, &hostile()), @r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="all|kinds" tests="9" failures="1" errors="4">
            <testsuite name="bookworm/none" tests="3" disabled="0" errors="2" failures="0">
                <testcase name="wake/own/1/deterministic" classname="bookworm/none">
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/bookworm/none/wake/own/1/deterministic/1</system-out>
                </testcase>
                <testcase name="quota/own/1/deterministic" classname="bookworm/none">
                    <error message="50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m" type="inconclusive">latency.wake.p99 could not be judged: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all</error>
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/bookworm/none/quota/own/1/deterministic/1</system-out>
                </testcase>
                <testcase name="wake/own/2/deterministic" classname="bookworm/none">
                    <error message="50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m" type="unrepeatable"></error>
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/bookworm/none/wake/own/2/deterministic/1</system-out>
                </testcase>
            </testsuite>
            <testsuite name="trixie/none" tests="2" disabled="1" errors="1" failures="0">
                <testcase name="wake/own/1/deterministic" classname="trixie/none">
                    <skipped>known-failure: 50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m</skipped>
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/trixie/none/wake/own/1/deterministic/1</system-out>
                </testcase>
                <testcase name="quota/own/1/deterministic" classname="trixie/none">
                    <error message="50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m" type="missing"></error>
                </testcase>
            </testsuite>
            <testsuite name="bookworm/scx_a" tests="2" disabled="0" errors="0" failures="1">
                <testcase name="wake/own/1/deterministic" classname="bookworm/scx_a">
                    <system-out>50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m
        Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/bookworm/scx_a/wake/own/1/deterministic/1</system-out>
                </testcase>
                <testcase name="quota/own/1/deterministic" classname="bookworm/scx_a">
                    <failure message="50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m" type="fail">latency.wake.p99: 3.21 ms, bound 2.00 ms; 99th percentile of wake-ups | all</failure>
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/bookworm/scx_a/quota/own/1/deterministic/1</system-out>
                </testcase>
            </testsuite>
            <testsuite name="trixie/scx_a" tests="2" disabled="1" errors="1" failures="0">
                <testcase name="wake/own/1/deterministic" classname="trixie/scx_a">
                    <skipped>skipped: 50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m</skipped>
                </testcase>
                <testcase name="quota/own/1/deterministic" classname="trixie/scx_a">
                    <error message="50 % | &lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; `a` *b* ::error::x,  [31m" type="guest-failed"></error>
                    <system-out>Linux 6.12.0-amd64
        4 CPUs (1s4c1t), 1024 MiB, tcg
        cells/trixie/scx_a/quota/own/1/deterministic/1</system-out>
                </testcase>
            </testsuite>
        </testsuites>
        "##);
    }
}

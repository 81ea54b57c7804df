//! Which options name files, and that none of those that are written can destroy what is no file.

use super::Cli;
use clap::{Arg, CommandFactory as _, Parser as _};
use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Every option and operand that names a file or a folder of the user's to write.
const WRITTEN: [(&str, &str); 12] = [
    ("vm", "out"),
    ("hunt", "out"),
    ("matrix", "out"),
    ("matrix", "markdown"),
    ("matrix", "junit"),
    ("matrix", "html"),
    ("matrix merge", "out"),
    ("compare", "out"),
    ("compare", "save"),
    ("bundle pack", "output"),
    ("bundle run", "out"),
    ("matrix merge", "junit"),
];
/// Those that are read.
const READ: [(&str, &str); 15] = [
    ("vm", "config"),
    ("vm", "init"),
    ("hunt", "config"),
    ("hunt", "init"),
    ("host", "config"),
    ("check", "files"),
    ("matrix", "file"),
    ("matrix merge", "folders"),
    ("report", "run"),
    ("compare", "a"),
    ("compare", "b"),
    ("bundle pack", "run"),
    ("bundle pack", "note"),
    ("bundle show", "file"),
    ("bundle run", "file"),
];
/// The same options once more.
const MERGE_VIEWS: [(&str, &str); 2] = [("matrix merge", "markdown"), ("matrix merge", "html")];

fn paths(command: &clap::Command, name: &str, found: &mut BTreeSet<(String, String)>) {
    let is_path = |arg: &&Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        let of_place = ["FILE", "DIR", "RUN", "FOLDER", "FILE|FOLDER", "A", "B"];
        names.iter().any(|name| of_place.contains(&name.as_str()))
    };
    let args = command.get_arguments().filter(is_path);
    found.extend(args.map(|arg| (name.to_owned(), arg.get_id().to_string())));
    for below in command.get_subcommands() {
        paths(below, format!("{name} {}", below.get_name()).trim_start(), found);
    }
}

#[test]
fn every_option_that_names_a_file_is_known_to_be_read_or_written() {
    let mut found = BTreeSet::new();
    paths(&Cli::command(), "", &mut found);
    let known = WRITTEN.iter().chain(&READ).chain(&MERGE_VIEWS);
    let known = known.map(|(command, id)| ((*command).to_owned(), (*id).to_owned())).collect();
    assert_eq!(found, known, "an option that writes is an Output, or has folder_parser()");
}

#[test]
fn no_command_begins_that_would_replace_what_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (command, id) in WRITTEN.iter().chain(&MERGE_VIEWS) {
        let told = |path: &Path| {
            let operands: &[&str] = match *command {
                "vm" | "hunt" => &[],
                "compare" => &["a", "b", "--repeat", "1"],
                _ => &["x"],
            };
            let mut words = vec!["xtask"];
            words.extend(command.split(' '));
            words.extend(operands);
            let option = format!("--{id}={}", path.display());
            if *id != "output" && *command == "bundle pack" {
                words.push("--output=y");
            }
            words.push(&option);
            Cli::try_parse_from(words).map(drop)
        };
        told(&dir.path().join("new")).unwrap();
        let error = told(&socket).unwrap_err();
        assert!(error.to_string().contains("it is a socket, not a f"), "{command}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
}

//! Every parameter of a work type is read by the type itself: what only the JSON knows would be
//! accepted and do nothing. What a parameter does is shown in guests.

use super::WorkType;
use std::path::Path;

/// The text of all blocks `impl .. NAME {` of the family files.
fn blocks(source: &str, name: &str) -> String {
    let own = [format!("impl {name} {{"), format!("impl Work for {name} {{")];
    let begins = |line: &&str| own.iter().any(|own| own == line);
    let mut lines = source.lines();
    let mut text = String::new();
    while lines.by_ref().find(begins).is_some() {
        lines.by_ref().take_while(|line| *line != "}").for_each(|line| text.push_str(line));
    }
    text
}

#[test]
fn each_parameter_of_a_work_type_is_read_by_its_loop() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/work");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let sources = files.filter(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let all: String = sources.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut read = 0;
    for reference in WorkType::reference().unwrap() {
        // Its function is the parameter.
        if reference.name == "Custom" {
            continue;
        }
        let own = blocks(&all, reference.name);
        for parameter in &reference.parameters {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let uses = own.split(&format!("self.{}", parameter.name)).skip(1).any(ends);
            assert!(uses, "{} does not read `{}`", reference.name, parameter.name);
            read += 1;
        }
    }
    assert!(read > 50, "{read}");
}

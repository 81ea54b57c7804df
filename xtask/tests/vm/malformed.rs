//! Hundreds of malformed scenarios, mutations of the ready ones: each is refused on the host with
//! the path of what is wrong, or runs; none panics, none boots and then dies of its input.

use crate::bench::{Vm, xtask};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const MUTANTS: usize = 500;
/// How many of those that are not refused run in the guest.
const MOST_RUN: usize = 120;
/// Two nodes, two LLCs, SMT: whatever a ready scenario needs.
const MACHINE: [&str; 4] = ["--topology", "2s2c2t", "--numa", "2"];
/// What replaces a value.
const STRANGE: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1",
    "3",
    "0.5",
    "1e300",
    "18446744073709551615",
    "\"\"",
    "\"x\"",
    "\"web\"",
    "\"/\"",
    "\"../..\"",
    "\"0s\"",
    "\"1ns\"",
    "\"99y\"",
    "[]",
    "{}",
    "[0]",
    "[99]",
    "\"SpinWait\"",
    "\"PipeIo\"",
    "\"Nowait\"",
    "{\"Exact\":[0]}",
    "{\"Fifo\":99}",
    "{\"Time\":\"1ms\"}",
];

/// xorshift64: the same mutants in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}

fn ready() -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let parse = |file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    files.into_iter().map(parse).collect()
}

/// Every value in `value` by its JSON pointer.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), into)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| pointers(item, &format!("{at}/{name}"), into))
        }
        _ => {}
    }
}

fn mutate(scenario: &mut Value, dice: &mut Dice) {
    let mut all = Vec::new();
    pointers(scenario, "", &mut all);
    let pointer = &all[1 + dice.below(all.len() - 1)];
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let strange = STRANGE[dice.below(STRANGE.len())];
    match (dice.below(6), scenario.pointer_mut(parent).unwrap()) {
        (0, Value::Object(fields)) => drop(fields.remove(key)),
        (1, Value::Object(fields)) => {
            let value = fields.remove(key).unwrap();
            fields.insert(format!("{key}_"), value);
        }
        (0 | 1, Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        (2, Value::Array(items)) => items.push(items[key.parse::<usize>().unwrap()].clone()),
        (3, parent) => {
            let value = child(parent, key);
            if let Some(number) = value.as_i64() {
                *value = json!(number * 7);
            } else {
                *value = Value::Array(vec![value.take()]);
            }
        }
        (_, parent) => *child(parent, key) = serde_json::from_str(strange).unwrap(),
    }
}

fn child<'a>(parent: &'a mut Value, key: &str) -> &'a mut Value {
    match parent {
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        parent => parent.get_mut(key).unwrap(),
    }
}

/// The same in a twentieth of the time, so that many can run.
fn hasten(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hasten),
        Value::Object(fields) => hasten_fields(fields),
        _ => {}
    }
}

fn hasten_fields(fields: &mut Map<String, Value>) {
    for (name, value) in fields {
        match (name.as_str(), value.as_str().and_then(|text| humantime::parse_duration(text).ok()))
        {
            ("duration" | "warmup" | "Time" | "time" | "interval", Some(time)) => {
                *value = json!(format!("{}us", (time.as_micros() / 20).min(200_000)));
            }
            _ => hasten(value),
        }
    }
}

/// Whether the host takes it; a refusal must say where and how to mend it.
fn is_accepted(file: &Path) -> bool {
    let output = Command::new(xtask()).arg("check").args(MACHINE).arg(file).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    match output.status.code() {
        Some(0) => true,
        Some(2) => {
            let placed = stderr.contains(" line ") && stderr.contains(" column ");
            assert!(placed && stderr.contains("fix: "), "{stderr}\n{text}");
            false
        }
        code => panic!("exit {code:?}: {stderr}\n{text}"),
    }
}

#[test]
fn mutants_of_ready_scenarios_are_refused_or_run() {
    let dir = tempfile::tempdir().unwrap();
    let (ready, mut dice) = (ready(), Dice(0x9E37_79B9_7F4A_7C15));
    let mut accepted = Vec::new();
    for number in 0..MUTANTS {
        let mut mutant = ready[number % ready.len()].clone();
        (0..=dice.below(2)).for_each(|_| mutate(&mut mutant, &mut dice));
        hasten(&mut mutant);
        let file = dir.path().join("mutant.json");
        std::fs::write(&file, mutant.to_string()).unwrap();
        if is_accepted(&file) {
            accepted.push(mutant.to_string());
        }
    }
    // Mutations that break nothing, and some that break something, must both be there.
    assert!(accepted.len() > MUTANTS / 20 && accepted.len() < MUTANTS * 19 / 20);
    accepted.truncate(MOST_RUN);
    let image = image_with(&dir, &accepted.join("\n"));
    let many = r#"{"name":"many","duration":"10m","workload":{"num_workers":1,
        "work_type":{"Custom":{"name":"run-many"}}},"expect":{"no_splat":true}}"#;
    // The kernel says it where the timer that gives a deadline task its budget again comes more than
    // a period late (`replenish_dl_entity`). Periods of mutants are milliseconds, and the host may keep
    // one of eight emulated CPUs from running for longer.
    let late = ["--allow-splat", "DL replenish lagged too much"];
    let run = Vm::new(many).test_init().args(["--disk", &image]).args(MACHINE).args(late).run();
    let report = run.expect("pass", 0);
    let worker = &report["workers"][0];
    assert!(worker["failed"].is_null(), "{}", worker["failed"]);
    assert_eq!(worker["work_units"], accepted.len());
}

/// An ext4 image with the list in it.
fn image_with(dir: &TempDir, list: &str) -> String {
    let (root, image) = (dir.path().join("root"), dir.path().join("disk.img"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("scenarios"), list).unwrap();
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .arg(&root)
        .arg(&image)
        .arg("16M")
        .status()
        .unwrap();
    assert!(made.success());
    image.display().to_string()
}

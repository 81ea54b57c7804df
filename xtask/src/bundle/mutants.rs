//! Bundles with random changes at every level: none crashes the reader, and what is taken has
//! hashes that hold and makes a guest that is held to its folder.

use super::fixture::{forged, whole};
use super::manifest::{Digest, Manifest};
use super::member::{MANIFEST, Members};
use super::{Bundle, archive};
use crate::error::{exit, exit_code};
use crate::paths::Paths;
use crate::qemu::{Attempt, arguments};
use crate::run::Folder;
use serde_json::Value;
use std::path::Path;

const MUTANTS: u64 = 2_000;

/// Words that begin an option of a guest's; nothing else may.
const OPTIONS: &[&str] = &[
    "-no-user-config",
    "-nodefaults",
    "-display",
    "-machine",
    "-no-reboot",
    "-sandbox",
    "-accel",
    "-cpu",
    "-icount",
    "-rtc",
    "-seed",
    "-smp",
    "-device",
    "-m",
    "-netdev",
    "-object",
    "-numa",
    "-chardev",
    "-mon",
    "-serial",
    "-drive",
    "-kernel",
    "-initrd",
    "-append",
];

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }
}

/// Flips, cuts, doubles or swaps some bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(bytes.len()), random.below(600));
        let end = (at + length).min(bytes.len());
        match random.below(5) {
            _ if bytes.is_empty() => bytes.push(0),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            _ => bytes.truncate(end),
        }
    }
}

/// Puts something else in the place of a value somewhere in `json`.
fn mutate_value(json: &mut Value, random: &mut Random) {
    let child = match json {
        Value::Object(map) => {
            if random.below(20) == 0 {
                map.insert("more".into(), Value::Null);
            }
            let index = random.below(map.len());
            map.values_mut().nth(index)
        }
        Value::Array(list) => {
            let index = random.below(list.len());
            list.get_mut(index)
        }
        _ => None,
    };
    match child {
        Some(child) if random.below(8) > 0 => mutate_value(child, random),
        _ => *json = strange(json, random),
    }
}

fn strange(old: &Value, random: &mut Random) -> Value {
    const TEXTS: [&str; 10] = [
        "",
        "../../x",
        "/etc/passwd",
        "a,b=c",
        "x\ny",
        "-S",
        "\u{1b}[2J",
        "0-1:64M",
        "2s2c1t",
        "max,+avx",
    ];
    match (random.below(6), old) {
        (0, _) => Value::Null,
        (1, _) => (random.next() >> random.below(64)).into(),
        (2, Value::String(text)) => {
            let mut bytes = text.clone().into_bytes();
            mutate(&mut bytes, random);
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        (3, _) => TEXTS[random.below(TEXTS.len())].into(),
        (4, _) => Value::Array(vec![old.clone(); random.below(3)]),
        _ => (random.below(2) == 0).into(),
    }
}

/// A changed bundle, changed where `level` says.
fn mutant(level: u64, random: &mut Random, mut members: Members) -> Vec<u8> {
    match level {
        0 => {
            let mut bytes = archive::write(&members).unwrap();
            mutate(&mut bytes, random);
            return bytes;
        }
        1 => {
            let mut tar = archive::tar_of(&members).unwrap();
            mutate(&mut tar, random);
            return archive::compress(&tar).unwrap();
        }
        2 => {
            let index = random.below(members.len());
            let name = *members.keys().nth(index).unwrap();
            let mut bytes = members[name].clone();
            mutate(&mut bytes, random);
            members.insert(name, bytes);
            if name != MANIFEST && random.below(2) == 0 {
                members = forged(members, |_| {});
            }
        }
        _ => {
            let mut json: Value = serde_json::from_slice(&members[MANIFEST]).unwrap();
            mutate_value(&mut json, random);
            members.insert(MANIFEST, json.to_string().into_bytes());
        }
    }
    archive::write(&members).unwrap()
}

/// Independent of the reader: the members that the archive has, each with its hash.
fn hashes_hold(bytes: &[u8]) -> bool {
    let tar = zstd::stream::decode_all(bytes).unwrap();
    let mut members = Members::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        members.insert(name.leak(), content);
    }
    let manifest: Manifest = serde_json::from_slice(&members.remove(MANIFEST).unwrap()).unwrap();
    Digest::of_all(&members) == manifest.members
}

/// Plans the guest as `bundle run` does and looks at what QEMU would be told.
#[track_caller]
fn assert_held(bundle: &Bundle, dir: &Path) {
    let paths = Paths::below(dir);
    let run = dir.join("run");
    let folder = Folder::create(Some(&run), "x", &paths).unwrap();
    if bundle.need_kernel().is_ok() {
        let plan = bundle
            .plan(None, "7.2", &folder, &paths, &crate::progress::Progress::silent())
            .unwrap();
        let boot = &bundle.manifest.boot;
        let attempt = Attempt { accel: boot.accel, cpu_model: boot.cpu_model.clone() };
        let words = arguments(&plan.guest(&attempt, &folder).unwrap());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            assert!(OPTIONS.contains(&word.as_str()), "{word}");
            if ["-no-user-config", "-nodefaults", "-no-reboot"].contains(&word.as_str()) {
                continue;
            }
            let value = words.next().unwrap();
            let is_path =
                value.contains("path=") || ["-kernel", "-initrd"].contains(&word.as_str());
            assert!(!is_path || value.contains(run.to_str().unwrap()), "{word} {value}");
            assert!(word == "-append" || !value.contains(['\n', '\0', ' ']), "{word} {value}");
        }
    }
    std::fs::remove_dir_all(run).unwrap();
}

#[test]
fn no_change_crashes_the_reader_or_gets_past_it() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let (original, mut taken) = (whole(), [0; 4]);
    for seed in 0..MUTANTS {
        let mut random = Random(seed);
        let level = seed % 4;
        let bytes = mutant(level, &mut random, original.clone());
        match Bundle::read(bytes.as_slice()) {
            Ok(bundle) => {
                assert!(hashes_hold(&bytes), "seed {seed}");
                assert_held(&bundle, &work);
                taken[usize::try_from(level).unwrap()] += 1;
            }
            Err(error) => assert_eq!(exit_code(&error), exit::BAD_INPUT, "seed {seed}: {error:#}"),
        }
    }
    let beside: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(beside, [work], "nothing is written elsewhere");
    // A changed archive is hardly ever taken; a forger who knows the format often is.
    assert!(taken[0] < 20 && taken[1] < 50, "{taken:?}");
    assert!(taken[2] > 20 && taken[3] > 20, "{taken:?}");
}

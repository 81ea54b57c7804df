//! What guests have shown of KVM on this host, by what that depends on: whether they live under it,
//! and with which CPU model. Kept in the cache for a day. Called by `accel`.

use crate::files::write_whole;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an answer holds.
pub(in crate::qemu) const VALID: Duration = Duration::from_hours(24);
/// In the cache.
const FOLDER: &str = "host";
const FILE: &str = "kvm.json";

/// What an answer is for. Another of any of these is another question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::qemu) struct Key {
    /// Version of the QEMU build.
    pub(in crate::qemu) qemu: String,
    /// What the user asked for; none is our own choice.
    pub(in crate::qemu) cpu_model: Option<String>,
    /// The device's node, its rights and drivers.
    pub(in crate::qemu) access: String,
    /// This boot of the host.
    pub(in crate::qemu) boot_id: String,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::qemu) struct Answer {
    #[serde(flatten)]
    pub(in crate::qemu) key: Key,
    /// The CPU model with which a guest reached PID 1; none if none did.
    pub(in crate::qemu) works_with: Option<String>,
    pub(in crate::qemu) why: String,
    /// Seconds since 1970.
    pub(in crate::qemu) at: u64,
}

impl Answer {
    /// Its age, while it holds. One from the future is of a clock that was wrong.
    pub(in crate::qemu) fn age(&self) -> Option<Duration> {
        now().checked_sub(self.at).map(Duration::from_secs).filter(|age| *age < VALID)
    }
}

/// All answers that still hold.
#[derive(Debug)]
pub(in crate::qemu) struct Answers {
    path: PathBuf,
    all: Vec<Answer>,
}

impl Answers {
    /// A file that cannot be read, or of an older version, is no answer.
    pub(in crate::qemu) fn read(paths: &Paths) -> Self {
        let path = paths.cache.join(FOLDER).join(FILE);
        let text = std::fs::read(&path).unwrap_or_default();
        let mut all: Vec<Answer> = serde_json::from_slice(&text).unwrap_or_default();
        all.retain(|answer| answer.age().is_some());
        Self { path, all }
    }

    pub(in crate::qemu) fn of(&self, key: &Key) -> Option<&Answer> {
        self.all.iter().find(|answer| answer.key == *key)
    }

    /// Keeps an answer from now on, in the place of an older one.
    pub(in crate::qemu) fn learn(
        mut self,
        key: Key,
        works_with: Option<String>,
        why: String,
        paths: &Paths,
    ) -> Result<()> {
        self.all.retain(|answer| answer.key != key);
        self.all.push(Answer { key, works_with, why, at: now() });
        paths.cache_dir(FOLDER)?;
        self.write()
    }

    /// Every answer goes.
    pub(in crate::qemu) fn forget(mut self) -> Result<()> {
        self.all.clear();
        if self.path.exists() { self.write() } else { Ok(()) }
    }

    fn write(&self) -> Result<()> {
        write_whole(&self.path, &serde_json::to_vec_pretty(&self.all)?)
            .with_context(|| format!("write(`{}`) failed", self.path.display()))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        let text = |text: &str| text.to_owned();
        Key { qemu: text("7.2"), cpu_model: None, access: text("660"), boot_id: text("a") }
    }

    #[test]
    fn an_answer_is_for_this_qemu_model_access_and_boot_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let learn = |key, works_with| {
            Answers::read(&paths).learn(key, works_with, "so it was".into(), &paths).unwrap();
        };
        assert!(Answers::read(&paths).of(&key()).is_none());
        learn(key(), None);
        let others = [
            Key { qemu: "10.0".into(), ..key() },
            Key { cpu_model: Some("max".into()), ..key() },
            Key { access: "666".into(), ..key() },
            Key { boot_id: "b".into(), ..key() },
        ];
        for other in others {
            assert!(Answers::read(&paths).of(&other).is_none(), "{other:?}");
            learn(other, Some("max".into()));
        }
        let answers = Answers::read(&paths);
        assert_eq!(answers.all.len(), 5);
        assert_eq!(answers.of(&key()).unwrap().works_with, None);
        learn(key(), Some("host".into()));
        let answers = Answers::read(&paths);
        assert_eq!(answers.all.len(), 5, "a newer answer replaces the older one");
        assert_eq!(answers.of(&key()).unwrap().works_with.as_deref(), Some("host"));
        answers.forget().unwrap();
        assert!(Answers::read(&paths).all.is_empty());
    }

    #[test]
    fn an_answer_holds_for_a_day_and_one_of_the_future_never() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let day = VALID.as_secs();
        for (at, holds) in [(now() - day - 1, false), (now() - day + 60, true), (now() + 60, false)]
        {
            let answer = Answer { key: key(), works_with: None, why: String::new(), at };
            let text = serde_json::to_vec(&[answer]).unwrap();
            std::fs::write(paths.cache_dir(FOLDER).unwrap().join(FILE), text).unwrap();
            assert_eq!(Answers::read(&paths).of(&key()).is_some(), holds, "{at}");
        }
    }
}

//! What the kernel is to hold for the workers of a crew: how it comes to change, and what is so when
//! they are told to stop. Called by operations on the state; the check `applied` compares with it.

use super::action::Action;
use super::state::State;
use crate::scenario::Op;
use std::collections::BTreeSet;

/// What holds for a crew when it is told to stop.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ending {
    /// CPUs that its cgroup has.
    pub(crate) cpus: BTreeSet<usize>,
    /// NUMA nodes that its cgroup has, where they are not all.
    pub(crate) mems: Option<BTreeSet<usize>>,
    /// Whether it was so from its beginning on.
    pub(crate) steady: bool,
}

/// For each crew that runs, its cgroup and the CPUs of that.
type Pools = Vec<Option<(String, BTreeSet<usize>)>>;

impl State {
    /// A crew is made, and comes into its cgroup.
    pub(super) fn start(&self, crew: usize) -> Vec<Action> {
        let here = self.whereabouts[crew].as_deref();
        let keep = here.map(|at| Action::Keep { crew, cpus: self.effective(at), plugged: None });
        std::iter::once(Action::Start(crew)).chain(keep).collect()
    }

    /// What the kernel must be told again after `op`, done by `apply`.
    pub(super) fn keeping<E>(
        &mut self,
        op: &Op,
        apply: impl FnOnce(&mut Self) -> Result<Vec<Action>, E>,
    ) -> Result<Vec<Action>, E> {
        let plugged = match op {
            Op::CpuOffline(id) | Op::CpuOnline(id) => Some(*id),
            Op::SetCpuset { .. }
            | Op::ClearCpuset(_)
            | Op::SwapCpusets(_)
            | Op::MoveAllTasks { .. } => None,
            _ => return apply(self),
        };
        let before = self.pools();
        let mut actions = apply(self)?;
        for (crew, (was, is)) in before.into_iter().zip(self.pools()).enumerate() {
            if was == is {
                continue;
            }
            self.unsteady.insert(crew);
            actions.extend(is.map(|(_, cpus)| Action::Keep { crew, cpus, plugged }));
        }
        Ok(actions)
    }

    fn pools(&self) -> Pools {
        let pool = |at: &String| (at.clone(), self.effective(at));
        self.whereabouts.iter().map(|at| at.as_ref().map(pool)).collect()
    }

    /// A crew is about to be stopped.
    pub(super) fn end(&mut self, crew: usize) {
        let Some(at) = &self.whereabouts[crew] else { return };
        let ending = Ending {
            cpus: self.effective(at),
            mems: self.effective_mems(at),
            steady: !self.unsteady.contains(&crew),
        };
        self.ended.insert(crew, ending);
    }

    /// How each crew ends, in their order, when the run does.
    pub(super) fn endings(&mut self) -> Vec<Ending> {
        (0..self.crews.len()).for_each(|crew| self.end(crew));
        std::mem::take(&mut self.ended).into_values().collect()
    }
}

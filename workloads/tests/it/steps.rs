//! Steps of a run on this machine: how long each is held, whatever its operations take.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use workloads::{
    RunOptions, Scenario, SchedulerChoice, SchedulerKeeper, SwapRecord, Topology, run_under,
};

const OPERATION: Duration = Duration::from_millis(30);

/// Takes its time to start a scheduler.
struct Slow;

impl SchedulerKeeper for Slow {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn attend(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn swap(&mut self, _: Option<&SchedulerChoice>) -> Result<SwapRecord, String> {
        let began = Instant::now();
        while began.elapsed() < OPERATION {
            std::hint::spin_loop();
        }
        Ok(SwapRecord::default())
    }

    fn end(&mut self) {}
}

#[test]
fn every_step_is_held_as_long_as_it_says_however_slow_operations_are() {
    let text = r#"{"workload":{"num_workers":1},"steps":[
        {"hold":{"Time":"10ms"}},
        {"ops":[{"ReplaceScheduler":{}}],"hold":{"Time":"10ms"}},
        {"hold":{"Time":"15ms"}},
        {"ops":[{"ReplaceScheduler":{}}],"hold":{"Loop":{"interval":"10ms","time":"25ms"}}}]}"#;
    let scenario = Scenario::parse(text).unwrap();
    let plan = scenario.plan(&Topology::flat(1)).unwrap();
    let outcome = run_under(Some(&mut Slow), &scenario, &plan, &RunOptions::default(), &mut |_| ());
    assert_eq!(outcome.error, None);
    let steps = &outcome.record.steps;
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
    for (step, planned) in steps.iter().zip(&plan.steps) {
        let quiet_ns = step.held_ns - step.later_operations_ns;
        assert!(quiet_ns >= ns(planned.hold()), "{step:?}");
    }
    assert!(steps[1].operations_ns >= ns(OPERATION), "{steps:?}");
    let looped = &steps[3];
    assert_eq!((looped.rounds, steps.len()), (3, 4));
    assert!(looped.later_operations_ns >= 2 * ns(OPERATION), "{looped:?}");
    assert!(outcome.record.wall_time_ns >= ns(plan.length(&scenario) + 4 * OPERATION));
}

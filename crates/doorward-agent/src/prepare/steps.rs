//! One step, within its limit.

use super::plan::{Deed, Step};
use super::{command, hook};
use std::time::Duration;
use tokio::time::timeout;

/// The error is for the owner.
pub(super) async fn run(step: &Step) -> Result<(), String> {
    let doing = async {
        match &step.deed {
            Deed::Wake(wake) => {
                wake.send().await.map_err(|error| format!("the packet for {} cannot be sent: {error}", wake.mac))
            }
            Deed::Hook(hook) => hook::ask(hook).await,
            Deed::Command(command) => command::run(command).await,
        }
    };
    timeout(step.limit, doing).await.unwrap_or_else(|_| Err(too_long(step.limit)))
}

fn too_long(limit: Duration) -> String {
    format!("it was not done within {} s", limit.as_secs_f32())
}

/// Further magic packets do no harm, and one may have been lost.
pub(super) async fn wake_again(steps: &[Step]) {
    for step in steps {
        match &step.deed {
            Deed::Wake(wake) => drop(wake.send().await),
            Deed::Hook(_) | Deed::Command(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Command;
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn a_step_ends_with_its_limit() {
        let command = Command { program: "/bin/sleep".into(), arguments: vec!["60".into()] };
        let step = Step { deed: Deed::Command(command), title: None, limit: Duration::from_millis(300) };
        let started = Instant::now();
        let error = run(&step).await.unwrap_err();
        assert!(error.contains("not done within 0.3 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}

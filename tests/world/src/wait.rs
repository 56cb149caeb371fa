use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const STEP: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it holds, at most for `limit`; answers how long that took.
///
/// An error from `condition` counts as "not yet"; the last one is told when the limit has passed.
pub fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let answer = condition();
        let elapsed = start.elapsed();
        match answer {
            Ok(true) => return Ok(elapsed),
            Ok(false) if elapsed >= limit => bail!("not within {limit:?}: {what}"),
            Err(error) if elapsed >= limit => return Err(error.context(format!("not within {limit:?}: {what}"))),
            Ok(false) | Err(_) => thread::sleep(STEP.min(limit)),
        }
    }
}

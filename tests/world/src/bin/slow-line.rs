//! A slow, lossy, long line between two network namespaces.
//!
//! ```text
//! slow-line /run/netns/a:eth0 /run/netns/b:eth0 delay 25ms rate 12500000 queue 640000 loss 0.005
//! ```
//!
//! makes a TUN interface at each end and says `ready`. Then give both addresses and `txqueuelen 10000`, and set them
//! up. It reads commands from standard input, one line each, and answers each with one line: `ok`, counters, or what is
//! wrong. It ends with its standard input.
//!
//! Commands: `delay 50ms loss 0.02 …` (both directions, or only one after `up`, left to right, or `down`), `cut`,
//! `mend`, `stats`. The latter answers, per direction, the packets and bytes carried, and the packets lost and
//! overflowed: `up 10 840 0 0 down 10 840 0 0`.

use std::env;
use std::io::{self, BufRead};
use std::path::Path;

use anyhow::{Context, Result};
use doorward_world::{Conditions, Emulator};

const USAGE: &str = "usage: slow-line NAMESPACE:INTERFACE NAMESPACE:INTERFACE [delay 25ms] [jitter 5ms] [loss 0.01] \
                     [rate BYTES_PER_SECOND] [queue BYTES]";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [left, right, words @ ..] = arguments.as_slice() else { anyhow::bail!(USAGE) };
    let (left, right) = (left.rsplit_once(':').context(USAGE)?, right.rsplit_once(':').context(USAGE)?);
    let conditions = Conditions::new().apply(words.iter().map(String::as_str)).context(USAGE)?;
    let emulator = Emulator::start((Path::new(left.0), left.1), (Path::new(right.0), right.1), conditions)?;
    println!("ready");
    for command in io::stdin().lock().lines() {
        match emulator.obey(&command?) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(())
}

//! `[cameras]`: how the cameras of this device are read, each of them.

use super::file::Fault;
use doorward_core::span::parse_span;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraRhythm {
    /// How long a camera is read on after its last viewer left: browsers reload.
    pub linger: Duration,
    /// From one picture to the next, where a camera has no stream.
    pub every: Duration,
}

const LINGERS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// Pictures a second. Who sees none for longer than the first stands for takes the camera for stalled.
const RATES: RangeInclusive<f64> = 0.2..=20.0;

impl Default for CameraRhythm {
    fn default() -> Self {
        Self { linger: doorward_frames::demand::LINGER, every: Duration::from_millis(200) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CamerasTable {
    linger: Option<Spanned<String>>,
    pictures_per_second: Option<Spanned<f64>>,
}

impl CamerasTable {
    pub(super) fn read(self) -> Result<CameraRhythm, Fault> {
        let usual = CameraRhythm::default();
        Ok(CameraRhythm {
            linger: self.linger.map(linger).transpose()?.unwrap_or(usual.linger),
            every: self.pictures_per_second.map(every).transpose()?.unwrap_or(usual.every),
        })
    }
}

fn linger(given: Spanned<String>) -> Result<Duration, Fault> {
    let read = parse_span(given.get_ref()).map_err(|why| Fault::new(&given.span(), why))?;
    let read = Duration::try_from(read).ok().filter(|read| LINGERS.contains(read));
    read.ok_or_else(|| Fault::new(&given.span(), format!("{} is not from 1s to 60s", given.get_ref())))
}

fn every(given: Spanned<f64>) -> Result<Duration, Fault> {
    let rate = *given.get_ref();
    let refuse = || Fault::new(&given.span(), "this is a number from 0.2 to 20");
    if RATES.contains(&rate) { Ok(Duration::from_secs_f64(1.0 / rate)) } else { Err(refuse()) }
}

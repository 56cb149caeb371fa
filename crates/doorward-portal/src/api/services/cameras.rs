//! How the cameras of a service do, for whoever may look at them.

use doorward_control::{CameraPlace, CameraSeen, Presence, ServiceRecord};
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use schemars::JsonSchema;
use serde::Serialize;

/// Over the last second. While nobody looks, nothing comes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CameraBody {
    /// `null`: the service itself is the camera.
    mount: Option<PathPrefix>,
    viewers: u32,
    /// As they come from the device, whoever looks.
    frames_per_second: f64,
    kilobytes_per_second: f64,
    /// Of the newest picture, in seconds.
    age: Option<f64>,
    /// Of the newest picture.
    width: Option<u16>,
    height: Option<u16>,
    live: bool,
    /// What whoever reads the camera says of it.
    words: String,
    /// What it does wrong and was mended, and how often; for whoever manages it.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<String>,
}

/// `is_theirs`: what a camera does wrong is for whoever has the device.
pub(super) fn cameras(presence: &Presence, record: &ServiceRecord, is_theirs: bool) -> Vec<CameraBody> {
    let service = &record.service;
    let own = (service.kind == ServiceKind::Camera).then_some(None);
    let mounted = service.web.mounts.iter().filter(|mount| mount.camera).map(|mount| Some(mount.path.clone()));
    let places = own.into_iter().chain(mounted).map(|mount| CameraPlace { service: service.id, mount });
    places.map(|place| CameraBody::of(presence.camera(&place), place.mount, is_theirs)).collect()
}

impl CameraBody {
    fn of(seen: Option<CameraSeen>, mount: Option<PathPrefix>, is_theirs: bool) -> Self {
        let figure = |of: fn(&CameraSeen) -> f64| seen.as_ref().map_or(0.0, |seen| rounded(of(seen)));
        let size = seen.as_ref().and_then(|seen| seen.size);
        Self {
            mount,
            viewers: seen.as_ref().map_or(0, |seen| seen.viewers),
            frames_per_second: figure(|seen| seen.frames_per_second),
            kilobytes_per_second: figure(|seen| seen.bytes_per_second as f64 / 1000.0),
            age: seen.as_ref().and_then(|seen| seen.age).map(|age| rounded(age.as_secs_f64())),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            live: seen.as_ref().is_some_and(|seen| seen.is_live),
            words: seen.as_ref().map(|seen| seen.words.clone()).unwrap_or_default(),
            faults: seen.filter(|_| is_theirs).map(|seen| seen.faults),
        }
    }
}

/// To a tenth.
fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

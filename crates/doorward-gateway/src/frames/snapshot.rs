//! One picture of a camera. It comes from the copy that all look at, if that is new enough; else the camera is read for one
//! frame, and whoever asks meanwhile gets the same.

use super::image::{Blind, first, head};
use super::upstream::FRESH;
use super::{Crowded, Frames, Key};
use crate::admit::Admitted;
use crate::web::{Body, body};
use doorward_frames::pace::Caps;
use doorward_frames::slot::Frame;
use http::Response;

/// Enough for one, whatever the others want.
const GLANCE: Caps = Caps { frames_per_second: Some(1.0), kilobits_per_second: None };

impl Frames {
    /// The decision is theirs alone; the picture may be shared.
    pub(super) async fn glance(&self, key: Key, admitted: Admitted) -> Result<Response<Body>, Blind> {
        let viewer = self.look(key, admitted, GLANCE).map_err(|Crowded| Blind::TooLate)?;
        let Frame { picture, .. } = first(&viewer, Some(FRESH)).await?;
        viewer.passed(picture.jpeg.len());
        viewer.admitted.presence.ends("finished");
        Ok(head("image/jpeg", body(picture.jpeg)))
    }
}

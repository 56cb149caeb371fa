//! One picture of a camera. It comes from the copy that all look at, if that is new enough; else the camera is read for one
//! frame, and whoever asks meanwhile gets the same.

use super::image::{Blind, first, head};
use super::upstream::FRESH;
use super::{Crowded, Frames, Key};
use crate::admit::Admitted;
use crate::live::Presence;
use crate::web::{Body, body};
use doorward_frames::Picture;
use doorward_frames::pace::Caps;
use doorward_frames::slot::Frame;
use http::Response;
use std::sync::atomic::Ordering;

/// Enough for one, whatever the others want.
const GLANCE: Caps = Caps { frames_per_second: Some(1.0), kilobits_per_second: None };

impl Frames {
    /// The decision is theirs alone; the picture may be shared.
    pub(super) async fn glance(&self, key: Key, admitted: Admitted) -> Result<Response<Body>, Blind> {
        let (presence, picture) = match self.newest(&key) {
            Some(Frame { picture, .. }) => (admitted.presence, picture),
            None => return self.fetch(key, admitted).await,
        };
        Ok(shown(&presence, picture))
    }

    /// Where there is one that is new enough, nobody need ask for it.
    fn newest(&self, key: &Key) -> Option<Frame> {
        let newest = self.0.cameras().get(key)?.slot.newest();
        newest.filter(|frame| frame.captured.elapsed() <= FRESH)
    }

    async fn fetch(&self, key: Key, admitted: Admitted) -> Result<Response<Body>, Blind> {
        let viewer = self.look(key, admitted, GLANCE).map_err(|Crowded| Blind::TooLate)?;
        let Frame { picture, .. } = first(&viewer, Some(FRESH)).await?;
        Ok(shown(&viewer.admitted.presence, picture))
    }
}

fn shown(presence: &Presence, picture: Picture) -> Response<Body> {
    presence.traffic().down.fetch_add(picture.jpeg.len() as u64, Ordering::Relaxed);
    presence.ends("finished");
    head("image/jpeg", body(picture.jpeg))
}

//! What a request to a camera asks for. Only what pages and programs are known to ask of cameras is understood.

use doorward_core::names::PathPrefix;
use doorward_core::service::{Service, WebRoute};
use http::Uri;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Stream,
    Picture,
}

/// A camera, and what follows its own path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct At<'u> {
    pub(crate) mount: Option<PathPrefix>,
    pub(crate) rest: &'u str,
}

/// `None`: what stands at this path of the service is no camera.
pub(crate) fn camera_at<'u>(service: &Service, route: &WebRoute, path: &'u str) -> Option<At<'u>> {
    let own = match &route.prefix {
        Some(prefix) => prefix.remainder(path).unwrap_or_default(),
        None => path.strip_prefix('/').unwrap_or(path),
    };
    let mount = service.web.mount(&format!("/{own}"));
    if !service.is_camera(mount) {
        return None;
    }
    let rest = match mount {
        Some(mount) => {
            // `own` without its first slash is what the mount's path is without its own.
            let bare = mount.path.as_str().trim_matches('/');
            own.strip_prefix(bare).map_or("", |rest| rest.strip_prefix('/').unwrap_or(rest))
        }
        None => own,
    };
    Some(At { mount: mount.map(|mount| mount.path.clone()), rest })
}

impl Asked {
    /// `rest`: what follows the camera's own path, without its first slash.
    pub(crate) fn of(rest: &str, uri: &Uri) -> Option<Self> {
        let mut actions = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        if let Some((_, action)) = actions.find(|(key, _)| key == "action") {
            return match &*action {
                "snapshot" => Some(Self::Picture),
                "stream" => Some(Self::Stream),
                _ => None,
            };
        }
        let last = rest.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let ends = |with: &[&str]| with.iter().any(|end| last.ends_with(end));
        if ends(&["snapshot", ".jpg", ".jpeg"]) {
            Some(Self::Picture)
        } else if last.is_empty() || ends(&["stream", ".mjpg", ".mjpeg"]) {
            Some(Self::Stream)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cameras_are_known_to_be_asked_for() {
        let (stream, picture) = (Some(Asked::Stream), Some(Asked::Picture));
        let table = [
            ("/", stream),
            ("/?x=1", stream),
            ("/?action=stream", stream),
            ("/?action=stream&t=17", stream),
            ("/?action=snapshot", picture),
            ("/?action=command", None),
            ("/stream", stream),
            ("/stream.mjpg", stream),
            ("/video.mjpeg", stream),
            ("/snapshot", picture),
            ("/snapshot?n=3", picture),
            ("/cam.jpg", picture),
            ("/a/Current.JPEG", picture),
            ("/favicon.ico", None),
            ("/index.html", None),
            ("/a", None),
        ];
        for (path, expected) in table {
            let uri: Uri = path.parse().unwrap();
            let rest = uri.path().strip_prefix('/').unwrap().to_owned();
            assert_eq!(Asked::of(&rest, &uri), expected, "{path}");
        }
    }
}

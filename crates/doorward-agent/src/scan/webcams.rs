//! Where an application's own settings say that its cameras are. Klipper's are asked of Moonraker, OctoPrint's are read from
//! its file, where it runs on this machine and this user may read it.

use super::recognise::Kind;
use super::{ANSWER_LIMIT, CONNECT_LIMIT, Found, questions};
use crate::target::Target;
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A camera that belongs below its application's own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webcam {
    /// As `camera+http://127.0.0.1:8080/?action=stream`.
    pub target: String,
    pub path: PathPrefix,
    /// The application sends browsers to an address that only its own network reaches: what to change there.
    pub remedy: Option<String>,
}

const MOONRAKER_LIST: &str = "/server/webcams/list";
const OCTOPRINT_FILE: &str = ".octoprint/config.yaml";
const LARGEST_FILE: u64 = 1024 * 1024;
/// Where applications look for a camera unless they were told otherwise.
const USUAL: &str = "/webcam/";
const MOST: usize = 8;

/// Of what was found: the cameras that it knows.
pub async fn webcams_of(found: &Found) -> Vec<Webcam> {
    let mut webcams = match found.kind {
        Kind::Mainsail | Kind::Fluidd => of_moonraker(found.at).await,
        Kind::OctoPrint if found.at.ip().is_loopback() => of_octoprint(found.at).await,
        Kind::OctoPrint
        | Kind::Moonraker
        | Kind::HomeAssistant
        | Kind::Jupyter
        | Kind::Camera
        | Kind::MjpgStreamer
        | Kind::UStreamer
        | Kind::RtspCamera => Vec::new(),
    };
    let mut paths = std::collections::BTreeSet::new();
    webcams.retain(|webcam| paths.insert(webcam.path.to_string()));
    webcams.truncate(MOST);
    webcams
}

async fn of_moonraker(at: SocketAddr) -> Vec<Webcam> {
    let asking = async {
        let socket = timeout(CONNECT_LIMIT, TcpStream::connect(at)).await.ok()?.ok()?;
        questions::request(socket, at, MOONRAKER_LIST).await
    };
    let answer = timeout(ANSWER_LIMIT, asking).await.ok().flatten();
    answer.map(|answer| in_moonrakers_list(&answer.body, at)).unwrap_or_default()
}

#[derive(Deserialize)]
struct Listed {
    result: Webcams,
}

#[derive(Deserialize)]
struct Webcams {
    webcams: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    service: String,
    #[serde(default)]
    stream_url: String,
    #[serde(default)]
    snapshot_url: String,
}

fn yes() -> bool {
    true
}

fn in_moonrakers_list(body: &str, at: SocketAddr) -> Vec<Webcam> {
    let Ok(Listed { result: Webcams { webcams } }) = serde_json::from_str(body) else { return Vec::new() };
    let webcam = |entry: Entry| {
        // Others (WebRTC, HLS) are no pictures, but have one for timelapses.
        let is_pictures = entry.service.contains("mjpeg") || ["ipstream", ""].contains(&entry.service.as_str());
        let url = if is_pictures { &entry.stream_url } else { &entry.snapshot_url };
        webcam(url, "", at, "Settings, Webcams, URL Stream")
    };
    webcams.into_iter().filter(|entry| entry.enabled).filter_map(webcam).collect()
}

async fn of_octoprint(at: SocketAddr) -> Vec<Webcam> {
    let reading = tokio::task::spawn_blocking(|| {
        let homes = std::fs::read_dir("/home").into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        let own = std::env::var_os("HOME").map(std::path::PathBuf::from);
        own.into_iter().chain(homes).find_map(|home| read_settings(&home.join(OCTOPRINT_FILE)))
    });
    let settings = reading.await.ok().flatten();
    settings.and_then(|settings| in_octoprints_file(&settings, at)).into_iter().collect()
}

fn read_settings(file: &Path) -> Option<String> {
    let is_small = std::fs::metadata(file).ok()?.len() <= LARGEST_FILE;
    is_small.then(|| std::fs::read_to_string(file).ok()).flatten()
}

/// YAML that OctoPrint writes itself: one key and its value in a line.
fn in_octoprints_file(settings: &str, at: SocketAddr) -> Option<Webcam> {
    let value = |key: &str| {
        let values = settings.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
        let mut values = values.map(|value| value.trim().trim_matches(['\'', '"']));
        values.find(|value| value.starts_with("http") || value.starts_with('/'))
    };
    webcam(value("stream")?, value("snapshot").unwrap_or_default(), at, "Settings, Classic Webcam, Stream URL")
}

/// `at`: the application's own address, below which a path of its is.
fn webcam(stream: &str, snapshot: &str, at: SocketAddr, setting: &str) -> Option<Webcam> {
    let is_whole = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    let usual = || PathPrefix::parse(USUAL).expect("a constant path");
    let (target, path, remedy) = if is_whole(stream) {
        let remedy = format!("{setting}: {stream} is reached from its own network alone, write {USUAL}?action=stream");
        (format!("camera+{stream}"), usual(), Some(remedy))
    } else if stream.starts_with('/') {
        let folder = stream.split('?').next()?.rsplit_once('/')?.0;
        let path = PathPrefix::parse(&format!("{folder}/")).unwrap_or_else(|_| usual());
        // Its own web server may be another than the one that has the camera.
        let target = match is_whole(snapshot) {
            true => format!("camera+{}", snapshot.replace("action=snapshot", "action=stream")),
            false => format!("camera+http://{at}{stream}"),
        };
        (target, path, None)
    } else {
        return None;
    };
    let is_camera = Target::parse(&target).is_ok_and(|target| target.kind() == ServiceKind::Camera);
    let is_plain = target.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
    (is_camera && is_plain).then_some(Webcam { target, path, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> SocketAddr {
        "127.0.0.1:80".parse().unwrap()
    }

    fn seen(webcam: &Webcam) -> (&str, &str, bool) {
        (&webcam.target, webcam.path.as_str(), webcam.remedy.is_some())
    }

    #[test]
    fn octoprints_own_file_says_where_its_camera_is() {
        let octopi = "plugins:\n  classicwebcam:\n    _config_version: 1\n    snapshot: http://127.0.0.1:8080/?action=snapshot\n\
                      \x20   stream: /webcam/?action=stream\n    streamRatio: '4:3'\nserver:\n  firstRun: false\n";
        let webcam = in_octoprints_file(octopi, at()).unwrap();
        assert_eq!(seen(&webcam), ("camera+http://127.0.0.1:8080/?action=stream", "/webcam/", false));
        let of_lan = octopi.replace("/webcam/?action=stream", "'http://192.168.3.90:8080/stream'");
        let webcam = in_octoprints_file(&of_lan, at()).unwrap();
        assert_eq!(seen(&webcam), ("camera+http://192.168.3.90:8080/stream", "/webcam/", true));
        let remedy = webcam.remedy.unwrap();
        assert!(remedy.contains("Stream URL") && remedy.contains("write /webcam/?action=stream"), "{remedy}");
        for none in ["", "webcam:\n  stream: ''\n", "stream: rtsp://10.0.0.1/", "stream: http://a b/", "stream: /a\"b/"]
        {
            assert_eq!(in_octoprints_file(none, at()), None, "{none}");
        }
    }

    #[test]
    fn moonrakers_list_says_where_klippers_cameras_are() {
        let list = r#"{"result": {"webcams": [
            {"name": "Bed", "service": "mjpegstreamer-adaptive", "enabled": true,
             "stream_url": "/webcam/?action=stream", "snapshot_url": "/webcam/?action=snapshot"},
            {"name": "Nozzle", "service": "mjpegstreamer", "stream_url": "http://192.168.3.90/stream", "snapshot_url": ""},
            {"name": "New", "service": "webrtc-camerastreamer", "stream_url": "/webcam3/webrtc",
             "snapshot_url": "/webcam3/snapshot"},
            {"name": "Off", "service": "mjpegstreamer", "enabled": false, "stream_url": "/webcam4/"}]}}"#;
        let webcams = in_moonrakers_list(list, at());
        let expected = [
            ("camera+http://127.0.0.1:80/webcam/?action=stream", "/webcam/", false),
            ("camera+http://192.168.3.90/stream", "/webcam/", true),
            ("camera+http://127.0.0.1:80/webcam3/snapshot", "/webcam3/", false),
        ];
        assert_eq!(webcams.iter().map(seen).collect::<Vec<_>>(), expected);
        for none in ["", "{}", r#"{"error": {"code": 401}}"#, r#"{"result": {"webcams": [{}]}}"#] {
            assert_eq!(in_moonrakers_list(none, at()), [], "{none}");
        }
    }
}

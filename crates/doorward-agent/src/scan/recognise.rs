//! By what an application is told, from what it answers to whoever asks.

/// What could be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    OctoPrint,
    Mainsail,
    Fluidd,
    Moonraker,
    HomeAssistant,
    Jupyter,
    /// Pictures one after another over HTTP (MJPEG), from its first path on.
    Camera,
    MjpgStreamer,
    UStreamer,
    RtspCamera,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Self::OctoPrint => "OctoPrint",
            Self::Mainsail => "Klipper (Mainsail)",
            Self::Fluidd => "Klipper (Fluidd)",
            Self::Moonraker => "Klipper (Moonraker)",
            Self::HomeAssistant => "Home Assistant",
            Self::Jupyter => "Jupyter",
            Self::Camera | Self::MjpgStreamer | Self::UStreamer => "Camera",
            Self::RtspCamera => "Camera (RTSP)",
        }
    }

    /// Of its service, unless it is called otherwise.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OctoPrint => "octoprint",
            Self::Mainsail => "mainsail",
            Self::Fluidd => "fluidd",
            Self::Moonraker => "moonraker",
            Self::HomeAssistant => "home-assistant",
            Self::Jupyter => "jupyter",
            Self::Camera | Self::MjpgStreamer | Self::UStreamer | Self::RtspCamera => "camera",
        }
    }

    pub fn preset(self) -> Option<&'static str> {
        match self {
            Self::OctoPrint => Some("octoprint"),
            Self::Mainsail | Self::Fluidd => Some("mainsail"),
            Self::HomeAssistant => Some("home-assistant"),
            Self::Jupyter => Some("jupyter"),
            Self::Moonraker | Self::Camera | Self::MjpgStreamer | Self::UStreamer | Self::RtspCamera => None,
        }
    }

    /// Where what usually listens on this port says what it is, if its first page does not.
    pub(super) fn telling_path(port: u16) -> Option<&'static str> {
        match port {
            7125 => Some(MOONRAKER),
            8888 | 8889 => Some(JUPYTER),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) server: String,
    pub(super) content_type: String,
    pub(super) location: String,
    /// Its beginning.
    pub(super) body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Known(Kind),
    /// It sends elsewhere within itself, once.
    Ask(String),
    Unknown,
}

const MOONRAKER: &str = "/server/info";
const JUPYTER: &str = "/api";
const MOST_PATH: usize = 200;

impl Answer {
    pub(super) fn is_stream(&self) -> bool {
        self.content_type.starts_with("multipart/x-mixed-replace")
    }

    fn title(&self) -> &str {
        let begins = self.body.find("<title").and_then(|at| Some(at + self.body[at..].find('>')? + 1));
        let title = begins.and_then(|at| self.body[at..].split("</title").next());
        title.unwrap_or_default().trim()
    }
}

/// By what stands at `/`.
pub(super) fn by_page(answer: &Answer) -> Next {
    if let Some(kind) = kind_of_page(answer) {
        return Next::Known(kind);
    }
    let is_redirect = (300..400).contains(&answer.status);
    let path = answer.location.split('#').next().unwrap_or_default();
    let is_local = path.starts_with('/') && !path.starts_with("//") && path.len() <= MOST_PATH;
    if is_redirect && is_local { Next::Ask(path.to_owned()) } else { Next::Unknown }
}

/// By what stands at a path that was asked for on purpose, or where we were sent.
pub(super) fn by_path(path: &str, answer: &Answer) -> Option<Kind> {
    match path {
        // {"result": {"klippy_connected": …}}; where it wants a key, its own form of error.
        MOONRAKER => {
            let is_moonraker = answer.body.contains("\"klippy_connected\"")
                || (answer.status == 401
                    && answer.body.contains("\"error\"")
                    && answer.body.contains("\"Unauthorized\""));
            is_moonraker.then_some(Kind::Moonraker)
        }
        // {"version": "2.14.1"}, to whoever asks.
        JUPYTER => {
            (answer.server.contains("TornadoServer") && answer.body.contains("\"version\"")).then_some(Kind::Jupyter)
        }
        _ => kind_of_page(answer),
    }
}

fn kind_of_page(answer: &Answer) -> Option<Kind> {
    let title = answer.title();
    if answer.is_stream() {
        return Some(Kind::Camera);
    }
    if answer.server.starts_with("MJPG-Streamer") {
        return Some(Kind::MjpgStreamer);
    }
    match title {
        "uStreamer" => Some(Kind::UStreamer),
        "Mainsail" => Some(Kind::Mainsail),
        "fluidd" | "Fluidd" => Some(Kind::Fluidd),
        "Home Assistant" => Some(Kind::HomeAssistant),
        // "OctoPrint", "OctoPrint Login", "Name [OctoPrint]".
        title if title.contains("OctoPrint") => Some(Kind::OctoPrint),
        _ => None,
    }
}

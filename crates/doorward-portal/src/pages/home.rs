//! The dashboard: what a person may use, what stands open for them, and their devices.

use super::device::{DeviceTile, Link};
use super::frame::{Frame, onward, onward_to, page};
use super::opening::Length;
use super::tile::{Lapses, Standing, Tile};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Problem};
use crate::asker::Asker;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::response::Response;
use doorward_control::{Reach, SessionError, SessionRequest};
use doorward_core::ServiceId;
use doorward_core::access::Proof;
use doorward_core::authority::Action;
use doorward_core::web::LocalPath;
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    now: Timestamp,
    tiles: Vec<Tile>,
    devices: Vec<DeviceTile>,
    find: String,
    /// Whether there is so much that one looks for it.
    is_long: bool,
    /// Where there are more of them.
    more: Option<String>,
    adds_devices: bool,
    /// Whether there is more than one that could be seen side by side.
    has_cameras: bool,
}

/// What of it is wanted.
#[derive(Deserialize)]
pub(super) struct Look {
    find: Option<String>,
    show: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Press {
    #[serde(flatten)]
    length: Length,
    /// On to the service itself, where a browser can.
    go: Option<String>,
}

/// Tiles of each kind at once.
const USUAL: usize = 50;
const MOST: usize = 10_000;

pub(super) async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    Asked(look): Asked<Look>,
) -> Result<Response, Problem> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let find = look.find.unwrap_or_default().trim().to_lowercase();
    let is_wanted = |name: &str, title: &str| {
        find.is_empty() || name.to_lowercase().contains(&find) || title.to_lowercase().contains(&find)
    };
    let shown = look.show.unwrap_or(USUAL).clamp(1, MOST);
    let mut services: Vec<_> = snapshot.services_naming(&signed_in.person).collect();
    services.retain(|record| is_wanted(&record.service.path(), &record.service.title));
    services.sort_by_cached_key(|record| record.service.path());
    let asker = Asker::at_any_page(&signed_in, Action::ListDevices);
    let whose = (!asker.sees_everything()).then_some(signed_in.person.id);
    let devices = snapshot.devices_after(whose, None).filter(|device| {
        device.revoked_at.is_none() && asker.gets_at_device(device) && is_wanted(device.name.as_str(), &device.title)
    });
    // One more, to know whether there are more.
    let devices: Vec<_> = devices.take(shown + 1).collect();
    let longest = services.len().max(devices.len());
    let mut lapses = Lapses::of(&state, &signed_in).await?;
    let tiles = services.iter().filter_map(|record| Tile::of(&state, &signed_in, record, &mut lapses, source));
    let tiles: Vec<_> = tiles.take(shown).collect();
    let has_cameras = tiles.iter().map(|tile| tile.cameras.len()).sum::<usize>() > 1;
    let devices = devices.iter().take(shown).map(|device| DeviceTile::of(&state, device)).collect();
    let query = [("find", find.clone()), ("show", (shown + USUAL).to_string())];
    let query = serde_urlencoded::to_string(query).expect("text is always encodable");
    let more = (longest > shown).then(|| format!("/?{query}"));
    let is_long = more.is_some() || !find.is_empty() || longest > USUAL / 4;
    let adds_devices = Asker::at_page(&signed_in, Action::CreateInvite).is_ok();
    Ok(page(&Home { frame, now, tiles, devices, find, is_long, more, adds_devices, has_cameras }))
}

/// Opens a session, or makes the one that is open longer.
pub(super) async fn open(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(service): At<i64>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let (now, service) = ((state.clock)(), ServiceId(service));
    let request = SessionRequest {
        account: signed_in.person.id,
        service,
        length: press.length.read(now)?,
        source: source.0,
        id: None,
        proofs: vec![Proof::Login(signed_in.login.id)],
    };
    match state.control.open_session(request, now).await {
        Ok(_) => Ok(match page_of(&state, service).filter(|_| press.go.is_some()) {
            Some(url) => onward_to(frame, url),
            None => onward(frame, LocalPath::root()),
        }),
        // What there is, and what is not for them, looks the same.
        Err(SessionError::Refused(_) | SessionError::Unknown(_)) => Ok(super::door::nothing(frame)),
        Err(error) => super::approvals::instead(&state, frame, error),
    }
}

/// Where browsers find it.
fn page_of(state: &PortalState, service: ServiceId) -> Option<String> {
    let record = state.control.snapshot().service_record(service)?;
    let reached = state.control.reach(&record);
    reached.iter().find(|reach| matches!(reach, Reach::Web { .. } | Reach::Tls { .. })).map(ToString::to_string)
}

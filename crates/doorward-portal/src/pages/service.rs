//! The page of one service: how it is reached, to be pressed, copied or scanned, and for how long.

use super::door::nothing;
use super::frame::{Frame, page};
use super::qr::picture;
use super::tile::{Lapses, Standing, Tile};
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use askama::Template;
use axum::response::Response;
use doorward_core::ServiceId;
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage {
    frame: Frame,
    now: Timestamp,
    tile: Tile,
    ways: Vec<Way>,
}

struct Way {
    text: String,
    is_link: bool,
    /// A QR code.
    picture: Option<String>,
}

pub(super) async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(id): At<i64>,
) -> Result<Response, Problem> {
    let Some(record) = state.control.snapshot().service_record(ServiceId(id)) else { return Ok(nothing(frame)) };
    let mut lapses = Lapses::of(&state, &signed_in).await?;
    let tile = Tile::of(&state, &signed_in, &record, &mut lapses, source);
    let Some(tile) = tile else { return Ok(nothing(frame)) };
    let way = |text: &String, is_link| Way { text: text.clone(), is_link, picture: picture(text) };
    let links = tile.links.iter().map(|link| way(link, true));
    let places = tile.own_lines().iter().chain(&tile.places);
    let ways = links.chain(places.map(|place| way(place, false))).collect();
    Ok(page(&ServicePage { frame, now: (state.clock)(), tile, ways }))
}

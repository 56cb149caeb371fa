//! Links as pictures, for a phone's camera: dark on light whatever the page's colours.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

/// `None`: it is too long for one.
pub(super) fn picture(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(220, 220).quiet_zone(true).build();
    image.find("<svg").and_then(|from| image.get(from..)).map(str::to_owned)
}

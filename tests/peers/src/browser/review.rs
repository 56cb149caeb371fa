//! Whether people can read a page: on a phone and on a desk, by day and by night.

use super::{Browser, TO_ANSWER};
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use serde_json::json;
use std::path::Path;

const SIZES: [(u32, u32); 2] = [(390, 844), (1280, 800)];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// A folder for a picture of every reviewed page, if somebody wants to look, too.
const PICTURES: &str = "DOORWARD_PICTURES";

impl Browser {
    /// Finds whatever keeps the open page from being read, in every size and colour scheme. `name` is for the report.
    pub fn review(&mut self, name: &str) -> Result<()> {
        self.until(TO_ANSWER, "document.readyState === 'complete'")?;
        let mut complaints = Vec::new();
        for (width, height) in SIZES {
            for scheme in SCHEMES {
                self.look(width, height, scheme)?;
                let found = self.evaluate(include_str!("review.js"))?;
                let found = found.as_array().context("a list of complaints")?;
                complaints.extend(found.iter().map(|complaint| format!("{width}, {scheme}: {complaint}")));
                if let Some(folder) = std::env::var_os(PICTURES) {
                    self.take_picture(&Path::new(&folder).join(format!("{name}-{width}-{scheme}.png")))?;
                }
            }
        }
        ensure!(complaints.is_empty(), "{name}:\n{}", complaints.join("\n"));
        Ok(())
    }

    fn look(&mut self, width: u32, height: u32, scheme: &str) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        Ok(())
    }

    fn take_picture(&mut self, path: &Path) -> Result<()> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.ask("Page.captureScreenshot", wanted)?;
        let picture = picture["data"].as_str().context("a picture")?;
        Ok(std::fs::write(path, BASE64.decode(picture.as_bytes())?)?)
    }
}

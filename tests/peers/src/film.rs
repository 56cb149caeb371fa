//! A camera whose pictures say which they are: what a browser shows is read from its own pixels.

use crate::browser::Browser;
use anyhow::{Context, Result};
use doorward_world::{Node, Process, Program};

pub const WIDTH: u32 = 640;

/// A test picture under which a strip of 16 boxes counts the frames, the lowest bit first.
const FILM: &str = "testsrc=s=640x320:r=10,format=yuv420p[a];nullsrc=s=640x40:r=10,format=gray,\
    geq=lum='255*mod(floor(N/pow(2\\,floor(X/40)))\\,2)',format=yuv420p[b];[a][b]vstack";

/// The same in the browser, of whatever can be drawn: the number of the frame that is shown.
pub const READ: &str = "const read = (what) => { const canvas = document.createElement('canvas'); canvas.width = 640; canvas.height = 360;
    const context = canvas.getContext('2d'); context.drawImage(what, 0, 0, 640, 360);
    return [...Array(16).keys()].reduce((sum, bit) => sum + (context.getImageData(40 * bit + 20, 340, 1, 1).data[0] > 127 ? 2 ** bit : 0), 0); };";

/// Serves it at all addresses of the node. ffmpeg takes one reader, and ends with it: then it begins anew.
pub fn film(node: &Node, port: u16) -> Result<Process> {
    let each = format!(
        "ffmpeg -hide_banner -loglevel error -re -f lavfi -i \"$FILM\" -q:v 5 -f mpjpeg -listen 1 http://0.0.0.0:{port}/"
    );
    node.spawn(&Program::new("sh").args(["-c", &format!("while :; do {each}; sleep 0.2; done")]).env("FILM", FILM))
}

/// The frame that this element of the page shows.
pub fn number(browser: &mut Browser, of: &str) -> Result<u64> {
    let read = browser.evaluate(&format!("(() => {{ {READ} return read({of}); }})()"))?;
    read.as_u64().with_context(|| format!("{read} is no number"))
}

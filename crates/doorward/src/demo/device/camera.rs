//! The camera: a pixel picture of the printer at work, with a clock and the frame's number, so that one can see at
//! arm's length whether frames come, come in time, and come in order.

use super::jpeg::{self, Picture};
use super::printer::State;

pub(super) const FRAMES_PER_SECOND: u32 = 5;
/// Between the parts of the endless answer.
pub(super) const BOUNDARY: &str = "frame";

const WIDTH: usize = 96;
const HEIGHT: usize = 54;

type Colour = [u8; 3];
const WALL: Colour = [27, 36, 40];
const FLOOR: Colour = [20, 27, 30];
const METAL: Colour = [108, 122, 128];
const DARK: Colour = [58, 69, 74];
const BED: Colour = [176, 88, 62];
const PRINT: [Colour; 2] = [[74, 166, 209], [62, 150, 196]];
const PANEL: [Colour; 2] = [[35, 92, 124], [31, 84, 114]];
const KNOB: Colour = [240, 200, 96];
const INK: Colour = [222, 229, 226];
const LAMP: Colour = [224, 82, 64];

/// The thing that is printed: a door, in layers from below.
const DOOR: (usize, usize, usize, usize) = (38, 20, 20, 26);
const LAYERS: usize = DOOR.3;

/// One frame as JPEG.
pub(super) fn frame(state: &State, number: u64) -> Vec<u8> {
    let mut picture = Picture { width: WIDTH, height: HEIGHT, cells: vec![WALL; WIDTH * HEIGHT] };
    draw_machine(&mut picture);
    draw_print(&mut picture, state.progress);
    draw_text(&mut picture, state, number);
    jpeg::encode(&picture)
}

/// The start of the endless answer, before its first part.
pub(super) fn opening() -> String {
    format!("--{BOUNDARY}\r\n")
}

/// A frame as a part. The boundary comes right after it: browsers show a frame when they see that it is over.
pub(super) fn part(frame: &[u8]) -> Vec<u8> {
    let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", frame.len());
    [head.as_bytes(), frame, format!("\r\n--{BOUNDARY}\r\n").as_bytes()].concat()
}

fn draw_machine(picture: &mut Picture) {
    fill(picture, (0, 48, WIDTH, 6), FLOOR);
    fill(picture, (24, 12, 2, 36), METAL);
    fill(picture, (70, 12, 2, 36), METAL);
    fill(picture, (22, 11, 52, 2), METAL);
    fill(picture, (20, 48, 56, 3), DARK);
    fill(picture, (28, 46, 40, 2), BED);
}

fn draw_print(picture: &mut Picture, progress: f64) {
    let (left, top, width, _) = DOOR;
    let layers = progress * LAYERS as f64;
    let (finished, part) = (layers as usize, layers.fract());
    for layer in 0..=finished.min(LAYERS - 1) {
        let columns = if layer < finished { width } else { (part * width as f64) as usize };
        for column in 0..columns {
            let column = if layer % 2 == 0 { column } else { width - 1 - column };
            set(picture, left + column, top + LAYERS - 1 - layer, door_colour(layer, column));
        }
    }
    let column = if finished.is_multiple_of(2) { part } else { 1.0 - part };
    draw_head(picture, left + (column * width as f64) as usize, top + LAYERS - finished);
}

fn door_colour(layer: usize, column: usize) -> Colour {
    let is_panel = (3..DOOR.2 - 3).contains(&column) && layer < LAYERS - 3;
    match is_panel {
        true if (11..13).contains(&layer) && (14..16).contains(&column) => KNOB,
        true => PANEL[layer % 2],
        false => PRINT[layer % 2],
    }
}

/// The print head on its beam, its tip above the layer that it lays.
fn draw_head(picture: &mut Picture, x: usize, tip: usize) {
    let beam = tip.saturating_sub(6);
    fill(picture, (26, beam, 44, 1), DARK);
    fill(picture, (x - 3, beam.saturating_sub(1), 7, 4), METAL);
    fill(picture, (x - 1, beam + 3, 3, 1), INK);
    set(picture, x, beam + 4, KNOB);
}

fn draw_text(picture: &mut Picture, state: &State, number: u64) {
    let tenths = (state.uptime * 10.0) as u64;
    let clock = format!("{:02}:{:02}.{}", tenths / 600 % 100, tenths / 10 % 60, tenths % 10);
    if number % u64::from(FRAMES_PER_SECOND) < 3 {
        fill(picture, (3, 4, 3, 3), LAMP);
    }
    write(picture, 9, 2, &clock);
    write(picture, WIDTH - 38, 2, &format!("{:06}", number % 1_000_000));
}

fn write(picture: &mut Picture, left: usize, top: usize, text: &str) {
    for (at, character) in text.chars().enumerate() {
        let rows = glyph(character);
        for (row, bits) in rows.into_iter().enumerate() {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                set(picture, left + at * 6 + column, top + row, INK);
            }
        }
    }
}

/// Seven rows of five.
fn glyph(character: char) -> [u8; 7] {
    match character {
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        ':' => [0, 0b00100, 0b00100, 0, 0b00100, 0b00100, 0],
        '.' => [0, 0, 0, 0, 0, 0b00100, 0b00100],
        _ => [0; 7],
    }
}

fn fill(picture: &mut Picture, (left, top, width, height): (usize, usize, usize, usize), colour: Colour) {
    for y in top..top + height {
        for x in left..left + width {
            set(picture, x, y, colour);
        }
    }
}

fn set(picture: &mut Picture, x: usize, y: usize, colour: Colour) {
    if x < picture.width && y < picture.height {
        picture.cells[y * picture.width + x] = colour;
    }
}

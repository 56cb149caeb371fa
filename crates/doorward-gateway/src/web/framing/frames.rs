//! HTTP/2 frames as far as a flood of them shows (RFC 9113, 4.1 and 10.5). h2 bounds streams, headers and resets; what
//! it answers without a bound is counted here. Window updates are not: every long download sends thousands. Frames of a
//! fixed size that have another, and windows beyond the largest, end the connection before h2 sees them.

use super::Refusal;

const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const LAST_KNOWN: u8 = 9;
const ACK: u8 = 1;
/// A setting: identifier and value (6.5.1).
const SETTING: usize = 6;
const INITIAL_WINDOW: u16 = 4;
const MAX_WINDOW: u32 = (1 << 31) - 1;
const HEADER: usize = 9;

#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that are here.
    have: usize,
    /// Bytes of the payload that are to come.
    left: usize,
    is_settings: bool,
    setting: Vec<u8>,
    idle: u32,
}

impl Frames {
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= payload.len();
                bytes = rest;
                if self.is_settings {
                    self.settings(payload)?;
                }
                continue;
            }
            let length = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + length].copy_from_slice(&bytes[..length]);
            self.have += length;
            bytes = &bytes[length..];
            if self.have == HEADER {
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.have = 0;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.is_settings = kind == SETTINGS;
        self.setting.clear();
        self.idle += u32::from(matches!(kind, PRIORITY | SETTINGS | PING) || kind > LAST_KNOWN);
        let is_sound = match kind {
            SETTINGS if flags & ACK != 0 => self.left == 0,
            SETTINGS => self.left.is_multiple_of(SETTING),
            PING => self.left == 8,
            RST_STREAM | WINDOW_UPDATE => self.left == 4,
            PRIORITY => self.left == 5,
            _ => true,
        };
        if is_sound { Ok(()) } else { Err(Refusal::Frame) }
    }

    fn settings(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        for byte in payload {
            self.setting.push(*byte);
            if let [a, b, value @ ..] = self.setting.as_slice()
                && let Ok(value) = <[u8; 4]>::try_from(value)
            {
                let (name, value) = (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(value));
                if name == INITIAL_WINDOW && value > MAX_WINDOW {
                    return Err(Refusal::Frame);
                }
                self.setting.clear();
            }
        }
        Ok(())
    }

    /// Frames since the last call that carry nothing and cost an answer.
    pub(super) fn take_idle(&mut self) -> u32 {
        std::mem::take(&mut self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        [&size[1..], &[kind, 0, 0, 0, 0, 1], &vec![PING; length]].concat()
    }

    fn pass(bytes: &[u8], piece: usize) -> (Frames, Result<(), Refusal>) {
        let mut frames = Frames::default();
        let result = bytes.chunks(piece).try_for_each(|piece| frames.scan(piece));
        (frames, result)
    }

    #[test]
    fn only_frames_that_carry_nothing_are_counted_in_any_pieces() {
        let kinds = [(0, 20_000), (1, 300), (PRIORITY, 5), (3, 4), (SETTINGS, 600), (5, 9), (PING, 8), (7, 9), (8, 4)];
        let more = [(9, 20_000), (10, 20_000), (200, 0), (SETTINGS, 0), (0, 0)];
        let bytes: Vec<u8> = kinds.iter().chain(&more).flat_map(|(kind, length)| frame(*kind, *length)).collect();
        for piece in [1, 5, 9, 10, 1000, bytes.len()] {
            let (mut frames, result) = pass(&bytes, piece);
            assert_eq!((frames.take_idle(), result), (6, Ok(())), "in pieces of {piece}");
            assert_eq!(frames.take_idle(), 0);
        }
    }

    #[test]
    fn frames_of_another_size_than_theirs_and_windows_too_large_are_refused() {
        let setting = |name: u8, value: u32| [&frame(SETTINGS, 6)[..HEADER], &[0, name], &value.to_be_bytes()].concat();
        let mut ack = frame(SETTINGS, 6);
        ack[4] = ACK;
        let table = [
            (frame(SETTINGS, 5), false),
            (ack, false),
            (frame(PING, 7), false),
            (frame(RST_STREAM, 5), false),
            (frame(WINDOW_UPDATE, 3), false),
            (frame(PRIORITY, 4), false),
            (setting(4, MAX_WINDOW), true),
            (setting(4, MAX_WINDOW + 1), false),
            (setting(3, u32::MAX), true),
        ];
        for (bytes, is_sound) in table {
            for piece in [1, 4, bytes.len()] {
                assert_eq!(pass(&bytes, piece).1.is_ok(), is_sound, "{bytes:?} in pieces of {piece}");
            }
        }
    }
}

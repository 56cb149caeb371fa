//! A JPEG encoder for pictures made of flat squares (ITU-T T.81, baseline). Every cell of the picture is one 8 × 8
//! block of one colour, so a block is its first coefficient alone and neither a transform nor quantization is needed.

const CELL: u16 = 8;

/// A grid of cells with red, green and blue, row by row.
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) cells: Vec<[u8; 3]>,
}

/// Codes for the size class of a difference: 0 is one bit, 1 to 8 are five bits, from 10000 on.
const DC_CODES: [u8; 25] = {
    let mut table = [0; 25];
    table[0] = 1; // one code of one bit
    table[4] = 8; // eight codes of five bits
    let mut class = 0;
    while class <= 8 {
        table[16 + class] = class as u8;
        class += 1;
    }
    table
};
/// The one code there is for the other coefficients, 0: "all of them are zero".
const AC_CODES: [u8; 17] = {
    let mut table = [0; 17];
    table[0] = 1;
    table
};
const COMPONENTS: u8 = 3;

pub(super) fn encode(picture: &Picture) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    segment(&mut out, 0xe0, &[b"JFIF\0", [1, 1, 0, 0, 1, 0, 1, 0, 0].as_slice()]);
    // Steps of 8 undo the factor that the first coefficient has over the colour (T.81, A.3.3).
    segment(&mut out, 0xdb, &[&[0], &[8; 64]]);
    let [height, width] = [picture.height, picture.width].map(|cells| (cells as u16 * CELL).to_be_bytes());
    let plain = [[1, 0x11, 0], [2, 0x11, 0], [3, 0x11, 0]].concat();
    segment(&mut out, 0xc0, &[&[8], &height, &width, &[COMPONENTS], &plain]);
    segment(&mut out, 0xc4, &[&[0x00], &DC_CODES]);
    segment(&mut out, 0xc4, &[&[0x10], &AC_CODES]);
    segment(&mut out, 0xda, &[&[COMPONENTS, 1, 0, 2, 0, 3, 0], &[0, 63, 0]]);
    scan(&mut out, &picture.cells);
    out.extend([0xff, 0xd9]);
    out
}

fn segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length = 2 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend([0xff, marker]);
    out.extend((length as u16).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn scan(out: &mut Vec<u8>, cells: &[[u8; 3]]) {
    let mut bits = Bits { out, pending: 0, count: 0 };
    let mut before = [0; 3];
    for cell in cells {
        let colour = luminance_and_chrominance(*cell);
        for (now, before) in colour.into_iter().zip(&mut before) {
            bits.difference(now - *before);
            *before = now;
            bits.put(0, 1);
        }
    }
    bits.put(0x7f, 7);
}

/// Y, Cb and Cr around zero (JFIF 1.02).
fn luminance_and_chrominance([red, green, blue]: [u8; 3]) -> [i32; 3] {
    let [red, green, blue] = [red, green, blue].map(f64::from);
    let y = 0.299 * red + 0.587 * green + 0.114 * blue;
    [y - 128.0, (blue - y) / 1.772, (red - y) / 1.402].map(|value| (value.round() as i32).clamp(-128, 127))
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits<'_> {
    /// A difference is its size class, then as many bits (T.81, F.1.2.1.2).
    fn difference(&mut self, difference: i32) {
        let class = i32::BITS - difference.abs().leading_zeros();
        if class == 0 {
            return self.put(0, 1);
        }
        self.put(0b10000 | (class - 1), 5);
        let bits = if difference > 0 { difference } else { difference - 1 };
        self.put(bits as u32 & ((1 << class) - 1), class);
    }

    fn put(&mut self, bits: u32, count: u32) {
        self.pending = self.pending << count | bits;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xff {
                self.out.push(0); // or it would begin a marker
            }
        }
        self.pending &= (1 << self.count) - 1;
    }
}

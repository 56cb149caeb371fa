//! Connections of a session bear its mark. Other tools mark connections, too, each in bits of its own: ours are
//! whichever the owner leaves us. The highest of them says "ours", the others are the session's number.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A session's number on this router, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bits of a connection's mark that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkBits(u32);

/// 1023 sessions at least.
const FEWEST: u32 = 11;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" cannot be the bits of our marks: write at least {FEWEST} bits that nothing else uses, as 0xff0000ff")]
pub struct MarkBitsError(String);

impl Default for MarkBits {
    /// Free of the bits of mwan3 (0x3f00), pbr and Tailscale (0xff0000) and Kubernetes (0xc000).
    fn default() -> Self {
        Self(0xff00_00ff)
    }
}

impl FromStr for MarkBits {
    type Err = MarkBitsError;

    fn from_str(given: &str) -> Result<Self, MarkBitsError> {
        let error = || MarkBitsError(given.chars().take(80).collect());
        let digits = given.strip_prefix("0x").ok_or_else(error)?;
        let bits = u32::from_str_radix(digits, 16).map_err(|_| error())?;
        if bits.count_ones() < FEWEST { Err(error()) } else { Ok(Self(bits)) }
    }
}

impl MarkBits {
    pub fn mask(self) -> u32 {
        self.0
    }

    /// Set in every mark of ours.
    pub fn flag(self) -> u32 {
        1 << (u32::BITS - 1 - self.0.leading_zeros())
    }

    /// How many sessions there can be at once.
    pub fn capacity(self) -> u32 {
        (1 << (self.0.count_ones() - 1)) - 1
    }

    pub fn mark(self, number: Number) -> u32 {
        self.places().enumerate().fold(self.flag(), |mark, (i, place)| mark | ((number.0 >> i) & 1) << place)
    }

    /// Whose connection it is, if it is one of ours. Bits of others are overlooked.
    pub fn number(self, mark: u32) -> Option<Number> {
        let number = self.places().enumerate().fold(0, |number, (i, place)| number | ((mark >> place) & 1) << i);
        (mark & self.flag() != 0 && number != 0).then_some(Number(number))
    }

    /// A number that nobody has, the first after `last`: one that was given back is not given out again soon.
    pub fn fresh(self, last: Option<Number>, taken: &BTreeSet<Number>) -> Option<Number> {
        let last = last.map_or(0, |number| number.0.min(self.capacity()));
        (last + 1..=self.capacity()).chain(1..=last).map(Number).find(|number| !taken.contains(number))
    }

    /// The places of the number's bits, lowest first.
    fn places(self) -> impl Iterator<Item = u32> {
        let rest = self.0 & !self.flag();
        (0..u32::BITS).filter(move |place| rest >> place & 1 == 1)
    }
}

impl fmt::Display for MarkBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_out_of_its_mark_whatever_others_add() {
        for bits in ["0xff0000ff", "0xffffffff", "0x7ff", "0x01000fff", "0xaaaaaaaa"] {
            let bits: MarkBits = bits.parse().unwrap();
            let step = bits.capacity().div_ceil(999);
            let mut seen = 0;
            for number in (1..=bits.capacity()).step_by(step as usize).chain([bits.capacity()]).map(Number) {
                let mark = bits.mark(number);
                assert_eq!(mark & !bits.mask(), 0, "{bits}: {mark:#x} is in bits of others");
                assert_eq!(bits.number(mark | !bits.mask()), Some(number), "{bits}");
                assert_eq!(bits.number(mark & !bits.flag()), None, "{bits}");
                seen += 1;
            }
            assert!(seen >= 500, "{bits}: {seen}");
        }
    }

    #[test]
    fn too_few_bits_are_refused() {
        for bad in ["", "0x", "255", "0x0", "0x3ff", "0x1ffffffff", "ff0000ff"] {
            assert!(bad.parse::<MarkBits>().is_err(), "{bad:?} was taken");
        }
        assert_eq!("0x7ff".parse::<MarkBits>().unwrap().capacity(), 1023);
        assert_eq!(MarkBits::default().capacity(), 32_767);
    }

    #[test]
    fn numbers_go_round_and_those_in_use_are_left_out() {
        let bits: MarkBits = "0x7ff".parse().unwrap();
        let taken: BTreeSet<_> = [Number(1), Number(3)].into();
        assert_eq!(bits.fresh(None, &taken), Some(Number(2)));
        assert_eq!(bits.fresh(Some(Number(2)), &taken), Some(Number(4)));
        assert_eq!(bits.fresh(Some(Number(1023)), &taken), Some(Number(2)));
        let all: BTreeSet<_> = (1..=1023).map(Number).collect();
        assert_eq!(bits.fresh(None, &all), None);
    }
}

//! Bytes that lie in memory already, in the pieces in which they came: they are passed on from where they lie.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Some of what waits, in order. Nothing at all is the end.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Pieces {
    /// Takes pieces from the front until there are `most` bytes; the last piece is divided.
    pub fn take(from: &mut VecDeque<Bytes>, most: usize) -> Self {
        let mut taken = Self::default();
        while taken.bytes < most
            && let Some(mut piece) = from.pop_front()
        {
            if piece.len() > most - taken.bytes {
                from.push_front(piece.split_off(most - taken.bytes));
            }
            taken.bytes += piece.len();
            taken.pieces.push_back(piece);
        }
        taken
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = self.pieces.iter().zip(slices).map(|(piece, slice)| *slice = IoSlice::new(piece));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "no more than there is");
        self.bytes -= count;
        while let Some(first) = self.pieces.front_mut()
            && count >= first.len()
        {
            count -= first.len();
            self.pieces.pop_front();
        }
        if let Some(first) = self.pieces.front_mut() {
            first.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_up_to_a_limit_and_pass_in_order() {
        let mut waiting: VecDeque<Bytes> = ["abc", "defg", "hi"].map(Bytes::from).into();
        let mut taken = Pieces::take(&mut waiting, 5);
        assert_eq!((taken.remaining(), waiting.len()), (5, 2));
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(taken.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"abc"[..], &b"de"[..]));
        taken.advance(1);
        assert_eq!(taken.chunk(), b"bc");
        taken.advance(3);
        assert_eq!(taken.chunk(), b"e");
        taken.advance(1);
        assert_eq!((taken.remaining(), taken.chunk()), (0, &b""[..]));
        let mut rest = Pieces::take(&mut waiting, 100);
        assert_eq!(rest.copy_to_bytes(4), "fghi");
        assert_eq!(Pieces::take(&mut waiting, 100).remaining(), 0);
    }
}

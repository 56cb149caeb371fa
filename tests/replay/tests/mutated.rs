//! Kept inputs of the cameras' targets, each changed a little, in many ways: less than a fuzzer, which sees where an input leads,
//! but on any compiler. The same ones each time.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_replay::TARGETS;
use std::fs;
use std::path::Path;

const MUTATED: [&str; 4] = ["camera_stream", "frame_feed", "netgear_message", "zmtp_stream"];
const EACH: usize = 2000;

/// Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    /// Below this, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Lengths and marks lie at the edges.
        let edges = [0x00, 0x01, 0x02, 0x04, 0x7f, 0x80, 0xfe, 0xff];
        match self.below(3) {
            0 => edges[self.below(edges.len())],
            _ => u8::try_from(self.below(256)).unwrap(),
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(5) {
            0 => input.insert(at, self.byte()),
            1 => drop(input.drain(at.min(end)..end)),
            2 => input.truncate(at),
            3 => {
                let again = input[at.min(end)..end].to_vec();
                input.splice(at..at, again);
            }
            _ => {
                let byte = self.byte();
                input.get_mut(at).into_iter().for_each(|place| *place = byte);
            }
        }
    }
}

#[test]
fn inputs_of_cameras_that_are_changed_a_little_pass_their_targets() {
    for name in MUTATED {
        let (_, target) = TARGETS.iter().find(|(of, _)| *of == name).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for path in &inputs {
            let kept = fs::read(path).unwrap();
            for _ in 0..EACH {
                let mut input = kept.clone();
                for _ in 0..=dice.below(6) {
                    dice.change(&mut input);
                }
                target(&input);
            }
        }
        println!("{name}: {} inputs, {EACH} changes of each", inputs.len());
    }
}

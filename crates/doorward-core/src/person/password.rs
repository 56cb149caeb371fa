//! What people may choose as their password, and the one spelling in which it is compared.
//!
//! No rule asks for signs of several kinds (NIST SP 800-63B 5.1.1.2): length is what counts, and that it is not among the first
//! that anybody tries. Those are a word of the list with signs around it, digits alone, a few signs over and over, a run of
//! the keyboard, and one's own name.

use crate::Secret;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// In characters.
pub const SHORTEST: usize = 10;
/// In bytes, so that nobody keeps us busy with reading one.
pub const LONGEST: usize = 1024;
/// Digits alone: so many are what ten letters are.
const FEWEST_DIGITS: usize = 16;
/// Without the person's own name and the list's words, so much must be left.
const LEFT_OVER: usize = 5;

/// Words in lower case. Short ones are there for being repeated and decorated.
const COMMONEST: &str = include_str!("commonest.txt");
const RUNS: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiop",
    "qwertzuiopü",
    "asdfghjklñ",
    "yxcvbnm",
    "zxcvbnm",
    "1qaz2wsx3edc4rfv5tgb",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Weak {
    #[error("a password has {SHORTEST} characters or more: a few words are easy to keep in mind")]
    Short,
    #[error("a password has {LONGEST} bytes at most")]
    Long,
    #[error(
        "this password is among the first that anybody tries: a few words that have nothing to do with each other are better"
    )]
    Common,
    #[error("this password is made of the name: it is among the first that anybody tries")]
    Name,
}

/// Keyboards write the same letters differently (`é` as one sign or two): RFC 8265 4.2 composes them.
pub fn normalise(typed: &Secret<String>) -> Secret<String> {
    Secret::new(typed.expose().nfc().collect())
}

/// Whether a normalised password may be somebody's. `names`: theirs, and the site's.
pub fn judge(password: &Secret<String>, names: &[&str]) -> Result<(), Weak> {
    let text = password.expose();
    if text.len() > LONGEST {
        return Err(Weak::Long);
    }
    if text.chars().count() < SHORTEST {
        return Err(Weak::Short);
    }
    let folded = fold(text);
    if is_common(&folded) || is_common(&plain(&folded)) {
        return Err(Weak::Common);
    }
    let is_their_name = |name: &&str| is_little_besides(&folded, &fold(name));
    if names.iter().any(is_their_name) { Err(Weak::Name) } else { Ok(()) }
}

fn fold(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// Letters that are commonly written as digits and signs.
fn plain(folded: &str) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    folded.chars().map(letter).collect()
}

fn is_common(folded: &str) -> bool {
    let is_digits = folded.chars().all(|c| c.is_ascii_digit() || !c.is_alphanumeric());
    let digits = folded.chars().filter(char::is_ascii_digit).count();
    let mut words = COMMONEST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    (is_digits && digits < FEWEST_DIGITS)
        || is_repeated(folded)
        || is_run(folded)
        || words.any(|word| is_little_besides(folded, word))
}

/// `abcabcabcabc`: what repeats is too short to be one itself.
fn is_repeated(text: &str) -> bool {
    let chars: Vec<_> = text.chars().collect();
    (1..=LEFT_OVER).any(|period| chars.iter().zip(chars.iter().skip(period)).all(|(a, b)| a == b))
}

/// Little is left of it besides a piece of a keyboard's row or of the alphabet, forwards or backwards.
fn is_run(text: &str) -> bool {
    let backwards: String = text.chars().rev().collect();
    RUNS.iter().any(|run| {
        [text, backwards.as_str()].iter().any(|text| longest_shared(text, run) + LEFT_OVER > text.chars().count())
    })
}

/// The length of the longest piece that both have.
fn longest_shared(text: &str, run: &str) -> usize {
    let (text, run): (Vec<_>, Vec<_>) = (text.chars().collect(), run.chars().collect());
    let shared = |from: usize, at: usize| text[from..].iter().zip(&run[at..]).take_while(|(a, b)| a == b).count();
    (0..text.len())
        .flat_map(|from| (0..run.len()).map(move |at| (from, at)))
        .map(|(from, at)| shared(from, at))
        .max()
        .unwrap_or(0)
}

/// The word, perhaps several times, with too few other characters around it.
fn is_little_besides(text: &str, word: &str) -> bool {
    word.chars().count() >= 3 && text.contains(word) && text.replace(word, "").chars().count() < LEFT_OVER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<(), Weak> {
        judge(&normalise(&Secret::new(text.to_owned())), &["anna", "Anna Böhm", "example.org"])
    }

    #[test]
    fn what_anybody_tries_first_is_refused_and_what_people_make_up_is_taken() {
        let table = [
            ("correct horse battery", Ok(())),
            ("drei müde Ziegen", Ok(())),
            ("tr0ub4dor&3x", Ok(())),
            ("kf8-2mq-91z", Ok(())),
            ("8402917365510284", Ok(())),
            ("my password is silly", Ok(())),
            ("short", Err(Weak::Short)),
            ("ninechars", Err(Weak::Short)),
            ("Password123!", Err(Weak::Common)),
            ("P4$$w0rd2026", Err(Weak::Common)),
            ("passwordpassword", Err(Weak::Common)),
            ("Passwort2026", Err(Weak::Common)),
            ("contraseña1", Err(Weak::Common)),
            ("1234567890", Err(Weak::Common)),
            ("0987654321", Err(Weak::Common)),
            ("24.12.1987 1", Err(Weak::Common)),
            ("qwertzuiop1", Err(Weak::Common)),
            ("poiuytrewq!", Err(Weak::Common)),
            ("aaaaaaaaaaaa", Err(Weak::Common)),
            ("abcabcabcabc", Err(Weak::Common)),
            ("1qaz2wsx3edc", Err(Weak::Common)),
            ("Anna Böhm 7", Err(Weak::Name)),
            ("ANNAanna1987", Err(Weak::Name)),
            ("example.org!", Err(Weak::Name)),
        ];
        for (text, answer) in table {
            assert_eq!(judged(text), answer, "{text}");
        }
        assert_eq!(judged(&"x y".repeat(400)), Err(Weak::Long));
    }

    #[test]
    fn the_same_letters_are_the_same_password_however_a_keyboard_writes_them() {
        let spelt = |text: &str| normalise(&Secret::new(text.to_owned()));
        assert!(spelt("cafe\u{301} am Eck") == spelt("caf\u{e9} am Eck"));
        assert!(spelt("ﬁnal answers") != spelt("final answers"), "composed, not made alike");
    }

    #[test]
    fn the_list_is_in_the_form_in_which_it_is_compared() {
        let words: Vec<_> = COMMONEST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(words.len() > 100, "{}", words.len());
        for word in words {
            assert_eq!(word, fold(word), "{word}");
            assert!(word.chars().count() >= 3, "{word}");
        }
    }
}

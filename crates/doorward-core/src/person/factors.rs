//! By what somebody showed who they are when they signed in. It stands with the login for as long as that lasts.

use std::fmt;

/// One way of showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    Password,
    /// A code of the app on their phone.
    Totp,
    /// A recovery code, instead of one of the app's.
    Recovery,
    Passkey,
    /// A link that somebody handed to them.
    Welcome,
    /// An identity provider's word.
    Provider,
}

/// All that were used. Written as words with a blank between, in a fixed order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Factors(u8);

const ALL: [Factor; 6] =
    [Factor::Password, Factor::Totp, Factor::Recovery, Factor::Passkey, Factor::Welcome, Factor::Provider];

impl Factor {
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::Recovery => "recovery-code",
            Self::Passkey => "passkey",
            Self::Welcome => "welcome",
            Self::Provider => "provider",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Password => 1,
            Self::Totp => 2,
            Self::Recovery => 4,
            Self::Passkey => 8,
            Self::Welcome => 16,
            Self::Provider => 32,
        }
    }
}

impl Factors {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub fn with(self, factor: Factor) -> Self {
        Self(self.0 | factor.bit())
    }

    pub fn has(self, factor: Factor) -> bool {
        self.0 & factor.bit() != 0
    }

    /// `None`: a word that is none of ours.
    pub fn read(words: &str) -> Option<Self> {
        words.split_whitespace().try_fold(Self::NONE, |factors, word| {
            ALL.into_iter().find(|factor| factor.word() == word).map(|factor| factors.with(factor))
        })
    }
}

impl From<Factor> for Factors {
    fn from(factor: Factor) -> Self {
        Self::NONE.with(factor)
    }
}

impl fmt::Display for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = ALL.into_iter().filter(|factor| self.has(*factor)).map(Factor::word).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_unknown_words_are_refused() {
        let both = Factors::from(Factor::Password).with(Factor::Totp);
        assert_eq!(both.to_string(), "password totp");
        assert!(both.has(Factor::Totp) && !both.has(Factor::Passkey));
        for factor in ALL {
            assert_eq!(Factors::read(factor.word()), Some(factor.into()));
        }
        assert_eq!((Factors::read("password totp"), Factors::read("")), (Some(both), Some(Factors::NONE)));
        assert_eq!(Factors::read("password face"), None);
    }
}

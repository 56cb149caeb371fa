//! What an identity provider says about somebody, and what the owner lets follow from it.

use super::Role;
use super::factors::{Factor, Factors};
use crate::names::Label;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// Somebody, as a provider vouches for them. Issuer and subject together are who they are (OpenID Connect Core, 5.7); everything else
/// can change, or be somebody else's tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    pub issuer: String,
    pub subject: String,
    /// What a new account might be called.
    pub name: Option<String>,
    pub title: Option<String>,
    /// Of the claim that the owner named.
    pub groups: BTreeSet<String>,
    /// Its `acr` and `amr`: how they showed the provider who they are.
    pub methods: BTreeSet<String>,
}

/// What becomes of somebody whom nobody here knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newcomers {
    /// They stay outside: only who linked their account comes in.
    #[default]
    Refused,
    Guests,
    Members,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRules {
    pub newcomers: Newcomers,
    /// From the provider's words to groups here.
    pub groups: BTreeMap<String, Label>,
    /// From the same words to roles.
    pub roles: BTreeMap<String, Role>,
    /// From methods to what they count as here. What is not named counts as nothing more than the provider's word.
    pub counts_as: BTreeMap<String, Factor>,
    /// How long a browser stays signed in: nobody tells us when somebody's account there has ended.
    pub login_for: SignedDuration,
}

impl Newcomers {
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Refused => None,
            Self::Guests => Some(Role::Guest),
            Self::Members => Some(Role::Member),
        }
    }
}

impl ProviderRules {
    /// The highest of those that are theirs. `None`: the provider says nothing of it.
    pub fn role_of(&self, provided: &Provided) -> Option<Role> {
        let roles = provided.groups.iter().filter_map(|group| self.roles.get(group)).copied();
        roles.min_by_key(|role| match role {
            Role::Owner => 0,
            Role::Member => 1,
            Role::Guest => 2,
        })
    }

    /// Every group that the provider has a say in, and whether this person is in it.
    pub fn groups_of(&self, provided: &Provided) -> BTreeMap<Label, bool> {
        let mut groups = BTreeMap::new();
        for (word, group) in &self.groups {
            let is_in = provided.groups.contains(word);
            *groups.entry(group.clone()).or_insert(false) |= is_in;
        }
        groups
    }

    pub fn factors_of(&self, provided: &Provided) -> Factors {
        let counted = provided.methods.iter().filter_map(|method| self.counts_as.get(method));
        counted.fold(Factor::Provider.into(), |factors: Factors, factor| factors.with(*factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    #[test]
    fn only_what_the_owner_wrote_down_follows_from_a_providers_word() {
        let rules = ProviderRules {
            newcomers: Newcomers::Refused,
            groups: [("staff", "teachers"), ("board", "teachers"), ("robots", "robotics")]
                .map(|(word, group)| (word.to_owned(), label(group)))
                .into(),
            roles: [("staff", Role::Member), ("pupils", Role::Guest), ("admins", Role::Owner)]
                .map(|(word, role)| (word.to_owned(), role))
                .into(),
            counts_as: [("otp".to_owned(), Factor::Totp), ("hwk".to_owned(), Factor::Passkey)].into(),
            login_for: SignedDuration::from_hours(1),
        };
        let table = [
            ("", "", None, (false, false), "provider"),
            ("staff pupils", "pwd", Some(Role::Member), (true, false), "provider"),
            ("board robots", "otp", None, (true, true), "provider totp"),
            ("pupils admins", "mfa hwk otp", Some(Role::Owner), (false, false), "provider totp passkey"),
            ("Staff ADMINS owner teachers", "OTP totp passkey", None, (false, false), "provider"),
        ];
        for (groups, methods, role, (teachers, robotics), factors) in table {
            let provided = Provided {
                issuer: "https://id.test".into(),
                subject: "1".into(),
                name: None,
                title: None,
                groups: words(groups),
                methods: words(methods),
            };
            assert_eq!(rules.role_of(&provided), role, "{groups}");
            let expected = BTreeMap::from([(label("teachers"), teachers), (label("robotics"), robotics)]);
            assert_eq!(rules.groups_of(&provided), expected, "{groups}");
            let counted: BTreeSet<_> = words(&rules.factors_of(&provided).to_string());
            assert_eq!(counted, words(factors), "{methods}");
        }
    }
}

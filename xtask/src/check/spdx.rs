//! SPDX licence expressions (spec annex D): identifiers, `WITH`, `AND`, `OR`, parentheses, in this order of binding.
//! The slash of older manifests (`MIT/Apache-2.0`) means `OR`.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

use anyhow::{Result, bail};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// One licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
        let mut words = words.into_iter().peekable();
        let expression = any(&mut words)?;
        match words.next() {
            None => Ok(expression),
            Some(word) => bail!("{word:?} is unexpected in the licence expression {text:?}"),
        }
    }

    /// Whether these licences suffice.
    pub(crate) fn is_met_by(&self, allowed: &BTreeSet<String>) -> bool {
        match self {
            Self::Licence(licence) => allowed.contains(licence),
            Self::All(parts) => parts.iter().all(|part| part.is_met_by(allowed)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met_by(allowed)),
        }
    }

    pub(crate) fn licences(&self) -> Vec<&str> {
        match self {
            Self::Licence(licence) => vec![licence],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::licences).collect(),
        }
    }
}

type Words = Peekable<IntoIter<String>>;

fn any(words: &mut Words) -> Result<Expression> {
    let mut parts = vec![all(words)?];
    while words.next_if_eq("OR").is_some() {
        parts.push(all(words)?);
    }
    Ok(single_or(parts, Expression::Any))
}

fn all(words: &mut Words) -> Result<Expression> {
    let mut parts = vec![one(words)?];
    while words.next_if_eq("AND").is_some() {
        parts.push(one(words)?);
    }
    Ok(single_or(parts, Expression::All))
}

fn one(words: &mut Words) -> Result<Expression> {
    if words.next_if_eq("(").is_some() {
        let inner = any(words)?;
        if words.next_if_eq(")").is_none() {
            bail!("a parenthesis is not closed");
        }
        return Ok(inner);
    }
    let licence = identifier(words)?;
    if words.next_if_eq("WITH").is_some() {
        return Ok(Expression::Licence(format!("{licence} WITH {}", identifier(words)?)));
    }
    Ok(Expression::Licence(licence))
}

fn identifier(words: &mut Words) -> Result<String> {
    match words.next() {
        Some(word) if !["OR", "AND", "WITH", "(", ")"].contains(&word.as_str()) => Ok(word),
        Some(word) => bail!("{word:?} stands where a licence should"),
        None => bail!("the licence expression ends too early"),
    }
}

fn single_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(text: &str, allowed: &[&str]) -> bool {
        let allowed = allowed.iter().map(|licence| (*licence).to_owned()).collect();
        Expression::parse(text).unwrap().is_met_by(&allowed)
    }

    #[test]
    fn or_needs_one_and_needs_all() {
        assert!(met("MIT OR GPL-3.0-only", &["MIT"]));
        assert!(!met("MIT AND GPL-3.0-only", &["MIT"]));
        assert!(met("MIT AND ISC", &["MIT", "ISC"]));
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(met("MIT OR ISC AND GPL-3.0-only", &["MIT"]));
        assert!(!met("(MIT OR ISC) AND GPL-3.0-only", &["MIT"]));
    }

    #[test]
    fn an_exception_is_part_of_its_licence() {
        assert!(!met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0 WITH LLVM-exception"]));
        assert!(met("Apache-2.0 WITH LLVM-exception OR MIT", &["MIT"]));
    }

    #[test]
    fn a_slash_means_or() {
        assert!(met("MIT/Apache-2.0", &["Apache-2.0"]));
        assert!(met("Apache-2.0 / MIT", &["MIT"]));
        assert!(!met("GPL-2.0-only/LGPL-2.1-only", &["MIT"]));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "MIT WITH (x)"] {
            assert!(Expression::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names_every_licence() {
        let expression = Expression::parse("(MIT OR ISC) AND Zlib").unwrap();
        assert_eq!(expression.licences(), ["MIT", "ISC", "Zlib"]);
    }
}

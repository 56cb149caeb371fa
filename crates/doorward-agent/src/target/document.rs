//! A target as written: alone, or with the way its certificate is checked.

use super::{Target, TargetError, Verify};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// `"https://h"` or `{ target = "https://h", verify = "off" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDocument {
    pub target: String,
    /// Absent: as is said elsewhere, or by this machine's authorities.
    pub verify: Option<String>,
}

impl TargetDocument {
    pub fn to_target(&self) -> Result<Target, TargetError> {
        let verify = self.verify.as_deref().map_or(Ok(Verify::System), Verify::parse);
        let verify = verify.map_err(|why| TargetError::new(&self.target, why))?;
        Ok(Target::parse(&self.target)?.verified(verify))
    }
}

impl From<&Target> for TargetDocument {
    fn from(target: &Target) -> Self {
        let verify = match target {
            Target::Https { verify: Verify::System, .. }
            | Target::H2 { verify: Verify::System, .. }
            | Target::Http(_)
            | Target::H2c(_)
            | Target::Tcp(_)
            | Target::Udp { .. } => None,
            Target::Https { verify, .. } | Target::H2 { verify, .. } => Some(verify.to_string()),
        };
        Self { target: target.to_string(), verify }
    }
}

impl Serialize for TargetDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let Some(verify) = &self.verify else { return serializer.serialize_str(&self.target) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("target", &self.target)?;
        map.serialize_entry("verify", verify)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for TargetDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = TargetDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target, or a table with target and verify")
    }

    fn visit_str<E: Error>(self, target: &str) -> Result<TargetDocument, E> {
        Ok(TargetDocument { target: target.to_owned(), verify: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetDocument, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            target: String,
            verify: Option<String>,
        }
        let Table { target, verify } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TargetDocument { target, verify })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_keeps_how_it_is_checked_when_written_and_read_again() {
        let pin = format!("pin:sha256:{}", "ab".repeat(32));
        for (target, verify) in [
            ("http://localhost:5000", None),
            ("https://camera.lan:443", None),
            ("https://camera.lan:443", Some("off")),
            ("https://camera.lan:443", Some(pin.as_str())),
        ] {
            let written = TargetDocument { target: target.to_owned(), verify: verify.map(str::to_owned) };
            let json = serde_json::to_string(&written).unwrap();
            assert_eq!(json.starts_with('"'), verify.is_none(), "{json}");
            let read: TargetDocument = serde_json::from_str(&json).unwrap();
            assert_eq!(TargetDocument::from(&read.to_target().unwrap()), written);
        }
        for bad in [r#"{"target":"http://a","colour":1}"#, r#"{"verify":"off"}"#, "3"] {
            assert!(serde_json::from_str::<TargetDocument>(bad).is_err(), "{bad}");
        }
    }
}

//! A target as written: alone, or with the way its certificate is checked.

use super::{Camera, Target, TargetError, Verify};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// `"https://h"` or `{ target = "https://h", verify = "off" }`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TargetDocument {
    pub target: String,
    /// Absent: as is said elsewhere, or by this machine's authorities.
    pub verify: Option<String>,
    /// Of a camera, with `user:password` in it.
    pub password_file: Option<PathBuf>,
}

impl TargetDocument {
    pub fn to_target(&self) -> Result<Target, TargetError> {
        let verify = self.verify.as_deref().map_or(Ok(Verify::System), Verify::parse);
        let verify = verify.map_err(|why| TargetError::new(&self.target, why))?;
        let target = Target::parse(&self.target)?.verified(verify);
        self.password_file.as_ref().map_or(Ok(target.clone()), |file| target.with_password_file(file))
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
            | Target::Udp { .. }
            | Target::Camera(Camera::Device(_) | Camera::NetGear { .. }) => None,
            Target::Https { verify, .. } | Target::H2 { verify, .. } => Some(verify.to_string()),
            Target::Camera(Camera::Web(camera)) => {
                camera.verify.filter(|verify| *verify != Verify::System).map(|verify| verify.to_string())
            }
        };
        Self { target: target.to_string(), verify, password_file: target.password_file().map(Path::to_owned) }
    }
}

impl Serialize for TargetDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if (&self.verify, &self.password_file) == (&None, &None) {
            return serializer.serialize_str(&self.target);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("target", &self.target)?;
        if let Some(verify) = &self.verify {
            map.serialize_entry("verify", verify)?;
        }
        if let Some(file) = &self.password_file {
            map.serialize_entry("password-file", file)?;
        }
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
        f.write_str("a target, or a table with target, verify and password-file")
    }

    fn visit_str<E: Error>(self, target: &str) -> Result<TargetDocument, E> {
        Ok(TargetDocument { target: target.to_owned(), ..TargetDocument::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TargetDocument, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Table {
            target: String,
            verify: Option<String>,
            password_file: Option<PathBuf>,
        }
        let Table { target, verify, password_file } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TargetDocument { target, verify, password_file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_keeps_how_it_is_checked_when_written_and_read_again() {
        let pin = format!("pin:sha256:{}", "ab".repeat(32));
        for (target, verify, password_file) in [
            ("http://localhost:5000", None, None),
            ("https://camera.lan:443", None, None),
            ("https://camera.lan:443", Some("off"), None),
            ("https://camera.lan:443", Some(pin.as_str()), None),
            ("camera+https://camera.lan:443/", Some("off"), Some("/etc/camera")),
            ("camera+http://camera.lan:80/", None, Some("/etc/camera")),
        ] {
            let password_file = password_file.map(PathBuf::from);
            let is_plain = verify.is_none() && password_file.is_none();
            let written =
                TargetDocument { target: target.to_owned(), verify: verify.map(str::to_owned), password_file };
            let json = serde_json::to_string(&written).unwrap();
            assert_eq!(json.starts_with('"'), is_plain, "{json}");
            let read: TargetDocument = serde_json::from_str(&json).unwrap();
            assert_eq!(TargetDocument::from(&read.to_target().unwrap()), written);
        }
        for bad in [r#"{"target":"http://a","colour":1}"#, r#"{"verify":"off"}"#, "3"] {
            assert!(serde_json::from_str::<TargetDocument>(bad).is_err(), "{bad}");
        }
    }
}

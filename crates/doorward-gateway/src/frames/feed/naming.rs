//! What a page and its feed say to each other in text.

use doorward_core::names::PathPrefix;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Of one feed.
pub(super) const MOST_CAMERAS: usize = 64;

/// Which camera a number of the page's stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) device: String,
    pub(super) service: String,
    pub(super) mount: Option<PathPrefix>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Naming {
    cameras: Vec<One>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    number: u16,
    /// `device/service`.
    service: String,
    mount: Option<PathPrefix>,
}

/// Who else looks, and what the camera does wrong.
#[derive(Debug, Serialize)]
pub(super) struct Onlookers {
    pub(super) number: u16,
    pub(super) viewers: usize,
    pub(super) faults: String,
}

#[derive(Debug, Error)]
pub(super) enum NamingError {
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    #[error("a feed has room for {MOST_CAMERAS} cameras")]
    TooMany,
    #[error("camera {0} was named before")]
    Twice(u16),
    #[error("{0:?} is no service: say device/service")]
    NoService(String),
}

impl Naming {
    pub(super) fn read(text: &str) -> Result<Self, NamingError> {
        Ok(serde_json::from_str(text)?)
    }

    pub(super) fn add_to(self, named: &mut BTreeMap<u16, Named>) -> Result<(), NamingError> {
        for One { number, service, mount } in self.cameras {
            let Some((device, name)) = service.split_once('/') else { return Err(NamingError::NoService(service)) };
            if named.len() >= MOST_CAMERAS {
                return Err(NamingError::TooMany);
            }
            let one = Named { device: device.to_owned(), service: name.to_owned(), mount };
            if named.insert(number, one).is_some() {
                return Err(NamingError::Twice(number));
            }
        }
        Ok(())
    }
}

impl Onlookers {
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers and text are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_up_to_64_cameras_each_once() {
        let add = |named: &mut BTreeMap<_, _>, text: &str| {
            Naming::read(text).and_then(|naming| naming.add_to(named)).map_err(|error| error.to_string())
        };
        let mut named = BTreeMap::new();
        add(&mut named, r#"{"cameras":[{"number":1,"service":"pi/cam"},{"number":2,"service":"pi/o","mount":"/w/"}]}"#)
            .unwrap();
        assert_eq!((named[&1].device.as_str(), named[&1].service.as_str(), &named[&1].mount), ("pi", "cam", &None));
        assert_eq!(named[&2].mount.as_ref().map(PathPrefix::as_str), Some("/w/"));
        for bad in [
            r#"{"cameras":[{"number":1,"service":"pi/cam"}]}"#,
            r#"{"cameras":[{"number":3,"service":"cam"}]}"#,
            r#"{"cameras":[{"number":3,"service":"pi/cam","url":"http://x"}]}"#,
            r#"{"cameras":[{"number":70000,"service":"pi/cam"}]}"#,
            "[]",
            "",
        ] {
            assert!(add(&mut named, bad).is_err(), "{bad}");
        }
        let more = |number| format!(r#"{{"cameras":[{{"number":{number},"service":"pi/cam"}}]}}"#);
        for number in 10..72 {
            add(&mut named, &more(number)).unwrap();
        }
        assert_eq!(add(&mut named, &more(72)), Err("a feed has room for 64 cameras".to_owned()));
    }
}

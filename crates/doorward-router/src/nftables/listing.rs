//! What `nft -j list` says (libnftables-json(5)).

use crate::error::RouterError;
use serde_json::{Map, Value};

/// In the order of the listing, each with its kind: `table`, `chain`, `set`, `map`, `rule`, `flowtable`.
#[derive(Debug, Default)]
pub(crate) struct Ruleset(Vec<(String, Value)>);

impl Ruleset {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, RouterError> {
        let unreadable = |what: &str| RouterError::Listing(what.to_owned());
        let mut listing: Map<String, Value> =
            serde_json::from_slice(json).map_err(|error| unreadable(&error.to_string()))?;
        let Some(Value::Array(objects)) = listing.remove("nftables") else {
            return Err(unreadable("it has no list of objects"));
        };
        let object = |value| match value {
            Value::Object(object) => object.into_iter().next(),
            _ => None,
        };
        Ok(Self(objects.into_iter().filter_map(object).collect()))
    }

    /// The objects of a kind in a table of ours (`true`) or of others (`false`).
    pub(crate) fn of_kind(&self, kind: &str, is_ours: bool) -> impl Iterator<Item = &Value> {
        let is_wanted = move |object: &&Value| {
            let table = if kind == "table" { "name" } else { "table" };
            let ours = object["family"] == "inet" && object[table] == super::NAME;
            ours == is_ours
        };
        self.0.iter().filter(move |(other, _)| other == kind).map(|(_, object)| object).filter(is_wanted)
    }

    /// Everything of our table but its elements, for comparison.
    pub(crate) fn structure(&self) -> Vec<Value> {
        let bare = |(kind, object): &(String, Value)| {
            let mut object = object.clone();
            if let Some(fields) = object.as_object_mut() {
                fields.remove("handle");
                if fields.get("flags").is_some_and(|flags| flags.to_string().contains("timeout")) {
                    fields.remove("elem");
                }
                fields.insert("kind".to_owned(), kind.clone().into());
            }
            object
        };
        let is_ours = |(kind, object): &&(String, Value)| {
            kind != "metainfo" && kind != "table" && object["family"] == "inet" && object["table"] == super::NAME
        };
        self.0.iter().filter(is_ours).map(bare).collect()
    }
}

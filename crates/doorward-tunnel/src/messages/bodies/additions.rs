//! What a gateway wishes its devices to offer, and what they say to it. An agent that takes wishes says so by its report, at
//! once when a link stands; before that a gateway tells it none, so neither needs to know the other's age.

/// Gateway → agent: all services that the portal wishes for on this device. Whichever is not in it is wished for no more.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Additions {
    /// Each the JSON of `doorward_core::addition::Addition`.
    #[prost(string, repeated, tag = "1")]
    pub services: Vec<String>,
    /// The number of the scan that is wished for; 0: none is.
    #[prost(uint64, tag = "2")]
    pub scan: u64,
}

/// Agent → gateway: what its own settings allow, and which wishes it does not fulfil.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AdditionsReport {
    /// As in agent.toml.
    #[prost(string, repeated, tag = "1")]
    pub may_offer: Vec<String>,
    #[prost(bool, tag = "2")]
    pub may_scan: bool,
    #[prost(message, repeated, tag = "3")]
    pub refusals: Vec<AdditionRefusal>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AdditionRefusal {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub why: String,
    /// What `may-offer` would have to list, if that is what stands in the way.
    #[prost(string, optional, tag = "3")]
    pub needs: Option<String>,
}

/// Agent → gateway: what came of a scan.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Findings {
    #[prost(uint64, tag = "1")]
    pub scan: u64,
    #[prost(message, repeated, tag = "2")]
    pub findings: Vec<Finding>,
    /// Why there was none.
    #[prost(string, optional, tag = "3")]
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Finding {
    /// What it is, for people.
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub target: String,
    #[prost(string, optional, tag = "3")]
    pub preset: Option<String>,
    /// What its service might be called.
    #[prost(string, tag = "4")]
    pub name: String,
}

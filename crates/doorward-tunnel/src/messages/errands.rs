//! What a gateway asks of the agent itself, for the device's owner. An agent that knows nothing of it says `Unsupported`.

/// Gateway → agent: tell me the end of your log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogWanted {
    /// The answer carries it again.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// So many lines at most.
    #[prost(uint32, tag = "2")]
    pub lines: u32,
}

/// Gateway → agent: end, and start anew.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RestartWanted {
    /// The answer carries it again.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}

/// Agent → gateway: what came of `LogWanted` or `RestartWanted`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ErrandDone {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Why it was not done; for people.
    #[prost(string, optional, tag = "2")]
    pub refused: Option<String>,
    /// The oldest first.
    #[prost(string, repeated, tag = "3")]
    pub lines: Vec<String>,
}

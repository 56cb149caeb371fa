use anyhow::{Context, Result};
use serde_json::Value;

/// Packets and their bytes, IP headers included, link-layer headers not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

/// What one interface carried since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sent: Count,
    pub received: Count,
}

impl Traffic {
    /// What was carried after `earlier`.
    pub fn since(self, earlier: Traffic) -> Traffic {
        let minus = |now: Count, then: Count| Count {
            packets: now.packets.saturating_sub(then.packets),
            bytes: now.bytes.saturating_sub(then.bytes),
        };
        Traffic { sent: minus(self.sent, earlier.sent), received: minus(self.received, earlier.received) }
    }

    pub fn bytes(self) -> u64 {
        self.sent.bytes + self.received.bytes
    }

    /// Reads `ip -s -j link show dev …`. A veth counts the Ethernet header with each packet; a TUN has none.
    ///
    /// A segment of up to 64 KiB handed over whole (segmentation offload) counts as one packet, so use this for idle
    /// traffic; for bulk, a [`crate::Line`] counts what crosses a wire.
    pub(crate) fn parse(json: &str) -> Result<Traffic> {
        let links: Value = serde_json::from_str(json)?;
        let link = links.get(0).context("no such interface")?;
        let header = if link["link_type"] == "ether" { 14 } else { 0 };
        let count = |way: &str| -> Result<Count> {
            let stats = &link["stats64"][way];
            let packets = stats["packets"].as_u64().context("no packet counter")?;
            let bytes = stats["bytes"].as_u64().context("no byte counter")?;
            Ok(Count { packets, bytes: bytes.saturating_sub(packets * header) })
        };
        Ok(Traffic { sent: count("tx")?, received: count("rx")? })
    }
}

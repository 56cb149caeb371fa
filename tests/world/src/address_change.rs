//! A node gets other addresses while it runs.

use std::net::IpAddr;

use anyhow::Result;

use crate::faults::Fault;
use crate::node::Node;

impl Node {
    /// The node's addresses become these at once, as after a new DHCP lease: the old ones are gone, the interface
    /// stays up. Mending gives the former ones back.
    pub fn change_addresses(&self, addresses: &[IpAddr]) -> Result<Fault> {
        let former = self.addresses();
        self.set_addresses(addresses)?;
        let node = self.clone();
        Ok(Fault::new(move || node.set_addresses(&former)))
    }

    /// A provider's redial: the interface goes down, and comes up with other addresses. A masquerading router forgets
    /// its mappings by that. Mending redials with the former ones.
    pub fn redial(&self, addresses: &[IpAddr]) -> Result<Fault> {
        let (port, _) = self.uplink()?;
        self.ip_batch(&port.take_down())?;
        let change = self.change_addresses(addresses)?;
        let node = self.clone();
        Ok(Fault::new(move || {
            node.ip_batch(&port.take_down())?;
            change.mend()
        }))
    }

    /// The node owns further addresses on its uplink; mending takes them away.
    pub fn add_addresses(&self, addresses: &[IpAddr]) -> Result<Fault> {
        let mut all = self.addresses();
        all.extend(addresses);
        self.change_addresses(&all)
    }

    fn set_addresses(&self, addresses: &[IpAddr]) -> Result<()> {
        let (mut port, far) = self.uplink()?;
        let gone: Vec<_> = port.addresses.iter().copied().filter(|old| !addresses.contains(old)).collect();
        port.addresses = addresses.to_vec();
        self.ip_batch(&(port.remove(&gone) + &port.bring_up()))?;
        far.ip_batch(&(port.remove_far_routes(&gone) + &port.far_routes()))?;
        self.set_uplink(port, far);
        Ok(())
    }
}

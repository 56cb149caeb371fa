//! What can go wrong at a node's uplink. Each fault is one call; ending the fault undoes it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::node::Node;

type Undo = Box<dyn FnOnce() -> Result<()> + Send>;

/// A fault that lasts as long as this value.
#[must_use = "a fault ends when it is dropped"]
pub struct Fault {
    undo: Option<Undo>,
}

impl Fault {
    pub(crate) fn new(undo: impl FnOnce() -> Result<()> + Send + 'static) -> Fault {
        Fault { undo: Some(Box::new(undo)) }
    }

    /// Ends the fault now.
    pub fn mend(mut self) -> Result<()> {
        self.undo.take().map_or(Ok(()), |undo| undo())
    }

    /// It never ends.
    pub fn stays(mut self) {
        // Not dropped: the undo may own further faults, which would end.
        std::mem::forget(self.undo.take());
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.undo.take().map(|undo| undo()) {
            // Expected when the world went first.
            eprintln!("a fault was not mended: {error:#}");
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").finish_non_exhaustive()
    }
}

impl Node {
    /// The uplink swallows every packet in both directions: no RST, no ICMP, and interfaces stay up.
    pub fn cut(&self) -> Result<Fault> {
        let (port, far) = self.uplink()?;
        let near = swallow(self, &port.interface)?;
        let far = swallow(&far, &port.far_interface)?;
        Ok(both(near, far))
    }

    /// Packets from the node are swallowed, packets to it still arrive.
    pub fn cut_outgoing(&self) -> Result<Fault> {
        let (port, far) = self.uplink()?;
        swallow(&far, &port.far_interface)
    }

    /// Packets to the node are swallowed, packets from it still leave.
    pub fn cut_incoming(&self) -> Result<Fault> {
        swallow(self, &self.uplink()?.0.interface)
    }

    /// Cuts for `length` and mends; waits meanwhile.
    pub fn cut_for(&self, length: Duration) -> Result<()> {
        let cut = self.cut()?;
        thread::sleep(length);
        cut.mend()
    }

    /// The machine is gone for good: nobody hears from it again, no FIN, no RST. Its processes may be killed after.
    pub fn vanish(&self) -> Result<()> {
        self.cut()?.stays();
        Ok(())
    }

    /// The cable is out: the interface is down, without address and route ("network is unreachable"). Mending plugs it
    /// in again. Unplug before a program starts to let it boot before the network is there.
    pub fn unplug(&self) -> Result<Fault> {
        let (port, far) = self.uplink()?;
        self.ip_batch(&port.take_down())?;
        let node = self.clone();
        Ok(Fault::new(move || {
            // The address may have been changed meanwhile.
            let (port, _) = node.uplink()?;
            node.ip_batch(&port.bring_up())?;
            far.ip_batch(&port.far_routes())
        }))
    }
}

static SWALLOWING: AtomicUsize = AtomicUsize::new(0);

/// Drops IP packets as they come in at `interface`, before anything else sees them. Address resolution passes, else
/// senders would be told that the host is unreachable after a while.
fn swallow(node: &Node, interface: &str) -> Result<Fault> {
    let table = format!("cut_{}", SWALLOWING.fetch_add(1, Ordering::Relaxed));
    node.nft(&format!(
        "table netdev {table} {{
            chain incoming {{
                type filter hook ingress device \"{interface}\" priority 0; policy accept;
                icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                meta protocol {{ ip, ip6 }} drop
            }}
        }}\n"
    ))?;
    let node = node.clone();
    Ok(Fault::new(move || node.nft(&format!("delete table netdev {table}\n"))))
}

fn both(one: Fault, other: Fault) -> Fault {
    Fault::new(move || one.mend().and(other.mend()))
}

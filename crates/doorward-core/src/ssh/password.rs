//! What a password by SSH is good for. All of them are made by the gateway, and each is one device's.

use super::Identity;
use crate::names::Label;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// As a key of the device's own: whoever has it is the device.
    Token,
    /// To send to this virtual port of the device, and for nothing else.
    SenderKey { port: u16 },
}

impl Purpose {
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "device-token",
            Self::SenderKey { .. } => "sender-key",
        }
    }

    /// The virtual port that it is for, if it is for one alone.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Token => None,
            Self::SenderKey { port } => Some(port),
        }
    }

    /// Whom a password of this device's proves. The user name must be the device's: a password that is tried with another
    /// name is a wrong one.
    pub fn identity(self, device: &Label, user: &str) -> Option<Identity> {
        let is_named = Label::parse(user).is_ok_and(|named| named == *device);
        is_named.then(|| match self {
            Self::Token => Identity::Device(device.clone()),
            Self::SenderKey { port } => Identity::Sender { device: device.clone(), port },
        })
    }
}

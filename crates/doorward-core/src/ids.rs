//! Identifiers of stored things. A newtype each, so that a device can never be taken for a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A person: who owns devices, names, ports, policies and invites, and whom policies name.
    AccountId
);
id!(
    /// A registered private machine. Its key may change (the SD card died); its id does not.
    DeviceId
);
id!(
    /// Something a device offers. Names and ports belong to it for ever.
    ServiceId
);
id!(
    /// A permission to enrol, single-use unless said otherwise.
    InviteId
);
id!(
    /// A named list of people.
    GroupId
);
id!(
    /// A time-limited opening of one service for one person.
    SessionId
);
id!(
    /// Somebody's wish that a session be approved.
    ApprovalId
);
id!(
    /// A key by which somebody knocks. Never given twice.
    KnockKeyId
);
id!(
    /// A signed-in browser or API token. Never given twice.
    LoginId
);
id!(
    /// A permission for people to become, or to be again, somebody who can sign in.
    WelcomeId
);
id!(
    /// A key of somebody\'s own device, by which they sign in.
    PasskeyId
);
id!(
    /// A link that lets whoever has it come to one service. Never given twice.
    ShareId
);
id!(
    /// Who somebody is at an identity provider.
    IdentityId
);

//! Actions and their answers, UPnP Device Architecture 1.1, section 3.

use super::description::{child, parse};
use roxmltree::Node;
use std::fmt::Write as _;

/// More than any answer has.
const MOST_FIELDS: usize = 64;
const LONGEST: usize = 1024;

/// What an action answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An action that was refused (WANIPConnection:1 and 2, 2.4.16 and 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: u16,
}

const INVALID_ARGUMENTS: u16 = 402;
const ACTION_FAILED: u16 = 501;
const NOT_AUTHORISED: u16 = 606;
const NO_SUCH_ENTRY: u16 = 714;
const SOURCE_MUST_BE_NAMED: u16 = 715;
const CONFLICT: u16 = 718;
const SAME_PORTS_ONLY: u16 = 724;
const PERMANENT_ONLY: u16 = 725;
const NO_SOURCES: u16 = 726;
const NO_PORTS: u16 = 727;
const FULL: u16 = 728;
const CONFLICTS_WITH_OTHERS: u16 = 729;

/// What a refusal means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    AnotherPort,
    SamePort,
    Permanent,
    NoSources,
    None,
}

impl Fault {
    pub(crate) fn is_no_such_entry(self) -> bool {
        self.code == NO_SUCH_ENTRY
    }

    /// `is_permanent`: no lease was asked for.
    pub(crate) fn remedy(self, is_permanent: bool) -> Remedy {
        match self.code {
            // So say routers that knew no leases before there was a code for it.
            INVALID_ARGUMENTS if !is_permanent => Remedy::Permanent,
            CONFLICT | CONFLICTS_WITH_OTHERS => Remedy::AnotherPort,
            SAME_PORTS_ONLY => Remedy::SamePort,
            PERMANENT_ONLY => Remedy::Permanent,
            NO_SOURCES => Remedy::NoSources,
            _ => Remedy::None,
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self.code {
            INVALID_ARGUMENTS => "invalid arguments",
            ACTION_FAILED => "it failed",
            NOT_AUTHORISED => "not authorised",
            NO_SUCH_ENTRY => "no such mapping",
            SOURCE_MUST_BE_NAMED => "a source must be named",
            CONFLICT | CONFLICTS_WITH_OTHERS => "the port is in use",
            SAME_PORTS_ONLY => "both ports must be the same",
            PERMANENT_ONLY => "only without an end",
            NO_SOURCES => "sources cannot be named",
            NO_PORTS => "ports cannot be named",
            FULL => "too many mappings",
            _ => "no reason that is known",
        }
    }
}

pub(super) fn envelope(service: &str, action: &str, arguments: &[(&'static str, String)]) -> String {
    let mut inner = String::new();
    for (name, value) in arguments {
        // Writing to a string cannot fail.
        let _ = write!(inner, "<{name}>{}</{name}>", escaped(value));
    }
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{service}\">\
         {inner}</u:{action}></s:Body></s:Envelope>\r\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The action's answer, or its refusal; an error says why it is neither.
pub(crate) fn read_response(action: &str, bytes: &[u8]) -> Result<Result<Fields, Fault>, &'static str> {
    let document = parse(bytes)?;
    let root = document.root_element();
    let body = element(root, "Body").ok_or("it has no body")?;
    if let Some(fault) = element(body, "Fault") {
        let error = fault.descendants().find(|node| node.tag_name().name() == "UPnPError");
        let code = error.and_then(|error| child(error, "errorCode")?.parse().ok());
        return Ok(Err(Fault { code: code.ok_or("a fault without a code")? }));
    }
    let answer = element(body, &format!("{action}Response")).ok_or("it answers something else")?;
    let elements = answer.children().filter(Node::is_element).take(MOST_FIELDS);
    let fields = elements.map(|node| {
        let text = node.text().unwrap_or_default().trim();
        let text: String = text.chars().take(LONGEST).collect();
        (node.tag_name().name().chars().take(LONGEST).collect(), text)
    });
    Ok(Ok(Fields(fields.collect())))
}

fn element<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(inner: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inner}\
             </s:Body></s:Envelope>"
        )
    }

    fn fault(code: &str) -> String {
        answered(&format!(
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
             <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode>\
             <errorDescription>x</errorDescription></UPnPError></detail></s:Fault>"
        ))
    }

    fn read(text: &str) -> Result<Result<Fields, Fault>, &'static str> {
        read_response("GetExternalIPAddress", text.as_bytes())
    }

    #[test]
    fn answers_and_faults_are_read() {
        let text = answered(
            "<u:GetExternalIPAddressResponse xmlns:u=\"urn:x\"><NewExternalIPAddress> 198.51.100.7 \
             </NewExternalIPAddress></u:GetExternalIPAddressResponse>",
        );
        let fields = read(&text).unwrap().unwrap();
        assert_eq!(fields.first("NewExternalIPAddress"), Some("198.51.100.7"));
        assert_eq!(fields.first("NewPort"), None);
        for (code, remedy) in [
            (718, Remedy::AnotherPort),
            (729, Remedy::AnotherPort),
            (724, Remedy::SamePort),
            (725, Remedy::Permanent),
            (726, Remedy::NoSources),
            (402, Remedy::None),
            (606, Remedy::None),
            (1, Remedy::None),
        ] {
            let read = read(&fault(&code.to_string())).unwrap().unwrap_err();
            assert_eq!((read.code, read.remedy(true)), (code, remedy));
        }
    }

    #[test]
    fn invalid_arguments_may_be_the_lease() {
        assert_eq!(Fault { code: INVALID_ARGUMENTS }.remedy(false), Remedy::Permanent);
        assert_eq!(Fault { code: INVALID_ARGUMENTS }.remedy(true), Remedy::None);
    }

    #[test]
    fn everything_else_makes_no_sense() {
        for (what, text) in [
            ("another action's answer", answered("<u:AddPortMappingResponse xmlns:u=\"urn:x\"/>")),
            ("a fault without a number", fault("seven")),
            ("a number that is too large", fault("99999999999")),
            ("no body", "<a/>".to_owned()),
            ("a page", "<!DOCTYPE html><html><body>Sign in</body></html>".to_owned()),
            ("nothing", String::new()),
        ] {
            assert!(read(&text).is_err(), "{what}");
        }
    }

    #[test]
    fn what_we_say_stays_text() {
        let text = envelope("urn:x", "AddPortMapping", &[("NewPortMappingDescription", "a<b>&c".to_owned())]);
        assert!(text.contains("<NewPortMappingDescription>a&lt;b&gt;&amp;c</NewPortMappingDescription>"), "{text}");
        assert!(parse(text.as_bytes()).is_ok());
    }
}

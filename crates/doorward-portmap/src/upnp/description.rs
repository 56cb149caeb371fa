//! What a router says it is: XML of the UPnP Device Architecture 1.1, section 2.

use super::location::Location;
use roxmltree::{Document, Node, ParsingOptions};

/// More than any router has.
const MOST_NODES: u32 = 4096;
const LONGEST_NAME: usize = 256;
const MOST_LINES: usize = 4;
/// Best first. A line by PPPoE has a service of another name with the same actions.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) udn: String,
    /// Name and place of each service that maps ports.
    pub(crate) services: Vec<(String, Location)>,
}

/// XML without a DTD, and so without entities to expand.
pub(super) fn parse(bytes: &[u8]) -> Result<Document<'_>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8")?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    // Some routers send a zero after the end.
    Document::parse_with_options(text.trim_matches(['\0', '\u{feff}']).trim(), options).map_err(|_| "it is no XML")
}

impl Description {
    pub(crate) fn read(bytes: &[u8], location: &Location) -> Result<Self, &'static str> {
        let document = parse(bytes)?;
        let root = document.root_element();
        // URLBase is of version 1.0, and means what relative places start from.
        let base = match child(root, "URLBase").filter(|base| !base.is_empty()) {
            Some(base) => location.join(base).ok_or("its URLBase leads elsewhere")?,
            None => location.clone(),
        };
        let device = root.children().find(|node| node.tag_name().name() == "device").ok_or("it has no device")?;
        let udn = child(device, "UDN").filter(|udn| !udn.is_empty() && udn.len() <= LONGEST_NAME);
        let udn = udn.ok_or("it has no UDN")?.to_owned();
        let mut services = Vec::new();
        for wanted in SERVICES {
            let of_type = device
                .descendants()
                .filter(|node| node.tag_name().name() == "service" && child(*node, "serviceType") == Some(wanted));
            let places = of_type.filter_map(|service| base.join(child(service, "controlURL")?));
            services.extend(places.map(|place| (wanted.to_owned(), place)));
        }
        services.truncate(MOST_LINES);
        if services.is_empty() { Err("it has no service that maps ports") } else { Ok(Self { udn, services }) }
    }
}

/// The text of a child element.
pub(super) fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.children().find(|child| child.is_element() && child.tag_name().name() == name)?;
    Some(found.text().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn location() -> Location {
        Location::parse("http://192.168.77.1:5000/rootDesc.xml", Ipv4Addr::new(192, 168, 77, 1)).unwrap()
    }

    fn service(kind: &str, control: &str) -> String {
        format!(
            "<service><serviceType>urn:schemas-upnp-org:service:{kind}</serviceType>\
             <controlURL>{control}</controlURL></service>"
        )
    }

    fn described(base: &str, services: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device><UDN>uuid:home</UDN>\
             <deviceList><device><UDN>uuid:inner</UDN><serviceList>{services}</serviceList></device></deviceList>\
             </device></root>"
        )
    }

    fn read(text: &str) -> Result<Vec<String>, &'static str> {
        let found = Description::read(text.as_bytes(), &location())?;
        assert_eq!(found.udn, "uuid:home");
        Ok(found.services.iter().map(|(_, place)| format!("{} {}", place.address(), place.path())).collect())
    }

    #[test]
    fn a_router_says_where_ports_are_mapped() {
        let ip = service("WANIPConnection:1", "/ctl/IPConn");
        let ppp = service("WANPPPConnection:1", "/ctl/PPPConn");
        let version_2 = service("WANIPConnection:2", "/ctl/v2");
        let other = service("WANCommonInterfaceConfig:1", "/ctl/Common");
        let at = |paths: &[&str]| Ok(paths.iter().map(|path| format!("192.168.77.1:5000 {path}")).collect());
        assert_eq!(read(&described("", &[ppp, other, ip.clone()].concat())), at(&["/ctl/IPConn", "/ctl/PPPConn"]));
        assert_eq!(read(&described("", &[ip.clone(), version_2].concat())), at(&["/ctl/v2", "/ctl/IPConn"]));
        assert_eq!(read(&format!("\u{feff}{}\0\0", described("", &ip))), at(&["/ctl/IPConn"]));
        let elsewhere = described("<URLBase>http://192.168.77.1:80/x/</URLBase>", &service("WANIPConnection:1", "c"));
        assert_eq!(read(&elsewhere), Ok(vec!["192.168.77.1:80 /x/c".to_owned()]));
    }

    #[test]
    fn what_leads_elsewhere_or_is_no_description_is_refused() {
        let ip = service("WANIPConnection:1", "/ctl/IPConn");
        let doctype = described("", &ip).replace("<root", "<!DOCTYPE root [<!ENTITY a \"b\">]><root");
        let deep = format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000));
        for (what, text) in [
            ("a base elsewhere", described("<URLBase>http://203.0.113.9/</URLBase>", &ip)),
            ("a service elsewhere", described("", &service("WANIPConnection:1", "http://203.0.113.9/ctl"))),
            ("a service at another of the LAN", described("", &service("WANIPConnection:1", "http://192.168.77.2/c"))),
            ("a document type", doctype),
            ("no service", described("", "")),
            ("no device", "<root/>".to_owned()),
            ("too deep", deep),
            ("too many nodes", described("", &"<a/>".repeat(10_000))),
            ("no XML", "<root".to_owned()),
            ("nothing", String::new()),
        ] {
            assert!(Description::read(text.as_bytes(), &location()).is_err(), "{what}");
        }
        assert!(Description::read(&[0xff; 64], &location()).is_err(), "garbage");
    }
}

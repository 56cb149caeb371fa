//! The init script for OpenWrt's procd. Enabling is the links that `/etc/init.d/… enable` would make.

use super::service::{Part, Service};
use super::unit::Unit;
use std::path::{Path, PathBuf};

const START: u32 = 95;
const STOP: u32 = 10;

pub(super) fn text(service: &Service) -> String {
    if service.part == Part::Router {
        return format!(
            include_str!("router.sh"),
            description = service.part.description(),
            name = service.part.service_name(),
            command = service.shell_command(),
            start = START,
            stop = STOP,
        );
    }
    format!(
        include_str!("procd.sh"),
        description = service.part.description(),
        name = service.part.service_name(),
        part = service.part.name(),
        command = service.shell_command(),
        max_files = service.part.max_files(),
        start = START,
        stop = STOP,
    )
}

pub(super) fn unit(service: &Service) -> Unit {
    Unit { text: text(service), ..bare_unit(service.part) }
}

/// Where the script is and how it is spoken to, without what it says.
pub(super) fn bare_unit(part: Part) -> Unit {
    let name = part.service_name();
    let file = Path::new("/etc/init.d").join(name);
    let link = |order: String| (Path::new("/etc/rc.d").join(order + name), PathBuf::from("../init.d").join(name));
    let command = |word: &str| vec![file.to_string_lossy().into_owned(), word.to_owned()];
    Unit {
        part,
        mode: 0o755,
        text: String::new(),
        links: vec![link(format!("S{START}")), link(format!("K{STOP}"))],
        reload: None,
        start: command("start"),
        restart: command("restart"),
        stop: command("stop"),
        file,
    }
}

//! `doorward scan`: what this device could offer.

use crate::admin::table::Table;
use crate::terminal;
use clap::Args;
use doorward_agent::scan::{Found, Webcam, own_subnets, scan, webcams_of};
use doorward_core::addition::Addition;
use serde::Serialize;

pub(super) const EXAMPLES: &str = "\
Asks a dozen usual ports of this machine and of its own private networks, a few
at a time; networks larger than /22 are left out. Nothing is changed anywhere.

Examples:
  doorward scan
  doorward scan --json";

#[derive(Debug, Args)]
pub(super) struct ScanArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FoundBody {
    kind: &'static str,
    #[serde(flatten)]
    service: Addition,
    /// That the application's own settings know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cameras: Vec<CameraBody>,
}

#[derive(Serialize)]
struct CameraBody {
    path: String,
    target: String,
    /// What to change in the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl ScanArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if !self.json {
            let left_out = own_subnets().into_iter().filter(|net| !net.is_small());
            for net in left_out {
                eprintln!("{}/{} is too large to be looked at.", net.network, net.length);
            }
            eprintln!("Looking around; this takes up to two minutes …");
        }
        let found = scan().await;
        let with_cameras = found.iter().map(async |found| FoundBody::new(found, webcams_of(found).await));
        let found = futures_util::future::join_all(with_cameras).await;
        if self.json {
            return terminal::print(&(serde_json::to_string_pretty(&found)? + "\n"));
        }
        terminal::print(&shown(&found))
    }
}

impl FoundBody {
    fn new(found: &Found, webcams: Vec<Webcam>) -> Self {
        let preset = found.kind.preset().map(str::to_owned);
        let service = Addition { name: found.name(), title: None, target: found.target(), preset };
        let camera = |Webcam { target, path, remedy }| CameraBody { path: path.to_string(), target, remedy };
        Self { kind: found.kind.title(), service, cameras: webcams.into_iter().map(camera).collect() }
    }

    /// For `agent.toml`.
    fn table(&self) -> String {
        let mut table = self.service.table();
        let remedies = self.cameras.iter().filter_map(|camera| camera.remedy.as_ref());
        remedies.for_each(|remedy| table += &format!("# Change in {}: {remedy}\n", self.kind));
        let mounts: Vec<_> = self.cameras.iter().map(|c| format!("\"{}\" = \"{}\"", c.path, c.target)).collect();
        if !mounts.is_empty() {
            table += &format!("mounts = {{ {} }}\n", mounts.join(", "));
        }
        table
    }
}

fn shown(found: &[FoundBody]) -> String {
    if found.is_empty() {
        return "Nothing was found that Doorward knows. `doorward http HOST:PORT` offers anything else.\n".to_owned();
    }
    let mut table = Table::new(&["WHAT", "WHERE", "PRESET"]);
    for one in found {
        let preset = one.service.preset.clone().unwrap_or_default();
        table.row([one.kind.to_owned(), one.service.target.clone(), preset]);
    }
    let tables: Vec<_> = found.iter().map(FoundBody::table).collect();
    format!("{table}\nFor agent.toml, as many as you like, each with a name of its own:\n\n{}", tables.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_agent::Settings;
    use doorward_agent::scan::Kind;
    use doorward_core::names::PathPrefix;
    use std::path::Path;

    #[test]
    fn what_is_shown_can_be_pasted_into_the_settings() {
        let found = [
            Found { kind: Kind::OctoPrint, at: "192.168.1.5:5000".parse().unwrap() },
            Found { kind: Kind::RtspCamera, at: "192.168.1.9:554".parse().unwrap() },
        ];
        let webcam = Webcam {
            target: "camera+http://192.168.1.7/stream".to_owned(),
            path: PathPrefix::parse("/webcam/").unwrap(),
            remedy: Some("Settings, Classic Webcam, Stream URL: write /webcam/?action=stream".to_owned()),
        };
        let text = shown(&found.each_ref().map(|found| {
            let webcams = if found.kind == Kind::OctoPrint { vec![webcam.clone()] } else { Vec::new() };
            FoundBody::new(found, webcams)
        }));
        let (_, tables) = text.split_once("its own:\n\n").unwrap();
        let settings = Settings::parse(tables, Path::new("agent.toml")).unwrap();
        assert_eq!(settings.services.len(), 2);
        assert!(settings.services[0].offer.web.mounts[0].camera, "{tables}");
        assert!(text.contains("# Change in OctoPrint: Settings, Classic Webcam"), "{text}");
        assert!(text.contains("http://192.168.1.5:5000") && text.contains("Camera (RTSP)"), "{text}");
        assert!(shown(&[]).contains("Nothing was found"));
    }
}

//! The keys that somebody knocks with, by the name that they gave each: `knocks.toml`, for its owner alone.

use crate::paths;
use anyhow::Context;
use doorward_core::Secret;
use doorward_core::knock::KnockLine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    gateway: BTreeMap<String, String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.gateway.values_mut().for_each(Zeroize::zeroize);
    }
}

pub fn file() -> PathBuf {
    paths::configuration("knocks.toml")
}

/// A line that is no key is not kept; one of the same name gives way.
pub fn learn(path: &Path, name: &str, line: &Secret<String>) -> anyhow::Result<()> {
    KnockLine::read(line.expose())?;
    let mut file = read(path)?;
    file.gateway.insert(name.to_owned(), line.expose().trim().to_owned());
    write(path, &file)
}

/// With its name. Where there is one alone, it is the one.
pub fn find(path: &Path, name: Option<&str>) -> anyhow::Result<(String, KnockLine)> {
    let file = read(path)?;
    let names = || file.gateway.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let name = match name {
        Some(name) => name,
        None if file.gateway.len() == 1 => file.gateway.keys().next().context("there is one")?,
        None if file.gateway.is_empty() => anyhow::bail!("no knock key is known here: `doorward knock --learn home`"),
        None => anyhow::bail!("say where: {}", names()),
    };
    let Some(line) = file.gateway.get(name) else {
        anyhow::bail!("no knock key is called {name} here (known: {}); `doorward knock --learn {name}`", names());
    };
    let line = KnockLine::read(line).with_context(|| format!("{}: {name}", path.display()))?;
    Ok((name.to_owned(), line))
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let mode = std::fs::metadata(path)?.permissions().mode();
    anyhow::ensure!(mode & 0o077 == 0, "others may read {}: `chmod 600` it, and have new keys made", path.display());
    // What toml says of a mistake shows the line, and so the key.
    let read = toml::from_str(text.expose()).map_err(|error| error.message().to_owned());
    read.map_err(|what| anyhow::anyhow!("{}: {what}", path.display()))
}

fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    let directory = path.parent().context("the file has a directory")?;
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let text = Secret::new(toml::to_string(file).context("what is kept is always TOML")?);
    let part = path.with_extension("toml.new");
    let _ = std::fs::remove_file(&part);
    let write = || -> io::Result<()> {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        new.write_all(text.expose().as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::knock::KeyId;
    use doorward_core::site::Host;

    fn line(port: u16) -> Secret<String> {
        let host = Host::Ip("192.0.2.1".parse().unwrap());
        KnockLine { host, port, id: KeyId([1; 16]), secret: Secret::new([2; 32]), may_be_seen: false }.to_text()
    }

    #[test]
    fn what_is_learned_is_found_again_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/knocks.toml");
        assert!(find(&path, None).unwrap_err().to_string().contains("--learn"));
        learn(&path, "home", &line(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(find(&path, None).unwrap().1.port, 1);
        learn(&path, "work", &line(2)).unwrap();
        learn(&path, "home", &line(3)).unwrap();
        assert!(find(&path, None).unwrap_err().to_string().contains("home, work"));
        assert_eq!(find(&path, Some("home")).unwrap().1.port, 3);
        assert!(find(&path, Some("away")).unwrap_err().to_string().contains("away"));
        assert!(learn(&path, "bad", &Secret::new("dwknock_x".to_owned())).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find(&path, Some("home")).unwrap_err().to_string().contains("chmod 600"));
    }
}

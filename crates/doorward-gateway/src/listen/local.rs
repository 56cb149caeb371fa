//! The socket in the file system on which a web server of this machine reaches the gateway. Its mode is the lock: the
//! gateway's user and the group of the socket's folder may open it, nobody else.

use super::persist;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

/// Whoever is on it is on this machine.
pub(crate) const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const MODE: u32 = 0o660;

pub(crate) fn listen_local(path: &Path) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Until `listen` nobody can connect, whatever the mode that it was made with.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    share(path)?;
    socket.listen(4096)?;
    UnixListener::from_std(socket.into())
}

/// What a gateway left that is gone. One that answers, and whatever is no socket, is somebody's.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The folder says which group: there its owner can give it to the web server's.
fn share(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let group = fs::metadata(folder)?.gid();
    match std::os::unix::fs::chown(path, None, Some(group)) {
        // A group that is not ours to give to: then ours alone may come in.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// What the owner can do about a socket that cannot be opened.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program answers on it: end that one, or set another path in behind",
        io::ErrorKind::AlreadyExists => "something that is no socket has this name: set another path in behind",
        io::ErrorKind::NotFound => "make the folder that it stands in, or set another path in behind",
        io::ErrorKind::PermissionDenied => "the user that serves must be able to write to the folder that it stands in",
        _ => "look at behind in gateway.toml",
    }
}

/// The next connection.
pub(crate) async fn accept(listener: &UnixListener) -> UnixStream {
    persist(|cx| listener.poll_accept(cx)).await.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(path: &Path) -> Result<UnixListener, io::ErrorKind> {
        listen_local(path).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn what_a_dead_gateway_left_is_replaced_and_what_is_anothers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let first = listen(&path).unwrap();
        assert_eq!(listen(&path).err(), Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(path.exists(), "nothing tidies up after a crash");
        let second = listen(&path).unwrap();
        let (near, far) = tokio::join!(UnixStream::connect(&path), accept(&second));
        assert!(near.is_ok() && far.peer_addr().is_ok());

        let file = folder.path().join("notes");
        fs::write(&file, "mine").unwrap();
        assert_eq!(listen(&file).err(), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(listen(&folder.path().join("no/web.sock")).err(), Some(io::ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn the_group_of_its_folder_may_open_it_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        // Only root may give a folder to a group of others.
        let group = std::os::unix::fs::chown(folder.path(), None, Some(33))
            .map_or_else(|_| fs::metadata(folder.path()).unwrap().gid(), |()| 33);
        let path = folder.path().join("web.sock");
        let _listener = listen(&path).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.mode() & 0o777, made.gid()), (0o660, group));
    }
}

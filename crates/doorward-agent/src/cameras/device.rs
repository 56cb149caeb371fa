//! Cameras of this machine itself: `/dev/video0`, a pipe into which a program writes one JPEG after another, a file that a
//! program writes anew for each picture.

use super::events::{Events, Trouble};
use bytes::Bytes;
use doorward_frames::health::STALLED_AFTER;
use doorward_frames::splitter::{Limits, Splitter};
use doorward_frames::{PICTURE_LIMIT, Picture};
use linuxvideo::format::{PixFormat, PixelFormat};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, Device};
use std::convert::Infallible;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A driver takes what its camera has nearest to it.
const SIZE: (u32, u32) = (1280, 720);
/// Drivers wait for their hardware.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A driver is asked whether there is a picture: to be told by it would take unsafe code.
const ASK_EVERY: Duration = Duration::from_millis(5);
const AT_ONCE: usize = 64 * 1024;

pub(super) async fn read(path: &Path, events: &Events) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut pictures = 0;
        let Err(trouble) = once(path, events, &mut pictures).await;
        pause = if pictures > 0 { FIRST_PAUSE } else { pause };
        events.trouble(trouble).await;
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(path: &Path, events: &Events, pictures: &mut u64) -> Result<Infallible, Trouble> {
    let kind = tokio::fs::metadata(path).await.map_err(|error| cannot_open(&error))?.file_type();
    if kind.is_char_device() {
        video(path, events, pictures).await
    } else if kind.is_fifo() {
        from_pipe(path, events, pictures).await
    } else if kind.is_file() {
        file(path, events, pictures).await
    } else {
        Err(Trouble::failed("its target is neither a camera nor a pipe nor a file"))
    }
}

fn cannot_open(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::NotFound => Trouble::failed("it is not there: it is unplugged, or nothing writes its pictures"),
        io::ErrorKind::PermissionDenied => {
            Trouble::failed("the agent's user may not read it; cameras belong to the group video")
        }
        io::ErrorKind::ResourceBusy => Trouble::failed("another program uses it"),
        _ => Trouble::failed(format!("it cannot be opened: {error}")),
    }
}

async fn video(path: &Path, events: &Events, pictures: &mut u64) -> Result<Infallible, Trouble> {
    let path = path.to_owned();
    let opening = timeout(OPEN_LIMIT, tokio::task::spawn_blocking(move || open_video(&path))).await;
    let opened = opening.map_err(|_| Trouble::failed("it does not open"))?;
    let mut stream = opened.unwrap_or_else(|fault| Err(Trouble::failed(fault.to_string())))?;
    let mut last = Instant::now();
    loop {
        match dequeue(&mut stream).map_err(|error| gone(&error))? {
            Some(bytes) => {
                last = Instant::now();
                // A camera that just woke sends halves.
                if let Some(picture) = Picture::read(&bytes) {
                    *pictures += 1;
                    events.picture(picture).await;
                }
            }
            None if last.elapsed() > STALLED_AFTER => return Err(silent()),
            None => sleep(ASK_EVERY).await,
        }
    }
}

fn open_video(path: &PathBuf) -> Result<ReadStream, Trouble> {
    let device = Device::open(path).map_err(|error| cannot_open(&error))?;
    let mut formats = device.formats(BufType::VIDEO_CAPTURE).filter_map(Result::ok).map(|format| format.pixel_format());
    let known = formats.find(|format| [PixelFormat::MJPG, PixelFormat::JPEG].contains(format));
    let format = known.ok_or_else(|| {
        Trouble::failed("it makes no JPEGs by itself: let ffmpeg or ustreamer make them, and name that as the camera")
    })?;
    let opened = device.video_capture(PixFormat::new(SIZE.0, SIZE.1, format)).and_then(|capture| capture.into_stream());
    opened.map_err(|error| cannot_open(&error))
}

/// `None`: there is nothing yet, or nothing that can be used.
fn dequeue(stream: &mut ReadStream) -> io::Result<Option<Bytes>> {
    if stream.will_block()? {
        return Ok(None);
    }
    stream.dequeue(|buffer| {
        let is_usable = !buffer.is_error() && buffer.len() <= PICTURE_LIMIT;
        Ok(Some(if is_usable { Bytes::copy_from_slice(&buffer) } else { Bytes::new() }))
    })
}

/// It stays open when its writer ends: the next one is heard at once.
async fn from_pipe(path: &Path, events: &Events, pictures: &mut u64) -> Result<Infallible, Trouble> {
    let mut options = pipe::OpenOptions::new();
    let mut pipe = options.read_write(true).open_receiver(path).map_err(|error| cannot_open(&error))?;
    // Anything may stand between pictures here, or nothing.
    let mut splitter = Splitter::new(None, Limits::default());
    let mut buffer = vec![0; AT_ONCE];
    loop {
        let read = timeout(STALLED_AFTER, pipe.read(&mut buffer)).await.map_err(|_| silent())?;
        let mut bytes = &buffer[..read.map_err(|error| gone(&error))?];
        while let Some(picture) = splitter.next(&mut bytes).map_err(|error| Trouble::failed(error.to_string()))? {
            *pictures += 1;
            events.picture(picture).await;
        }
    }
}

/// Whatever is half written is looked at again.
async fn file(path: &Path, events: &Events, pictures: &mut u64) -> Result<Infallible, Trouble> {
    let (mut seen, mut newest) = (None, Bytes::new());
    loop {
        let changed = tokio::fs::metadata(path).await.map_err(|error| cannot_open(&error))?;
        if seen != Some(version(&changed)) {
            let bytes = read_file(path).await.map_err(|error| cannot_open(&error))?;
            let picture = Picture::read(&bytes).filter(|picture| picture.jpeg.ends_with(&END));
            match picture {
                Some(picture) if picture.jpeg != newest => {
                    newest = picture.jpeg.clone();
                    *pictures += 1;
                    events.picture(picture).await;
                    seen = Some(version(&changed));
                }
                Some(_) => seen = Some(version(&changed)),
                None if bytes.len() > PICTURE_LIMIT => {
                    return Err(Trouble::failed("its file is larger than a picture"));
                }
                None => {}
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

const END: [u8; 2] = [0xff, 0xd9];

fn version(of: &Metadata) -> (Option<SystemTime>, u64) {
    (of.modified().ok(), of.len())
}

async fn read_file(path: &Path) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    File::open(path).await?.take(PICTURE_LIMIT as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

fn silent() -> Trouble {
    Trouble::stalled(format!("nothing came from it for {} s", STALLED_AFTER.as_secs()))
}

fn gone(error: &io::Error) -> Trouble {
    Trouble::stalled(format!("it is gone: {error}"))
}

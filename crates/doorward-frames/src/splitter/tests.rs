use super::samples::{self, Camera, cameras, picture};
use super::*;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Files of a line with the answer's `Content-Type` and the bytes that came after its head.
fn recorded() -> Vec<(String, String, Vec<u8>)> {
    let files = fs::read_dir(folder().join("streams")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let content_type = String::from_utf8(bytes[..end].to_vec()).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), content_type, bytes[end + 1..].to_vec())
    };
    paths.into_iter().map(read).collect()
}

fn all() -> Vec<(String, String, Vec<u8>)> {
    let written =
        cameras().into_iter().map(|camera| (camera.name.to_owned(), camera.content_type.to_owned(), camera.bytes));
    recorded().into_iter().chain(written).collect()
}

/// With the bytes in such pieces, the last size for all that is left.
fn split(content_type: &str, bytes: &[u8], pieces: &[usize]) -> (Vec<Picture>, Faults) {
    let mut splitter = Splitter::new(Some(content_type), Limits::default());
    let (mut pictures, mut left) = (Vec::new(), bytes);
    let sizes = pieces.iter().copied().chain(std::iter::repeat(*pieces.last().unwrap()));
    for size in sizes {
        let mut piece;
        (piece, left) = left.split_at(size.min(left.len()));
        while !piece.is_empty() {
            pictures.extend(splitter.next(&mut piece).unwrap());
        }
        if left.is_empty() {
            break;
        }
    }
    let (last, faults) = splitter.finish();
    pictures.extend(last);
    (pictures, faults)
}

#[test]
fn every_cameras_stream_is_read_as_committed() {
    let mut read = String::new();
    for (name, content_type, bytes) in all() {
        let (pictures, faults) = split(&content_type, &bytes, &[bytes.len()]);
        write!(read, "{name}:").unwrap();
        for Picture { jpeg, size } in pictures {
            let size = size.map_or_else(|| "?".to_owned(), |size| format!("{}x{}", size.width, size.height));
            write!(read, " {size}/{}", jpeg.len()).unwrap();
        }
        writeln!(read, " | {faults}").unwrap();
    }
    let golden = folder().join("streams.golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &read).unwrap();
    }
    assert_eq!(read, fs::read_to_string(golden).unwrap());
}

#[test]
fn whatever_a_camera_does_wrong_its_pictures_come_out_untouched() {
    for Camera { name, content_type, bytes, pictures } in cameras() {
        let (read, _) = split(content_type, &bytes, &[bytes.len()]);
        let read: Vec<_> = read.into_iter().map(|picture| picture.jpeg.to_vec()).collect();
        assert!(read == pictures, "{name}: {:?}", read.iter().map(Vec::len).collect::<Vec<_>>());
    }
}

#[test]
fn every_stream_is_read_alike_byte_by_byte() {
    for (name, content_type, bytes) in all() {
        let whole = split(&content_type, &bytes, &[bytes.len()]);
        for size in [1, 7] {
            assert_eq!(split(&content_type, &bytes, &[size]), whole, "{name} in pieces of {size}");
        }
    }
}

/// Numbers without a pattern, the same in each run (Marsaglia's xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pieces(&mut self) -> Vec<usize> {
        let longest = 1 + self.below(600);
        (0..40).map(|_| 1 + self.below(longest)).collect()
    }
}

#[test]
fn every_stream_is_read_alike_in_any_pieces() {
    let mut numbers = Numbers(7);
    for (name, content_type, bytes) in all() {
        let whole = split(&content_type, &bytes, &[bytes.len()]);
        for _ in 0..8 {
            let pieces = numbers.pieces();
            assert_eq!(split(&content_type, &bytes, &pieces), whole, "{name} in {pieces:?}");
        }
    }
}

#[test]
fn a_stream_with_any_bytes_changed_or_lost_is_read_alike_in_any_pieces() {
    let mut numbers = Numbers(11);
    for (name, content_type, bytes) in all() {
        for round in 0..8 {
            let mut bytes = bytes.clone();
            for _ in 0..1 + numbers.below(3) {
                let at = numbers.below(bytes.len());
                bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            }
            if round % 2 == 0 {
                let at = numbers.below(bytes.len() - 20);
                bytes.drain(at..at + numbers.below(20));
            }
            let whole = split(&content_type, &bytes, &[bytes.len()]);
            assert!(whole.0.iter().all(|picture| picture.jpeg.starts_with(&[0xff, 0xd8])), "{name}");
            let pieces = numbers.pieces();
            assert_eq!(split(&content_type, &bytes, &pieces), whole, "{name} in {pieces:?}");
        }
    }
}

#[test]
fn a_picture_comes_out_with_its_last_byte() {
    for Camera { name, content_type, bytes, pictures } in cameras() {
        let ends = pictures.iter().all(|picture| picture.ends_with(&[0xff, 0xd9]));
        // Where a segment lies, the length tells.
        if !ends || bytes.is_empty() {
            continue;
        }
        let end =
            bytes.windows(pictures[0].len()).position(|window| window == pictures[0]).unwrap() + pictures[0].len();
        let mut splitter = Splitter::new(Some(content_type), Limits::default());
        assert_eq!(splitter.next(&mut &bytes[..end - 1]), Ok(None), "{name}");
        assert_eq!(splitter.next(&mut &bytes[end - 1..end]).unwrap().unwrap().jpeg, pictures[0], "{name}");
    }
}

fn limited(picture: usize, fruitless: usize) -> Splitter {
    Splitter::new(Some("multipart/x-mixed-replace;boundary=frame"), Limits { picture, fruitless })
}

#[test]
fn too_large_a_picture_is_left_out_and_the_next_comes() {
    let (large, small) = (samples::with_thumbnail(1), picture(2));
    let part = |picture: &[u8]| [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", picture, b"\r\n"].concat();
    let mut splitter = limited(small.len(), 10_000);
    let bytes = [part(&large), part(&small)].concat();
    let mut input = &bytes[..];
    assert_eq!(splitter.next(&mut input).unwrap().unwrap().jpeg, small);
    assert_eq!(splitter.faults().of(Fault::TooLarge), 1);
    assert_eq!(splitter.next(&mut input), Ok(None));
    assert!(limited(large.len(), 10_000).next(&mut &bytes[..]).unwrap().is_some());
}

#[test]
fn a_length_counts_where_nothing_else_ends_a_picture() {
    let head = |picture: &[u8]| format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    let (first, second) = (samples::endless(1), picture(2));
    let before_another = [head(&first).as_bytes(), &first, head(&second).as_bytes(), &second].concat();
    let last = [b"--frame\r\n", head(&first).as_bytes(), &first].concat();
    for (bytes, expected) in [(before_another, vec![first.clone(), second]), (last, vec![first])] {
        let (read, _) = split("multipart/x-mixed-replace", &bytes, &[50]);
        assert!(read.iter().map(|picture| picture.jpeg.to_vec()).eq(expected), "{read:?}");
    }
}

#[test]
fn what_bears_no_fruit_is_given_up_after_as_many_bytes_however_they_come() {
    let fruitful = (1..=20).flat_map(picture).collect::<Vec<_>>();
    let no_picture = [vec![b'-'; 2500], picture(1)].concat();
    let long_picture = [samples::endless(1), vec![0x55; 2500], vec![0xff, 0xd9]].concat();
    for size in [1, 100, 100_000] {
        let give_up = |bytes: &[u8]| {
            let (mut splitter, mut count) = (limited(5000, 2000), 0);
            for mut piece in bytes.chunks(size) {
                while !piece.is_empty() {
                    count += usize::from(splitter.next(&mut piece)?.is_some());
                }
            }
            Ok(count)
        };
        assert_eq!(give_up(&fruitful), Ok(20));
        for fruitless in [&no_picture, &long_picture] {
            assert_eq!(give_up(fruitless), Err(SplitError::Fruitless { bytes: 2000 }));
        }
    }
}

#[test]
fn memory_is_bounded_whatever_is_said_and_sent() {
    let endless_line = vec![b'x'; 60_000];
    let mut endless_picture = picture(1);
    endless_picture.truncate(endless_picture.len() - 2);
    endless_picture.resize(60_000, 0x55);
    let promise = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 99999999999\r\n\r\n\xff\xd8\xff".to_vec();
    for bytes in [endless_line, endless_picture, promise] {
        let mut splitter = limited(10_000, 50_000);
        let mut outcome = Ok(None);
        for mut piece in bytes.chunks(97) {
            outcome = splitter.next(&mut piece);
            assert!(splitter.held() <= 20_000, "{} bytes held", splitter.held());
            if outcome.is_err() {
                break;
            }
        }
        let expected = if bytes.len() > 50_000 { Err(SplitError::Fruitless { bytes: 50_000 }) } else { Ok(None) };
        assert_eq!(outcome, expected);
    }
}

#[test]
fn the_kind_of_an_answer_is_told_by_its_type() {
    let table = [
        (None, Kind::Stream),
        (Some("multipart/x-mixed-replace; boundary=x"), Kind::Stream),
        (Some("multipart/x-mixed-replace: boundary=x"), Kind::Stream),
        (Some("Multipart/Mixed;boundary=x"), Kind::Stream),
        (Some("application/octet-stream"), Kind::Stream),
        (Some("video/x-motion-jpeg"), Kind::Stream),
        (Some("image/JPEG"), Kind::Picture),
        (Some("image/jpeg; charset=utf-8"), Kind::Picture),
        (Some("text/html"), Kind::Other),
        (Some("video/mp4"), Kind::Other),
        (Some("multiparty"), Kind::Other),
    ];
    for (content_type, kind) in table {
        assert_eq!(Kind::of(content_type), kind, "{content_type:?}");
    }
}

//! Pictures, and streams as cameras send them. Those of tests/streams/ were recorded; these follow what others published
//! of cameras that nobody here has.

/// A real one, 32×24, with a number in it.
pub(crate) fn picture(number: u8) -> Vec<u8> {
    with_segment(&[0xff, 0xfe, 0, 3, number])
}

/// Its first segment holds a whole picture.
pub(crate) fn with_thumbnail(number: u8) -> Vec<u8> {
    let inner = picture(number.wrapping_add(100));
    let length = u16::try_from(inner.len() + 2).unwrap().to_be_bytes();
    with_segment(&[&[0xff, 0xe1][..], &length, &inner].concat())
}

fn with_segment(segment: &[u8]) -> Vec<u8> {
    let plain = include_bytes!("../../tests/picture.jpg");
    [&plain[..2], segment, &plain[2..]].concat()
}

/// Without its end marker.
pub(crate) fn endless(number: u8) -> Vec<u8> {
    let mut picture = picture(number);
    picture.truncate(picture.len() - 2);
    picture
}

/// A comment that says a length 600 bytes too small, as a maker's cameras have it; the end marker in it is none.
fn lying(number: u8) -> Vec<u8> {
    let mut comment = vec![0xff, 0xfe, 0, 12, number];
    comment.extend([0; 300]);
    comment.extend([0xff, 0xd9]);
    comment.extend([0; 300]);
    with_segment(&comment)
}

pub(crate) struct Camera {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) pictures: Vec<Vec<u8>>,
}

const TYPED: &str = "multipart/x-mixed-replace;boundary=frame";

/// `part` writes the number-th part around a picture.
fn camera(
    name: &'static str,
    content_type: &'static str,
    picture: fn(u8) -> Vec<u8>,
    part: impl Fn(u8, &[u8]) -> Vec<u8>,
) -> Camera {
    let pictures: Vec<_> = (1..=3).map(picture).collect();
    let bytes = (1..).zip(&pictures).flat_map(|(number, picture)| part(number, picture)).collect();
    Camera { name, content_type, bytes, pictures }
}

fn part(line: &str, head: &str, picture: &[u8], after: &str) -> Vec<u8> {
    [line.as_bytes(), b"\r\nContent-Type: image/jpeg\r\n", head.as_bytes(), b"\r\n", picture, after.as_bytes()].concat()
}

fn length(picture: &[u8], more: isize) -> String {
    format!("Content-Length: {}\r\n", picture.len().strict_add_signed(more))
}

pub(crate) fn cameras() -> Vec<Camera> {
    [by_the_book(), boundaries(), lines(), lengths(), pictures()].into_iter().flatten().collect()
}

fn by_the_book() -> Vec<Camera> {
    let axis = "multipart/x-mixed-replace;boundary=myboundary";
    let long = "multipart/x-mixed-replace;boundary=123456789000000000000987654321";
    vec![
        camera("axis", axis, picture, |_, p| part("--myboundary", &length(p, 0), p, "\r\n")),
        camera("axis, with thumbnails", axis, with_thumbnail, |_, p| part("--myboundary", &length(p, 0), p, "\r\n")),
        camera("thumbnails without lengths", TYPED, with_thumbnail, |_, p| part("--frame", "", p, "\r\n")),
        camera("esp32-cam", long, picture, |_, p| part("\r\n--123456789000000000000987654321", &length(p, 0), p, "")),
        camera("camera-streamer", long, picture, |number, p| {
            let line = if number == 1 { "--123456789000000000000987654321" } else { "" };
            let after = "\r\n--123456789000000000000987654321";
            if number == 1 { part(line, &length(p, 0), p, after) } else { part("", &length(p, 0), p, after) }
        }),
        camera("line after each picture, none before the first", TYPED, picture, |_, p| {
            [b"Content-Type: image/jpeg\r\n", length(p, 0).as_bytes(), b"\r\n", p, b"\r\n--frame\r\n"].concat()
        }),
        camera("a page among the pictures", TYPED, picture, |_, p| {
            let page = "<p>\u{1F600}</p>";
            let other =
                format!("--frame\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}\r\n", page.len());
            [other.as_bytes(), &part("--frame", &length(p, 0), p, "\r\n")].concat()
        }),
    ]
}

fn boundaries() -> Vec<Camera> {
    let mut cameras = vec![
        camera("no boundary announced", "multipart/x-mixed-replace", picture, |_, p| {
            part("--whatever", &length(p, 0), p, "\r\n")
        }),
        camera("no head at all", "", picture, |_, p| part("--whatever", "", p, "\r\n")),
        camera("another boundary than announced", TYPED, picture, |_, p| part("--else", &length(p, 0), p, "\r\n")),
        camera("pictures and nothing else", "video/x-motion-jpeg", with_thumbnail, |_, p| p.to_vec()),
        camera("pictures and fill bytes", "", picture, |_, p| [p, &[0xff; 3]].concat()),
        camera("lengths and no boundary", "", picture, |_, p| {
            [b"Content-Type: image/jpeg\r\n", length(p, 0).as_bytes(), b"\r\n", p].concat()
        }),
    ];
    for (name, announced, line) in [
        ("quoted", "\"frame\"", "--frame"),
        ("dashes announced", "--frame", "--frame"),
        ("dashes announced and added", "--frame", "----frame"),
        ("dashes missing", "frame", "frame"),
        ("dashes at the end", "--frame--", "--frame--"),
    ] {
        let content_type = format!("multipart/x-mixed-replace; boundary={announced}").leak();
        cameras.push(camera(name, content_type, picture, |_, p| part(line, &length(p, 0), p, "\r\n")));
        let name = format!("{name}, without lengths and ends").leak();
        // The last one is not known to be whole.
        let mut camera = camera(name, content_type, endless, |_, p| part(line, "", p, "\r\n"));
        if line.starts_with('-') {
            camera.bytes.extend(format!("{line}\r\n").into_bytes());
            cameras.push(camera);
        }
    }
    cameras
}

fn lines() -> Vec<Camera> {
    vec![
        camera("line feeds only", TYPED, picture, |_, p| {
            let head = format!("--frame\nContent-Type: image/jpeg\nContent-Length: {}\n\n", p.len());
            [head.as_bytes(), p, b"\n"].concat()
        }),
        camera("line feeds only, without lengths and ends", TYPED, endless, |number, p| {
            let after: &[u8] = if number == 3 { b"\n--frame\n" } else { b"\n" };
            [b"--frame\nContent-Type: image/jpeg\n\n", p, after].concat()
        }),
        camera("more empty lines", TYPED, picture, |_, p| part("\r\n--frame", &length(p, 0), p, "\r\n\r\n")),
        camera("no line break before the line", TYPED, picture, |_, p| part("--frame", &length(p, 0), p, "")),
        camera("no empty line after the head", TYPED, picture, |_, p| {
            [b"--frame\r\n", length(p, 0).as_bytes(), p, b"\r\n"].concat()
        }),
        camera("a preamble", TYPED, picture, |number, p| {
            let before = if number == 1 { "HTTP says hello\r\n-->\r\n\r\n" } else { "" };
            [before.as_bytes(), &part("--frame", &length(p, 0), p, "\r\n")].concat()
        }),
        camera("a long head", TYPED, picture, |_, p| {
            part("--frame", &format!("{}{}", length(p, 0), "X-More: of it\r\n".repeat(100)), p, "\r\n")
        }),
    ]
}

fn lengths() -> Vec<Camera> {
    let mut cameras = Vec::new();
    for (name, more) in
        [("too short", -100), ("too long", 60), ("much too long", 9_999_999), ("with the line break", 2)]
    {
        let name = format!("lengths {name}").leak();
        cameras.push(camera(name, TYPED, picture, move |_, p| part("--frame", &length(p, more), p, "\r\n")));
    }
    let wrong = [
        ("in words", "Content-Length: many\r\n"),
        ("of 0", "Content-Length: 0\r\n"),
        ("negative", "Content-Length: -1\r\n"),
    ];
    for (name, head) in wrong {
        let name = format!("lengths {name}").leak();
        cameras.push(camera(name, TYPED, picture, move |_, p| part("--frame", head, p, "\r\n")));
    }
    cameras.push(camera("without lengths", TYPED, picture, |_, p| part("--frame", "", p, "\r\n")));
    cameras.push(camera("lengths, no ends, no line breaks", TYPED, endless, |number, p| {
        part("--frame", &length(p, 0), p, if number == 3 { "--frame\r\n" } else { "" })
    }));
    cameras.push(camera("no ends and no boundary", "video/mjpeg", endless, |_, p| p.to_vec()));
    cameras.last_mut().unwrap().pictures.pop();
    cameras
}

fn pictures() -> Vec<Camera> {
    let decoy: fn(u8) -> Vec<u8> = |number| {
        let text = b"\r\n--frame--not\r\nContent-Type: text/html\r\n\r\n";
        with_segment(&[&[0xff, 0xfe, 0, 2 + 1 + u8::try_from(text.len()).unwrap(), number][..], text].concat())
    };
    vec![
        camera("padded", TYPED, picture, |_, p| part("--frame", &length(p, 700), &[p, &[0; 700]].concat(), "\r\n")),
        camera("padded, without lengths", TYPED, picture, |_, p| part("--frame", "", p, "\0\0dhav\0\0\r\n")),
        camera("two end markers", TYPED, picture, |_, p| part("--frame", "", &[p, b"\xff\xd9"].concat(), "\r\n")),
        camera("segments that lie", TYPED, lying, |_, p| part("--frame", &length(p, 0), p, "\r\n")),
        camera("a comment like a boundary", TYPED, decoy, |_, p| part("--frame", &length(p, 0), p, "\r\n")),
        camera("broken off before anything is seen", TYPED, picture, |number, p| {
            let cut = part("--frame", "", &p[..40], "\r\n");
            [cut, part("--frame", &length(p, 0), p, if number == 3 { "" } else { "\r\n" })].concat()
        }),
    ]
}

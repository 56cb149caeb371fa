//! The newest frame of a camera: one writes, many read, each at its own pace.
//!
//! A reader gets the newest frame at the moment it asks; what came in between it never sees, and is told how many. One frame
//! is held, however many read and however slow they are. Waiting is by wakers: any runtime does.

use crate::jpeg::Picture;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Cheap to clone: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Of its camera, by whoever read it from there. Grows, and begins anew with each reading of the camera.
    pub number: u32,
    /// When it was whole at whoever read the camera, by this machine's clock.
    pub captured: Instant,
    pub picture: Picture,
}

/// A frame as one reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub frame: Frame,
    /// How many came since this reader's last one and were not seen.
    pub skipped: u64,
}

pub fn slot() -> (Writer, Slot) {
    let shared = Arc::new(Shared::default());
    (Writer(shared.clone()), Slot(shared))
}

#[derive(Debug, Default)]
struct Shared(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    newest: Option<Frame>,
    /// How many were ever put.
    put: u64,
    is_closed: bool,
    readers: usize,
    last_reader: u64,
    waiting: BTreeMap<u64, Waker>,
    writer: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is held, then wakes all readers.
    fn tell(&self, change: impl FnOnce(&mut Held)) {
        let waiting = {
            let mut held = self.lock();
            change(&mut held);
            std::mem::take(&mut held.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }
}

/// Closes the slot when dropped.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

impl Writer {
    pub fn put(&self, frame: Frame) {
        self.0.tell(|held| {
            held.newest = Some(frame);
            held.put += 1;
        });
    }

    /// How many read now, as soon as they are not `known` many. Cancel-safe.
    pub async fn readers_other_than(&mut self, known: usize) -> usize {
        poll_fn(|context| {
            let mut held = self.0.lock();
            if held.readers != known {
                return Poll::Ready(held.readers);
            }
            held.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.tell(|held| held.is_closed = true);
    }
}

/// Where readers come from.
#[derive(Debug, Clone)]
pub struct Slot(Arc<Shared>);

impl Slot {
    /// Whoever begins to read gets the newest frame at once, if there is one.
    pub fn read(&self) -> Reader {
        let (key, writer) = {
            let mut held = self.0.lock();
            held.readers += 1;
            held.last_reader += 1;
            (held.last_reader, held.writer.take())
        };
        writer.into_iter().for_each(Waker::wake);
        Reader { shared: self.0.clone(), key, seen: None }
    }

    pub fn newest(&self) -> Option<Frame> {
        self.0.lock().newest.clone()
    }

    pub fn readers(&self) -> usize {
        self.0.lock().readers
    }

    pub fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }

    /// How many frames were ever put.
    pub fn put(&self) -> u64 {
        self.0.lock().put
    }
}

/// Counts as a reader until it is dropped.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    key: u64,
    /// How many were put when it last got one.
    seen: Option<u64>,
}

impl Reader {
    /// A frame that this reader has not seen, the newest; `None` when there will be none any more. Cancel-safe.
    pub async fn next(&mut self) -> Option<Seen> {
        poll_fn(|context| self.poll_next(context)).await
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Seen>> {
        let mut held = self.shared.lock();
        if let Some(frame) = held.newest.as_ref().filter(|_| self.seen != Some(held.put)) {
            let skipped = self.seen.map_or(0, |seen| held.put - seen - 1);
            let seen = Seen { frame: frame.clone(), skipped };
            self.seen = Some(held.put);
            return Poll::Ready(Some(seen));
        }
        if held.is_closed {
            return Poll::Ready(None);
        }
        held.waiting.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let writer = {
            let mut held = self.shared.lock();
            held.readers -= 1;
            held.waiting.remove(&self.key);
            held.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn frame(number: u32) -> Frame {
        let picture = Picture { jpeg: Bytes::from(vec![0; 1000]), size: None };
        Frame { number, captured: Instant::now(), picture }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn poll(self: &Arc<Self>, reader: &mut Reader) -> Poll<Option<(u32, u64)>> {
            let waker = Waker::from(self.clone());
            let poll = reader.poll_next(&mut Context::from_waker(&waker));
            poll.map(|seen| seen.map(|seen| (seen.frame.number, seen.skipped)))
        }

        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn each_reader_sees_the_newest_when_it_asks_and_how_many_it_missed() {
        let (writer, slot) = slot();
        let (mut quick, mut slow, woken) = (slot.read(), slot.read(), Arc::new(Woken::default()));
        assert_eq!(woken.poll(&mut quick), Poll::Pending);
        for number in 1..=5 {
            writer.put(frame(number));
            assert_eq!(woken.poll(&mut quick), Poll::Ready(Some((number, 0))));
        }
        assert_eq!(woken.poll(&mut slow), Poll::Ready(Some((5, 0))));
        writer.put(frame(6));
        writer.put(frame(7));
        assert_eq!(woken.poll(&mut slow), Poll::Ready(Some((7, 1))));
        assert_eq!(woken.poll(&mut slow), Poll::Pending);
        assert_eq!(woken.poll(&mut slot.read()), Poll::Ready(Some((7, 0))));
    }

    #[test]
    fn whoever_waits_is_woken_once_by_a_frame_and_not_after_it_left() {
        let (writer, slot) = slot();
        let (woken, gone) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (mut reader, mut leaver) = (slot.read(), slot.read());
        assert_eq!(woken.poll(&mut reader), Poll::Pending);
        assert_eq!(woken.poll(&mut reader), Poll::Pending);
        assert_eq!(gone.poll(&mut leaver), Poll::Pending);
        drop(leaver);
        writer.put(frame(1));
        writer.put(frame(2));
        assert_eq!((woken.times(), gone.times()), (1, 0));
    }

    #[test]
    fn after_the_writer_is_gone_the_last_frame_is_seen_and_then_the_end() {
        let (writer, slot) = slot();
        let (mut reader, mut late, woken) = (slot.read(), slot.read(), Arc::new(Woken::default()));
        writer.put(frame(1));
        assert_eq!(woken.poll(&mut reader), Poll::Ready(Some((1, 0))));
        assert_eq!(woken.poll(&mut reader), Poll::Pending);
        drop(writer);
        assert_eq!(woken.times(), 1);
        assert_eq!(woken.poll(&mut reader), Poll::Ready(None));
        assert_eq!(woken.poll(&mut late), Poll::Ready(Some((1, 0))));
        assert_eq!(woken.poll(&mut late), Poll::Ready(None));
        assert!(slot.is_closed());
    }

    #[test]
    fn one_frame_is_held_however_many_are_put() {
        let (writer, slot) = slot();
        let _readers: Vec<_> = (0..100).map(|_| slot.read()).collect();
        let first = frame(1);
        let bytes = first.picture.jpeg.clone();
        writer.put(first);
        writer.put(frame(2));
        assert!(bytes.try_into_mut().is_ok(), "somebody still holds the first frame");
        assert_eq!((slot.newest().map(|frame| frame.number), slot.put(), slot.readers()), (Some(2), 2, 100));
    }

    #[test]
    fn the_writer_hears_when_readers_come_and_go() {
        let (mut writer, slot) = slot();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let reader = {
            let mut change = pin!(writer.readers_other_than(0));
            assert_eq!(change.as_mut().poll(&mut context), Poll::Pending);
            let reader = slot.read();
            assert_eq!(woken.times(), 1);
            assert_eq!(change.as_mut().poll(&mut context), Poll::Ready(1));
            reader
        };
        let mut change = pin!(writer.readers_other_than(1));
        assert_eq!(change.as_mut().poll(&mut context), Poll::Pending);
        drop(reader);
        assert_eq!(change.as_mut().poll(&mut context), Poll::Ready(0));
        assert_eq!(woken.times(), 2);
    }

    #[test]
    fn readers_in_threads_see_frames_in_order_and_count_all_that_they_missed() {
        const FRAMES: u32 = 2000;
        let (writer, slot) = slot();
        let readers: Vec<_> = (0..4).map(|_| slot.read()).collect();
        let wait = |mut reader: Reader| {
            struct Unpark(std::thread::Thread);
            impl Wake for Unpark {
                fn wake(self: Arc<Self>) {
                    self.0.unpark();
                }
            }
            let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
            let (mut last, mut counted) = (0, 0);
            loop {
                match reader.poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Pending => std::thread::park(),
                    Poll::Ready(None) => return (last, counted),
                    Poll::Ready(Some(seen)) => {
                        assert!(seen.frame.number > last);
                        // Of what came before its first one a reader knows nothing.
                        counted += if last == 0 { u64::from(seen.frame.number) } else { seen.skipped + 1 };
                        last = seen.frame.number;
                    }
                }
            }
        };
        let threads: Vec<_> = readers.into_iter().map(|reader| std::thread::spawn(move || wait(reader))).collect();
        (1..=FRAMES).for_each(|number| writer.put(frame(number)));
        drop(writer);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (FRAMES, u64::from(FRAMES)));
        }
    }
}

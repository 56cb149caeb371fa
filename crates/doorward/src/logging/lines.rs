//! Log lines leave by a thread of their own: whoever logs never waits for whoever reads. When the reader is so slow
//! that the queue is full, lines are lost, and the log says how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Where the lines of a log go in.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

enum Order {
    Line(Vec<u8>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// A second of a busy gateway's access log.
const QUEUE: usize = 8192;

impl Lines {
    pub(super) fn into(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let counted = lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&orders, to, &counted))?;
        Ok(Self { queue, lost })
    }

    /// Waits until what was said so far is written, but not for ever.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        let asked = std::time::Instant::now();
        let mut order = Order::Flush(done);
        loop {
            match self.queue.try_send(order) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if asked.elapsed() < limit => order = back,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(limit.saturating_sub(asked.elapsed()));
    }
}

/// tracing hands over a line at a time.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Order::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("doorward_log_lines_lost_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that is gone for good is no reason to stop: what is logged then goes nowhere.
fn write_all(orders: &Receiver<Order>, mut to: impl Write, lost: &AtomicU64) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Line(line) => {
                let _ = to.write_all(&line);
            }
            Order::Flush(done) => {
                let _ = to.flush();
                let _ = done.send(());
            }
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            let _ = writeln!(to, "{lines} lines of the log were lost: they came faster than they were read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(20);

    fn say(lines: &mut Lines, number: usize) {
        lines.write_all(format!("{number} {}\n", "x".repeat(100)).as_bytes()).unwrap();
    }

    #[test]
    fn a_reader_that_stopped_holds_up_nobody_and_is_told_what_it_missed() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut lines = Lines::into(writer).unwrap();
        let (many, started) = (QUEUE * 3, Instant::now());
        (0..many).for_each(|number| say(&mut lines, number));
        lines.flush(Duration::from_millis(20));
        assert!(started.elapsed() < LIMIT, "nobody waits for the reader");

        reader.set_read_timeout(Some(LIMIT)).unwrap();
        let (mut seen, mut missed) = (0, 0);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            let number: usize = line.split(' ').next().unwrap().parse().unwrap();
            if line.contains("were lost") {
                missed += number;
            } else {
                assert_eq!(line.len(), format!("{number} ").len() + 100, "a line is whole or not there: {line}");
                seen += 1;
            }
            if seen + missed == many {
                break;
            }
        }
        assert!(seen >= QUEUE && missed > 0, "{seen} seen, {missed} missed");
    }

    #[test]
    fn what_was_said_before_a_flush_is_written_after_it() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut lines = Lines::into(writer).unwrap();
        (0..100).for_each(|number| say(&mut lines, number));
        lines.flush(LIMIT);
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.lines().last().unwrap().starts_with("99 "), "in order");
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut lines = Lines::into(writer).unwrap();
        drop(reader);
        let started = Instant::now();
        say(&mut lines, 1);
        lines.flush(LIMIT);
        say(&mut lines, 2);
        lines.flush(LIMIT);
        assert!(started.elapsed() < LIMIT, "the thread answers still");
    }
}

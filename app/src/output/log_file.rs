//! A file of lines that is added to for as long as the run lasts: rotated here, or by others who then send SIGHUP.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc;

/// When another file begins, and how many older ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// No file is longer than so many bytes, unless a single line is.
    pub bytes: u64,
    /// How many older files are kept: `FILE.1`, the latest, to `FILE.N`.
    pub files: u16,
}

/// What the thread that writes and the run tell each other.
#[derive(Debug, Default)]
pub struct LogState {
    reopen: AtomicBool,
    lost: AtomicU64,
    trouble: Mutex<Option<io::Error>>,
}

/// The file. Lines are written whole: of what the disk has no room for, nothing stays.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    /// `None` if it could not be opened again; that is tried with each line.
    file: Option<File>,
    /// Bytes in it.
    length: u64,
    state: Arc<LogState>,
    /// Whether the latest lines could not be written. It is said once.
    is_in_trouble: bool,
}

impl LogState {
    /// Opens the file again before anything else is written: it was renamed.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// Lines that could not be written since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Why lines are not written, when that begins.
    #[must_use]
    pub fn trouble(&self) -> Option<io::Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl LogFile {
    /// Opens the file to add to it, or creates it for its owner and group. A line at its end that was not finished, because
    /// whoever wrote it was killed, is cut off.
    ///
    /// # Errors
    /// When it cannot be opened, is a symbolic link or no regular file, or another process writes it.
    pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let (file, length) = open(path)?;
        let path = path.to_owned();
        Ok(Self { path, rotation, file: Some(file), length, state: Arc::default(), is_in_trouble: false })
    }

    /// What can be told and asked while it is written.
    #[must_use]
    pub fn state(&self) -> Arc<LogState> {
        Arc::clone(&self.state)
    }

    /// Writes whole lines, or counts them.
    fn put(&mut self, lines: &[u8]) {
        match self.try_put(lines) {
            Ok(()) => self.is_in_trouble = false,
            Err((error, lost)) => {
                self.state.lost.fetch_add(lost, Ordering::Relaxed);
                if !mem::replace(&mut self.is_in_trouble, true) {
                    *self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        }
    }

    /// Likewise; with an error, how many lines are lost.
    fn try_put(&mut self, mut lines: &[u8]) -> Result<(), (io::Error, u64)> {
        if self.state.reopen.swap(false, Ordering::Relaxed) {
            self.file = None;
        }
        self.reopened().map_err(|error| (error, count(lines)))?;
        while !lines.is_empty() {
            let fits = self.fitting(lines);
            if fits == 0 {
                self.rotate().map_err(|error| (error, count(lines)))?;
                continue;
            }
            let (now, later) = lines.split_at(fits);
            self.append(now).map_err(|(error, lost)| (error, lost + count(later)))?;
            lines = later;
        }
        Ok(())
    }

    fn reopened(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let (file, length) = open(&self.path)?;
            (self.file, self.length) = (Some(file), length);
        }
        Ok(())
    }

    /// How many bytes of whole lines still go into the file. A line that is longer than a file may be goes into one of its own.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Some(Rotation { bytes, .. }) = self.rotation else { return lines.len() };
        let room = usize::try_from(bytes.saturating_sub(self.length)).unwrap_or(usize::MAX);
        if room >= lines.len() {
            return lines.len();
        }
        match lines[..room].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.length == 0 => first_line(lines),
            None => 0,
        }
    }

    /// Adds whole lines. Where that fails, those that are whole stay.
    fn append(&mut self, lines: &[u8]) -> Result<(), (io::Error, u64)> {
        let Some(file) = &mut self.file else { return Err((ErrorKind::NotFound.into(), count(lines))) };
        let mut written = 0;
        let failure = loop {
            match file.write(&lines[written..]) {
                Ok(0) if written < lines.len() => break Some(ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
            if written == lines.len() {
                break None;
            }
        };
        let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.length += whole as u64;
        let Some(error) = failure else { return Ok(()) };
        // What cannot be cut off is cut off when the file is opened again.
        if whole < written && file.set_len(self.length).is_err() {
            self.file = None;
        }
        Err((error, count(&lines[whole..])))
    }

    /// Gives every file the next number, and begins another one.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(Rotation { files, .. }) = self.rotation else { return Ok(()) };
        for number in (1..files).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))?;
        self.file = None;
        self.reopened()
    }
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines);
        Ok(lines.len())
    }

    fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        self.put(lines);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file, and how long it is.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // Without O_NONBLOCK a pipe would wait for its reader.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    let opened = options.read(true).append(true).create(true).mode(0o640).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::new(error.kind(), "it is a symbolic link"),
        _ => error,
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::new(ErrorKind::ResourceBusy, "another process writes it"),
        TryLockError::Error(error) => error,
    })?;
    let length = whole_lines(&mut file)?;
    Ok((file, length))
}

/// Cuts off a line that was not finished. Returns how long the file is then.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = vec![0; 65_536];
    while end > 0 {
        let begin = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - begin).unwrap_or(0)];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(part)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            end = begin + last as u64 + 1;
            break;
        }
        end = begin;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}

fn numbered(path: &Path, number: u16) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// A file that is not there needs no other name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tcptop-log-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.file(name)).unwrap_or_default()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_rotated_between_lines_and_the_oldest_goes() {
        let folder = Folder::new("rotate");
        let rotation = Some(Rotation { bytes: 10, files: 2 });
        let mut log = LogFile::open(&folder.file("l"), rotation).unwrap();
        // Two lines of five bytes a file, whatever is written at once; then one that is longer than a file may be.
        log.write_all(b"1aaa\n2aaa\n3aaa\n").unwrap();
        log.write_all(b"4aaa\n5aaa\n6aaa\n7aaa\n").unwrap();
        log.write_all(b"a line of more bytes\n8\n").unwrap();
        let read = ["l", "l.1", "l.2", "l.3"].map(|name| folder.read(name));
        assert_eq!(read, ["8\n", "a line of more bytes\n", "7aaa\n", ""]);
        assert_eq!(log.state().lost(), 0);
        let mut next = LogFile::open(&folder.file("x"), rotation).unwrap();
        next.write_all(b"1aaa\n2aaa\n3aaa\n").unwrap();
        assert_eq!(["x", "x.1"].map(|name| folder.read(name)), ["3aaa\n", "1aaa\n2aaa\n"]);
    }

    #[test]
    fn it_is_added_to_and_a_torn_line_is_cut_off() {
        let folder = Folder::new("torn");
        fs::write(folder.file("l"), format!("whole\n{}", "torn".repeat(50_000))).unwrap();
        let mut log = LogFile::open(&folder.file("l"), None).unwrap();
        log.write_all(b"next\n").unwrap();
        assert_eq!(folder.read("l"), "whole\nnext\n");
        fs::write(folder.file("m"), "only torn").unwrap();
        LogFile::open(&folder.file("m"), None).unwrap().write_all(b"next\n").unwrap();
        assert_eq!(folder.read("m"), "next\n");
    }

    #[test]
    fn what_is_renamed_is_opened_again_when_it_is_said() {
        let folder = Folder::new("reopen");
        let mut log = LogFile::open(&folder.file("l"), None).unwrap();
        log.write_all(b"1\n").unwrap();
        fs::rename(folder.file("l"), folder.file("old")).unwrap();
        log.write_all(b"2\n").unwrap();
        log.state().reopen();
        log.write_all(b"").unwrap();
        assert!(folder.file("l").exists(), "at once, not with the next line");
        log.write_all(b"3\n").unwrap();
        assert_eq!(["old", "l"].map(|name| folder.read(name)), ["1\n2\n", "3\n"]);
    }

    #[test]
    fn links_pipes_and_a_second_writer_are_refused() {
        let folder = Folder::new("refused");
        fs::write(folder.file("secret"), "x\n").unwrap();
        symlink(folder.file("secret"), folder.file("link")).unwrap();
        let said = |name| LogFile::open(&folder.file(name), None).unwrap_err().to_string();
        assert_eq!(said("link"), "it is a symbolic link");
        nix::unistd::mkfifo(&folder.file("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(said("pipe"), "it is no regular file");
        let _first = LogFile::open(&folder.file("l"), None).unwrap();
        assert_eq!(said("l"), "another process writes it");
        assert_eq!(folder.read("secret"), "x\n");
    }

    /// A link that takes the file's place is not followed later, either; lines go on when it is gone.
    #[test]
    fn lines_that_cannot_be_written_are_counted_and_it_is_said_once() {
        let folder = Folder::new("trouble");
        let mut log = LogFile::open(&folder.file("l"), None).unwrap();
        let state = log.state();
        fs::remove_file(folder.file("l")).unwrap();
        symlink("/dev/null", folder.file("l")).unwrap();
        state.reopen();
        log.write_all(b"1\n2\n").unwrap();
        log.write_all(b"3\n").unwrap();
        assert_eq!(
            (state.lost(), state.trouble().unwrap().to_string()),
            (3, "it is a symbolic link".to_owned())
        );
        assert!(state.trouble().is_none());
        fs::remove_file(folder.file("l")).unwrap();
        log.write_all(b"4\n").unwrap();
        assert_eq!((state.lost(), folder.read("l")), (3, "4\n".to_owned()));
    }
}

//! Which processors a thread or a child process runs on, and before whom.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread, to the scheduler.
const THIS: Pid = Pid::from_raw(0);

/// Where threads run. Threads and child processes that a thread starts have its place, unless they take another.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    processors: CpuSet,
    priority: Option<i32>,
}

impl Place {
    /// Only these processors, by number.
    ///
    /// # Errors
    /// When a number is beyond those that the kernel can have.
    pub fn on(numbers: &[usize]) -> io::Result<Self> {
        let mut processors = CpuSet::new();
        for number in numbers {
            processors.set(*number)?;
        }
        Ok(Self { processors, priority: None })
    }

    /// There, before every thread without a real-time priority (`SCHED_FIFO`), and before those of a lower one.
    /// `priority` is 1 to 99.
    #[must_use]
    pub const fn ahead(self, priority: i32) -> Self {
        Self { priority: Some(priority), ..self }
    }

    /// The calling thread goes there.
    ///
    /// # Errors
    /// When it may not: none of the processors is allowed to it, or it has no right to the priority.
    pub fn take(&self) -> io::Result<()> {
        sched_setaffinity(THIS, &self.processors)?;
        if let Some(sched_priority) = self.priority {
            let parameters = libc::sched_param { sched_priority };
            // SAFETY: the kernel reads the structure, which lives until the call returns.
            let result =
                unsafe { libc::sched_setscheduler(THIS.as_raw(), libc::SCHED_FIFO, &raw const parameters) };
            Errno::result(result)?;
        }
        Ok(())
    }

    /// The child process that `command` starts goes there; it is not started when it may not.
    pub fn give<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let place = *self;
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: `take` makes two system calls on
        // what the closure owns and allocates nothing.
        unsafe { command.pre_exec(move || place.take()) }
    }
}

/// The processors that the calling thread may run on, by number.
///
/// # Errors
/// When the kernel does not tell.
pub fn allowed() -> io::Result<Vec<usize>> {
    let processors = sched_getaffinity(THIS)?;
    Ok((0..CpuSet::count()).filter(|number| processors.is_set(*number) == Ok(true)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use super::{Place, allowed};

    #[test]
    fn a_thread_and_what_it_starts_stay_in_their_place() {
        let all = allowed().unwrap();
        let last = *all.last().unwrap();
        let inside = thread::spawn(move || {
            Place::on(&[last]).unwrap().take().unwrap();
            (allowed().unwrap(), thread::spawn(allowed).join().unwrap().unwrap())
        });
        assert_eq!(inside.join().unwrap(), (vec![last], vec![last]));
        assert_eq!(allowed().unwrap(), all, "only that thread");
    }

    #[test]
    fn a_child_process_is_given_its_place() {
        let last = *allowed().unwrap().last().unwrap();
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list:", "/proc/self/status"]);
        let output = Place::on(&[last]).unwrap().give(&mut command).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("Cpus_allowed_list:\t{last}\n"));
    }

    #[test]
    fn a_thread_goes_ahead_where_it_may() {
        let place = Place::on(&allowed().unwrap()).unwrap().ahead(1);
        let inside = thread::spawn(move || {
            let taken = place.take();
            // proc_pid_stat(5): the 40th and 41st are the priority and the policy; the 2nd may have spaces in it.
            let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<String> =
                stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
            (taken, [fields[37].clone(), fields[38].clone()])
        });
        let (taken, scheduled) = inside.join().unwrap();
        match taken {
            Ok(()) => assert_eq!(scheduled, ["1", "1"]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
    }

    #[test]
    fn there_is_no_place_on_no_processor() {
        assert!(thread::spawn(|| Place::on(&[]).unwrap().take()).join().unwrap().is_err());
    }
}

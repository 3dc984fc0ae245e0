//! The control group whose sockets are watched: its folder, by how version 2 is mounted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Opens a control group of version 2: the one at a path, this process's own for `self`, or the root for `None`.
///
/// # Errors
/// When there is no such group, or version 2 is not mounted.
pub fn open(wanted: Option<&Path>) -> Result<File, Error> {
    let failed = |source| Error::System { what: "open the control group", source };
    let path = match wanted {
        Some(path) if path != Path::new("self") => path.to_owned(),
        wanted => {
            let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
            let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            let found = if wanted.is_some() { own(&mounts, &groups) } else { root(&mounts) };
            found.ok_or_else(|| failed(io::Error::other("control groups of version 2 are not mounted")))?
        }
    };
    let file = File::open(&path).map_err(failed)?;
    // A folder of another file system would be refused with a number only.
    if !path.join("cgroup.controllers").exists() {
        let shown = path.display().to_string().escape_debug().to_string();
        return Err(failed(io::Error::other(format!("{shown} is no control group of version 2"))));
    }
    Ok(file)
}

/// Where version 2 is mounted, by the lines of `/proc/self/mountinfo`: also on hosts that have version 1 beside it.
fn root(mounts: &str) -> Option<PathBuf> {
    mount(mounts).map(|(_, point)| point)
}

/// The group of this process, by the lines of `/proc/self/cgroup`.
fn own(mounts: &str, groups: &str) -> Option<PathBuf> {
    let (shown, point) = mount(mounts)?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A container sees a part of the tree only.
    let below = Path::new(group).strip_prefix(&shown).unwrap_or(Path::new(group));
    Some(point.join(below.strip_prefix("/").unwrap_or(below)))
}

/// Which part of the tree is mounted, and where.
fn mount(mounts: &str) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (part, point) = (fields.next()?, fields.next()?);
        (after.split(' ').next()? == "cgroup2").then(|| (unescaped(part), unescaped(point)))
    })
}

/// Blanks and the like are written as `\\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                path.push(code.into());
                path.push_str(&part[3..]);
            }
            None => path.push_str(part),
        }
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 master:1 - cgroup2 cgroup2 rw\n";
    const ONLY: &str = "25 24 0:22 /a/b /sys/fs/my\\040groups rw - cgroup2 none rw,nsdelegate\n";

    #[test]
    fn the_root_is_found_beside_version_1() {
        assert_eq!(root(HYBRID), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(root(ONLY), Some("/sys/fs/my groups".into()));
        assert_eq!(root("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
        assert_eq!(root("\n - \nx - cgroup2"), None);
    }

    #[test]
    fn the_own_group_is_below_what_is_mounted() {
        let groups = "4:memory:/x\n0::/a/b/web.service\n";
        assert_eq!(own(HYBRID, groups), Some("/sys/fs/cgroup/unified/a/b/web.service".into()));
        assert_eq!(own(ONLY, groups), Some("/sys/fs/my groups/web.service".into()));
        assert_eq!(own(HYBRID, "0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(own(HYBRID, "4:memory:/x\n"), None);
    }

    #[test]
    fn what_is_no_group_is_refused() {
        let error = open(Some(Path::new("/proc"))).expect_err("it is none").to_string();
        assert!(error.contains("control group"), "{error}");
        assert!(open(Some(Path::new("/no/such/group"))).is_err());
    }
}

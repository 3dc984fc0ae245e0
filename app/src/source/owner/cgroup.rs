//! What a process runs in, by the path of its control group.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tcptop_core::Workload;

use super::container::{self, Names, Runtime};
use super::{SharedWorkload, plain};

/// Digits of a container's identifier that are shown.
const SHORT: usize = 12;
/// Control groups that are remembered.
const KEPT: usize = 4_096;
/// How deep control groups are that are looked for by their number.
const DEPTH: u32 = 16;

/// Workloads of control groups, as far as they were asked for.
#[derive(Debug)]
pub(super) struct ControlGroups {
    runtimes: Vec<Box<dyn Runtime>>,
    /// By the lines of `/proc/PID/cgroup`.
    by_lines: HashMap<String, SharedWorkload>,
    /// Where version 2 can be mounted.
    roots: [PathBuf; 2],
}

/// The parts of a path that say something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    unit: Option<String>,
    container: Option<String>,
    pod: Option<String>,
}

impl ControlGroups {
    pub(super) fn of(root: &Path) -> Self {
        let mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
        Self {
            runtimes: container::runtimes(root),
            by_lines: HashMap::new(),
            roots: mounts.map(|mount| root.join(mount)),
        }
    }

    /// The workload of a process with these lines in `/proc/PID/cgroup`.
    pub(super) fn workload(&mut self, lines: &str) -> SharedWorkload {
        if let Some(known) = self.by_lines.get(lines) {
            return known.clone();
        }
        let workload = self.described(&Place::of_lines(lines));
        if self.by_lines.len() >= KEPT {
            self.by_lines.clear();
        }
        self.by_lines.insert(lines.to_owned(), workload.clone());
        workload
    }

    /// The workload of the group of version 2 with this number, whose process has gone.
    pub(super) fn known(&self, group: u64) -> SharedWorkload {
        // 1 is the root, which is nobody's.
        if group <= 1 {
            return None;
        }
        let root = self.roots.iter().find(|root| root.join("cgroup.procs").exists())?;
        let path = find(root, group, DEPTH)?;
        let place = Place::of_path(path.strip_prefix(root).ok()?.to_str()?);
        self.described(&place)
    }

    fn described(&self, place: &Place) -> SharedWorkload {
        let Place { unit, container, pod } = place;
        if *place == Place::default() {
            return None;
        }
        let asked = |runtime: &dyn Runtime| runtime.names(container.as_deref(), pod.as_deref());
        let names =
            self.runtimes.iter().map(|runtime| asked(runtime.as_ref())).fold(Names::default(), Names::or);
        let short = |id: &String| id.chars().take(SHORT).collect();
        Some(Arc::new(Workload {
            unit: unit.as_deref().map(plain),
            container: names.container.as_deref().map(plain).or_else(|| container.as_ref().map(short)),
            container_id: container.clone(),
            pod: names.pod.as_deref().map(plain).or_else(|| pod.clone()),
            namespace: names.namespace.as_deref().map(plain),
        }))
    }
}

/// The folder with this inode.
fn find(folder: &Path, inode: u64, depth: u32) -> Option<PathBuf> {
    if fs::metadata(folder).ok()?.ino() == inode {
        return Some(folder.to_owned());
    }
    let depth = depth.checked_sub(1)?;
    let entries = fs::read_dir(folder).ok()?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).find_map(|inner| find(&inner, inode, depth))
}

impl Place {
    /// Out of several hierarchies, the one that says most: a container before a unit.
    fn of_lines(lines: &str) -> Self {
        let places = lines.lines().filter_map(|line| Some(Self::of_path(line.splitn(3, ':').nth(2)?)));
        places.fold(Self::default(), |best, place| Self {
            unit: best.unit.or(place.unit),
            container: best.container.or(place.container),
            pod: best.pod.or(place.pod),
        })
    }

    /// The innermost of each kind.
    fn of_path(path: &str) -> Self {
        let mut place = Self::default();
        for part in path.split(['/', ':']).rev() {
            let id = container_id(part);
            if place.container.is_none() && id.is_some() {
                place.container = id;
                continue;
            }
            place.pod = place.pod.or_else(|| pod_uid(part));
            let is_unit = part.ends_with(".service") || part.ends_with(".scope") && id.is_none();
            // What a container's runtime itself runs in is not the container's.
            if is_unit && place.unit.is_none() && place.container.is_none() {
                place.unit = Some(part.to_owned());
            }
        }
        place
    }
}

/// `docker-<64 digits>.scope`, `cri-containerd-…`, `crio-…`, `libpod-…`, or the 64 digits alone.
fn container_id(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let id = name.rsplit_once('-').map_or(name, |(_, id)| id);
    let is_digit = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
    (id.len() == 64 && id.chars().all(is_digit)).then(|| id.to_owned())
}

/// `kubepods-burstable-pod<UID with _>.slice`, or `pod<UID>` below `kubepods`.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let uid = name.rsplit_once("-pod").map_or(name.strip_prefix("pod"), |(_, uid)| Some(uid))?;
    let is_uid = |letter: char| letter.is_ascii_hexdigit() || "-_".contains(letter);
    (uid.len() >= 32 && uid.chars().all(is_uid)).then(|| uid.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "2f2f1a70-9d63-4a37-a2c2-6a4f1cbb23c1";

    fn place(path: &str) -> (Option<String>, Option<String>, Option<String>) {
        let Place { unit, container, pod } = Place::of_path(path);
        (unit, container, pod)
    }

    #[test]
    fn paths_of_every_runtime_are_read() {
        let low_uid = UID.replace('-', "_");
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-pod:cri-containerd:{ID}"),
        ] {
            assert_eq!(place(&path), (None, Some(ID.to_owned()), None), "{path}");
        }
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low_uid}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{low_uid}.slice/crio-{ID}.scope"),
            format!("/kubepods/besteffort/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{low_uid}.slice:cri-containerd:{ID}"
            ),
            format!("/system.slice/k3s.service/kubepods/pod{UID}/{ID}/init.scope"),
        ] {
            let (_, container, pod) = place(&path);
            assert_eq!((container.as_deref(), pod.as_deref()), (Some(ID), Some(UID)), "{path}");
        }
    }

    #[test]
    fn units_are_the_innermost_service_or_scope() {
        let unit = |path: &str| place(path).0;
        assert_eq!(unit("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(unit("/user.slice/user-0.slice/session-1.scope").as_deref(), Some("session-1.scope"));
        let app = "/user.slice/user-1000.slice/user@1000.service/app.slice/firefox.service";
        assert_eq!(unit(app).as_deref(), Some("firefox.service"));
        for path in
            ["/", "", "/user.slice", "/process_api/b52ba285ad3086a9b6c85198c849f88a", "/podman", "/pod-x"]
        {
            assert_eq!(place(path), (None, None, None), "{path}");
        }
    }

    #[test]
    fn of_several_hierarchies_the_one_that_says_most_counts() {
        let lines = format!("9:name=systemd:/system.slice/docker.service\n4:memory:/docker/{ID}\n0::/\n");
        assert_eq!(Place::of_lines(&lines).container.as_deref(), Some(ID));
        assert_eq!(Place::of_lines("0::/system.slice/a:b.service\n").unit.as_deref(), Some("b.service"));
        assert_eq!(Place::of_lines("nonsense\n\n"), Place::default());
    }
}

//! Other network namespaces than that of this process: by name, by a process in them, or by their container or pod.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use super::owner::process_in;
use crate::error::Error;

/// Where `ip netns` keeps its namespaces.
const NAMED: &str = "/run/netns";

/// Which network namespace is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// One with this name, path or process.
    Namespace(String),
    /// That of a container with this name, or this beginning of its identifier.
    Container(String),
    /// That of a pod: its namespace in Kubernetes and its name.
    Pod(String, String),
}

impl NetworkNamespace {
    /// A pod as people name it: `namespace/name`.
    ///
    /// # Errors
    /// When there is no namespace.
    pub fn pod(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::Pod(namespace.to_owned(), name.to_owned()))
            }
            _ => Err("a pod is named with its namespace, as in default/web-0".to_owned()),
        }
    }

    /// What is said of it when it is not there.
    fn described(&self) -> String {
        match self {
            Self::Namespace(name) => format!("network namespace `{}`", name.escape_debug()),
            Self::Container(name) => format!("container `{}` with a process here", name.escape_debug()),
            Self::Pod(namespace, name) => {
                format!("pod `{}/{}` with a process here", namespace.escape_debug(), name.escape_debug())
            }
        }
    }

    /// The file that stands for the namespace.
    fn path(&self) -> Option<PathBuf> {
        let of_process = |pid: u32| PathBuf::from(format!("/proc/{pid}/ns/net"));
        match self {
            Self::Namespace(name) if name.contains('/') => Some(PathBuf::from(name)),
            Self::Namespace(name) => {
                let named = Path::new(NAMED).join(name);
                match name.parse() {
                    Ok(pid) if !named.exists() => Some(of_process(pid)),
                    _ => Some(named),
                }
            }
            Self::Container(name) => process_in(Path::new("/"), |workload| {
                let is_it = |id: &String| id.len() > 3 && id.starts_with(name.as_str());
                workload.container.as_ref() == Some(name)
                    || workload.container_id.as_ref().is_some_and(|id| is_it(id) && name.len() > 3)
            })
            .map(of_process),
            Self::Pod(namespace, name) => process_in(Path::new("/"), |workload| {
                workload.namespace.as_ref() == Some(namespace) && workload.pod.as_ref() == Some(name)
            })
            .map(of_process),
        }
    }

    /// Moves this thread into the namespace, and with it all threads that it starts.
    ///
    /// # Errors
    /// When there is none, or the kernel does not allow it.
    pub fn enter(&self) -> Result<(), Error> {
        let missing = || Error::NoNamespace { what: self.described() };
        let file = self.path().map(File::open).ok_or_else(missing)?;
        let file = file.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => missing(),
            _ => Error::System { what: "open the network namespace", source },
        })?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            nix::errno::Errno::EPERM => Error::Forbidden { what: format!("enter the {}", self.described()) },
            nix::errno::Errno::EINVAL => missing(),
            other => Error::System { what: "enter the network namespace", source: other.into() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said() {
        let said = |target: NetworkNamespace| target.enter().unwrap_err().to_string();
        assert_eq!(
            said(NetworkNamespace::Namespace("no-such".to_owned())),
            "there is no network namespace `no-such`"
        );
        // A file that is no namespace.
        assert!(said(NetworkNamespace::Namespace("/proc/self/stat".to_owned())).starts_with("there is no"));
        assert!(said(NetworkNamespace::Container("no-such".to_owned())).contains("container `no-such`"));
        assert!(NetworkNamespace::pod("web-0").is_err() && NetworkNamespace::pod("/web").is_err());
        let pod = NetworkNamespace::pod("default/web-0").unwrap();
        assert!(said(pod).contains("pod `default/web-0`"));
    }
}

//! Names of containers and pods, from the files that their runtimes keep on each host: nothing is asked over a socket.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Files that are longer are not read: 16 MiB.
const LONGEST: u64 = 16 << 20;

/// What a runtime knows of a container. Text from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) container: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) namespace: Option<String>,
}

/// Something that names containers.
pub(super) trait Runtime: std::fmt::Debug {
    /// What it calls the container with this identifier, in the pod with this UID.
    fn names(&self, container: Option<&str>, pod: Option<&str>) -> Names;
}

impl Names {
    /// These, and where one is not known the other's.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            container: self.container.or(other.container),
            pod: self.pod.or(other.pod),
            namespace: self.namespace.or(other.namespace),
        }
    }

    /// Those that the kubelet gives to a container of docker or CRI-O: `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`.
    fn of_name(name: &str) -> Self {
        let name = name.trim_start_matches('/');
        match name.split('_').collect::<Vec<_>>()[..] {
            ["k8s", container, pod, namespace, _, _] => Self {
                container: Some(container.to_owned()),
                pod: Some(pod.to_owned()),
                namespace: Some(namespace.to_owned()),
            },
            _ => Self { container: Some(name.to_owned()).filter(|name| !name.is_empty()), ..Self::default() },
        }
    }
}

/// All that are known, the most exact first, on a host whose files begin at `root`.
pub(super) fn runtimes(root: &Path) -> Vec<Box<dyn Runtime>> {
    vec![
        Box::new(Containerd(root.join("run/containerd/io.containerd.runtime.v2.task"))),
        Box::new(Docker(root.join("var/lib/docker/containers"))),
        Box::new(Storage(root.join("var/lib/containers/storage/overlay-containers/containers.json"))),
        Box::new(Kubelet(root.join("var/log/pods"))),
    ]
}

/// containerd, as Kubernetes uses it: the annotations of its bundles.
#[derive(Debug)]
struct Containerd(PathBuf);

impl Runtime for Containerd {
    fn names(&self, container: Option<&str>, _: Option<&str>) -> Names {
        let config = container.and_then(|id| json(&self.0.join("k8s.io").join(id).join("config.json")));
        let annotation = |name: &str| {
            let key = format!("io.kubernetes.cri.{name}");
            text(config.as_ref()?.get("annotations")?.get(&key)?)
        };
        Names {
            container: annotation("container-name"),
            pod: annotation("sandbox-name"),
            namespace: annotation("sandbox-namespace"),
        }
    }
}

/// Docker.
#[derive(Debug)]
struct Docker(PathBuf);

impl Runtime for Docker {
    fn names(&self, container: Option<&str>, _: Option<&str>) -> Names {
        let config = container.and_then(|id| json(&self.0.join(id).join("config.v2.json")));
        let name = config.and_then(|config| text(config.get("Name")?));
        name.map(|name| Names::of_name(&name)).unwrap_or_default()
    }
}

/// The storage that Podman and CRI-O share.
#[derive(Debug)]
struct Storage(PathBuf);

impl Runtime for Storage {
    fn names(&self, container: Option<&str>, _: Option<&str>) -> Names {
        let name = container.and_then(|id| {
            let listed = json(&self.0)?;
            let found = listed
                .as_array()?
                .iter()
                .find(|entry| entry.get("id").and_then(Value::as_str) == Some(id))?;
            text(found.get("names")?.get(0)?)
        });
        name.map(|name| Names::of_name(&name)).unwrap_or_default()
    }
}

/// The kubelet: the logs of each pod are in a folder `<namespace>_<pod>_<uid>`.
#[derive(Debug)]
struct Kubelet(PathBuf);

impl Runtime for Kubelet {
    fn names(&self, _: Option<&str>, pod: Option<&str>) -> Names {
        let found = pod.and_then(|uid| {
            let mut folders = fs::read_dir(&self.0).ok()?.flatten();
            folders.find_map(|folder| {
                let name = folder.file_name().into_string().ok()?;
                let (namespace, pod) = name.strip_suffix(uid)?.strip_suffix('_')?.split_once('_')?;
                Some((namespace.to_owned(), pod.to_owned()))
            })
        });
        let (namespace, pod) = found.unzip();
        Names { container: None, pod, namespace }
    }
}

fn json(path: &Path) -> Option<Value> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Tree;
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "2f2f1a70-9d63-4a37-a2c2-6a4f1cbb23c1";

    fn named(tree: &Tree, container: Option<&str>, pod: Option<&str>) -> [Option<String>; 3] {
        let names = |runtime: Box<dyn Runtime>| runtime.names(container, pod);
        let names = runtimes(tree.path()).into_iter().map(names).fold(Names::default(), Names::or);
        [names.container, names.pod, names.namespace]
    }

    fn some<const N: usize>(names: [&str; N]) -> [Option<String>; N] {
        names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
    }

    #[test]
    fn docker_names_its_containers() {
        let tree = Tree::new("docker");
        tree.write(
            &format!("var/lib/docker/containers/{ID}/config.v2.json"),
            r#"{"ID":"x","Name":"/web-1"}"#,
        );
        assert_eq!(named(&tree, Some(ID), None), some(["web-1", "", ""]));
        assert_eq!(named(&tree, Some(&ID.replace('0', "f")), None), some(["", "", ""]));
        let name = format!(r#"{{"Name":"/k8s_app_shop-7d_prod_{UID}_0"}}"#);
        tree.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), &name);
        assert_eq!(named(&tree, Some(ID), None), some(["app", "shop-7d", "prod"]));
    }

    #[test]
    fn containerd_names_containers_of_kubernetes() {
        let tree = Tree::new("containerd");
        let annotations = r#"{"annotations":{"io.kubernetes.cri.container-name":"app",
            "io.kubernetes.cri.sandbox-name":"shop-7d","io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
        tree.write(
            &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"),
            annotations,
        );
        assert_eq!(named(&tree, Some(ID), Some(UID)), some(["app", "shop-7d", "prod"]));
    }

    #[test]
    fn podman_and_cri_o_keep_a_list() {
        let tree = Tree::new("storage");
        let list = format!(r#"[{{"id":"other","names":["no"]}},{{"id":"{ID}","names":["db"]}}]"#);
        tree.write("var/lib/containers/storage/overlay-containers/containers.json", &list);
        assert_eq!(named(&tree, Some(ID), None), some(["db", "", ""]));
    }

    #[test]
    fn the_kubelet_names_pods() {
        let tree = Tree::new("kubelet");
        tree.write(&format!("var/log/pods/prod_shop-7d_{UID}/app/0.log"), "");
        assert_eq!(named(&tree, Some(ID), Some(UID)), some(["", "shop-7d", "prod"]));
        assert_eq!(named(&tree, Some(ID), Some("other")), some(["", "", ""]));
    }

    #[test]
    fn damaged_files_name_nothing() {
        let tree = Tree::new("damaged");
        for text in ["", "{", "[]", r#"{"Name":7}"#, r#"{"annotations":[]}"#] {
            tree.write(&format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
            tree.write(
                &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"),
                text,
            );
            tree.write("var/lib/containers/storage/overlay-containers/containers.json", text);
            assert_eq!(named(&tree, Some(ID), Some(UID)), some(["", "", ""]), "{text}");
        }
    }
}

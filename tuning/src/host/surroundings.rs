//! What this host itself runs in: a hypervisor, a container. What cannot be changed from in here is then said as such.

use super::mounts;
use super::root::Root;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    pub is_virtual: bool,
    pub is_container: bool,
}

/// Where the signs cannot be read there are none: nothing is judged good because of them.
pub(super) fn read(root: &Root) -> Surroundings {
    Surroundings { is_virtual: is_virtual(root), is_container: is_container(root) }
}

fn is_virtual(root: &Root) -> bool {
    let has_flag = |text: String| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
    };
    root.text("/proc/cpuinfo").is_ok_and(has_flag) || root.exists("/sys/hypervisor/type")
}

fn is_container(root: &Root) -> bool {
    let marks = ["/run/.containerenv", "/run/systemd/container"];
    let in_group = |text: String| ["docker", "kubepods", "containerd", "lxc"].iter().any(|name| text.contains(name));
    let on_overlay =
        || mounts::read(root).is_ok_and(|all| all.iter().any(|mount| mount.point == "/" && mount.file_system == "overlay"));
    marks.iter().any(|mark| root.exists(mark)) || root.text("/proc/self/cgroup").is_ok_and(in_group) || on_overlay()
}

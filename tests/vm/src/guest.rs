//! One machine: a kernel with programs and their libraries in its memory, which runs a script and powers off.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::kernel::Kernel;
use crate::shell;

/// What the tests need of the kernel, where it is not built in.
const MODULES: [&str; 5] = ["veth", "tun", "af_packet", "sch_ingress", "cls_bpf"];
const MEMORY_MIB: u32 = 3_072;
/// A line with this word tells how the script ended.
const END: &str = "@@END";

/// The first program. Output goes to the serial line, which adds carriage returns.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf; mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t tracefs trace /sys/kernel/tracing
while read -r module; do insmod "$module"; done < /modules/order
ip link set lo up
sh /script < /dev/null
echo "@@END $?"
poweroff -f
"#;

pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) programs: &'a [PathBuf],
    /// Where files are made.
    pub(crate) folder: &'a Path,
}

impl Guest<'_> {
    /// Boots, runs the script and shows what it prints. Returns whether it succeeded.
    pub(crate) fn run(&self, script: &str, patience: Duration) -> Result<bool> {
        let initramfs = self.initramfs(script)?;
        let emulator = shell::on_path("qemu-system-x86_64").context("qemu-system-x86 is not installed")?;
        let mut command = Command::new(emulator);
        command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", &MEMORY_MIB.to_string(), "-nic", "none", "-display", "none"]);
        command.args(["-no-reboot", "-serial", "stdio", "-monitor", "none"]);
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&initramfs);
        command.args(["-append", "console=ttyS0 loglevel=4 panic=-1 oops=panic tsc=unstable"]);
        let mut emulator = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let console = emulator.stdout.take().context("it is piped")?;
        let reader = thread::spawn(move || read(console));
        let end = std::time::Instant::now() + patience;
        while emulator.try_wait()?.is_none() {
            if std::time::Instant::now() > end {
                emulator.kill()?;
                emulator.wait()?;
                bail!("given up after {} s", patience.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let code = reader.join().map_err(|_| anyhow::anyhow!("the console cannot be read"))?;
        Ok(code.context("the guest ended without having run the tests")? == 0)
    }

    /// An archive of all files, which the kernel unpacks into its memory.
    fn initramfs(&self, script: &str) -> Result<PathBuf> {
        let root = self.folder.join("root");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "modules"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let busybox = shell::on_path("busybox").context("busybox-static is not installed")?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        for program in self.programs {
            let name = program.file_name().context("a program has a name")?;
            fs::copy(program, root.join("bin").join(name))?;
            copy_libraries(program, &root)?;
        }
        let mut order = String::new();
        for (number, module) in self.kernel.modules(&MODULES)?.iter().enumerate() {
            let place = format!("/modules/{number}.ko");
            unpack(module, &root.join(&place[1..]))?;
            order += &format!("{place}\n");
        }
        fs::write(root.join("modules/order"), order)?;
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(root.join("script"), script)?;
        fs::write(root.join("init"), INIT)?;
        let archive = self.folder.join("initramfs");
        let pack = "chmod +x init && find . | cpio --create --format=newc --quiet";
        let mut cpio = Command::new("sh");
        cpio.args(["-c", pack]).current_dir(&root).stdout(File::create(&archive)?);
        let status = cpio.status().context("cannot start cpio")?;
        ensure!(status.success(), "cpio ends with {status}");
        Ok(archive)
    }
}

/// Shows the console's lines from the script on, and gives the code that the script ended with.
fn read(console: impl std::io::Read) -> Option<i32> {
    let mut code = None;
    for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        match line.strip_prefix(END) {
            Some(said) => code = said.trim().parse().ok(),
            None => println!("{line}"),
        }
    }
    code
}

/// The shared libraries of a program go to the same paths.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    let said = shell::output(Command::new("ldd").arg(program))?;
    for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().context("a library is in a folder")?)?;
        fs::copy(library, place)?;
    }
    Ok(())
}

/// Modules are packed in several ways.
fn unpack(module: &Path, place: &Path) -> Result<()> {
    let unpacker = match module.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => {
            fs::copy(module, place)?;
            return Ok(());
        }
    };
    let mut command = Command::new(unpacker);
    command.args(["--decompress", "--stdout", "--quiet"]).arg(module).stdout(File::create(place)?);
    let status = command.status().with_context(|| format!("cannot start {unpacker}"))?;
    ensure!(status.success(), "{unpacker} ends with {status}");
    Ok(())
}

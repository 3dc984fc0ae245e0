//! Loads the kernel programs: what the kernel must offer, the object's maps, and the programs that the verifier checks.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use aya::maps::{Map, MapData, MapType, ProgramArray};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use aya::util::nr_cpus;
use aya::{Btf, Ebpf, EbpfLoader};
use nix::libc;
use probe_common::buckets;
use probe_common::holder::{Fields, Holder};
use probe_common::sender::SenderPlaces;
use probe_ebpf::{OBJECT, names};

use super::attach::AttachWanted;
use super::btf::{self, KernelFields, Types};
use super::drops::{self, Drops};
use super::owners::{self, Owners, words};
use super::resets;
use super::retransmits::{self, KernelRetransmits};
use crate::error::{Error, KernelFeature};
use crate::source::own_network_namespace;

/// How the probe is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many flows of each address family the kernel remembers: at least 1.
    pub flows: u32,
    /// Whether it looks into tunnels and the like.
    pub decap: bool,
    /// How its programs are attached.
    pub attach: AttachWanted,
    /// Whether sockets are asked why they send segments again.
    pub causes: bool,
    /// Whether retransmits are passed on as the kernel tells of them.
    pub retransmits: bool,
}

/// The loaded object. Its programs are loaded when they are first needed, because the verifier takes its time.
pub(super) struct Programs {
    ebpf: Ebpf,
    /// The kernel's description of its types, as aya reads it; or why there is none.
    btf: Result<Btf, String>,
    layouts: Layouts,
    owners: Owners,
}

/// Where all is that the programs read in the kernel's structures, and what the kernel's numbers mean.
#[derive(Debug, Default)]
struct Layouts {
    fields: KernelFields,
    drops: drops::Layout,
    resets: resets::Layout,
    retransmits: retransmits::Layout,
}

impl Layouts {
    /// As the kernel describes them.
    fn of(types: &Types<'_>) -> Self {
        Self {
            fields: KernelFields::of(types),
            drops: drops::Layout::of(types),
            resets: resets::Layout::of(types),
            retransmits: retransmits::Layout::of(types),
        }
    }

    /// Tells the programs.
    fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        // Words without padding, and as many bytes as the global has.
        let fields = self.fields.holders.as_ref().unwrap_or(&Fields::UNKNOWN);
        loader.override_global(names::FIELDS, &fields.0[..], true);
        self.drops.set(loader);
        self.resets.set(loader);
        self.retransmits.set(loader);
    }
}

impl Programs {
    /// Loads the object's maps, and returns also why senders are not asked although it is wanted: a sentence.
    ///
    /// # Errors
    /// When the kernel lacks something, or refuses.
    pub(super) fn new(settings: &Settings) -> Result<(Self, Option<String>), Error> {
        let layouts = btf::read(Layouts::of);
        let sender = layouts.fields.sender;
        let places = if settings.causes { sender_places(sender) } else { Ok(SenderPlaces::UNKNOWN) };
        Self::ask_if_accepted(settings, layouts, places)
    }

    /// Asks senders if the kernel accepts it; it may refuse to have these places read.
    fn ask_if_accepted(
        settings: &Settings,
        layouts: Layouts,
        places: Result<SenderPlaces, &str>,
    ) -> Result<(Self, Option<String>), Error> {
        let mut programs = Self::load(settings, layouts, places.unwrap_or(SenderPlaces::UNKNOWN))?;
        let checked = match places {
            Ok(places) if places.is_on() => programs.program(names::SENDER_CHECK).map(drop).map_err(words),
            Ok(_) => Ok(()),
            Err(reason) => Err(reason.to_owned()),
        };
        let Err(reason) = checked else { return Ok((programs, None)) };
        if places.is_ok() {
            programs = Self::load(settings, programs.layouts, SenderPlaces::UNKNOWN)?;
        }
        // The verifier's own words follow.
        let reason = reason.lines().next().unwrap_or_default();
        Ok((programs, Some(format!("why segments are retransmitted is not known: {reason}"))))
    }

    fn load(settings: &Settings, layouts: Layouts, sender: SenderPlaces) -> Result<Self, Error> {
        let (flows, decap, sender) = (settings.flows, u32::from(settings.decap), sender.words());
        let (buckets, seed) = (buckets::buckets(flows), RandomState::new().hash_one(flows));
        let mut loader = EbpfLoader::new();
        loader.override_global(names::BUCKETS, &buckets, true);
        loader.override_global(names::HASH_SEED, &seed, true);
        loader.override_global(names::DECAP, &decap, true);
        loader.override_global(names::SENDER_PLACES, &sender[..], true);
        layouts.set(&mut loader);
        if !settings.retransmits {
            retransmits::take_no_room(&mut loader);
        }
        for map in names::FLOWS {
            loader.map_max_entries(map, buckets);
        }
        let ebpf = loader.load(OBJECT).map_err(|error| Error::kernel("load the probe", error))?;
        drop(loader);
        let btf = Btf::from_sys_fs().map_err(words);
        Ok(Self { ebpf, btf, layouts, owners: Owners::default() })
    }

    /// Loads and attaches the programs that say whose sockets are, as far as the kernel allows. Returns why owners are not
    /// known, or not all: a sentence for each reason.
    pub(super) fn attach_owners(&mut self) -> Vec<String> {
        let lacking;
        let has_fields = self.layouts.fields.holders.is_some();
        (self.owners, lacking) = owners::attach(&mut self.ebpf, &self.btf, has_fields);
        lacking
    }

    /// Whether the kernel lists who holds sockets.
    pub(super) const fn has_holders(&self) -> bool {
        self.owners.has_holders
    }

    /// Whether the kernel says of each socket who opens and who closes it.
    pub(super) const fn names_all_owners(&self) -> bool {
        self.owners.are_all
    }

    /// Loads and attaches the program that counts what the host drops.
    ///
    /// # Errors
    /// Why drops are not known: a sentence.
    pub(super) fn attach_drops(&mut self) -> Result<Drops, String> {
        drops::attach(&mut self.ebpf, &self.btf, &self.layouts.drops)
    }

    /// Loads and attaches the programs that tell of retransmits.
    ///
    /// # Errors
    /// Why they are not known: a sentence.
    pub(super) fn attach_retransmits(&mut self) -> Result<KernelRetransmits, String> {
        retransmits::attach(&mut self.ebpf, &self.btf, &self.layouts.retransmits)
    }

    /// Loads and attaches the program that says why this host sends RSTs.
    ///
    /// # Errors
    /// Why that is not known: a sentence.
    pub(super) fn attach_resets(&mut self) -> Result<(), String> {
        resets::attach(&mut self.ebpf, &self.btf, &self.layouts.resets)
    }

    /// Passes every process that holds a TCP socket to `take`, if the kernel says.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn holders(&mut self, take: impl FnMut(Holder)) -> Result<(), Error> {
        if !self.owners.has_holders {
            return Ok(());
        }
        owners::holders(&mut self.ebpf, take)
            .map_err(|reason| Error::kernel("read the holders of sockets", io::Error::other(reason)))
    }

    /// Takes a map of the object, once.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn take_map(&mut self, name: &str) -> Result<Map, Error> {
        self.ebpf.take_map(name).ok_or_else(|| missing(name))
    }

    /// Takes a map of the object that is an array, once.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn take_array(&mut self, name: &str) -> Result<MapData, Error> {
        match self.take_map(name)? {
            Map::Array(map) => Ok(map),
            _ => Err(Error::kernel("use the probe", io::Error::other(format!("its `{name}` is no array")))),
        }
    }

    /// A program, loaded into the kernel when it is first asked for.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) fn program(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        let program = self.ebpf.program_mut(name).ok_or_else(|| missing(name))?;
        let program: &mut SchedClassifier =
            program.try_into().map_err(|error| Error::kernel("use the probe", error))?;
        if program.fd().is_err() {
            program.load().map_err(|error| Error::kernel("load the probe", error))?;
        }
        Ok(program)
    }

    /// The first program for interfaces that is not loaded yet.
    pub(super) fn first_unloaded(&self) -> Option<&'static str> {
        let is_loaded = |name: &&str| self.ebpf.program(name).is_some_and(|program| program.fd().is_ok());
        names::PROGRAMS.into_iter().find(|name| !is_loaded(name))
    }

    /// The program that goes on with this one for as long as this process lives, both loaded.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub(super) fn stub(&mut self, name: &str) -> Result<&mut SchedClassifier, Error> {
        let failed = |error| Error::kernel("use the probe", error);
        let slot =
            names::PROGRAMS.iter().position(|program| *program == name).ok_or_else(|| missing(name))?;
        let program = self.program(name)?.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(failed)?;
        let slots = self.ebpf.map_mut(names::SLOTS).ok_or_else(|| missing(names::SLOTS))?;
        let mut slots =
            ProgramArray::try_from(slots).map_err(|error| Error::kernel("use the probe", error))?;
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        slots.set(number, &program, 0).map_err(|error| Error::kernel("use the probe", error))?;
        self.program(names::STUBS[slot])
    }
}

/// Where senders keep what is asked, and which network namespace they have to be in.
fn sender_places(places: Option<[u32; 3]>) -> Result<SenderPlaces, &'static str> {
    let places = places.ok_or("the kernel does not describe its sockets")?;
    own_network_namespace()
        .map(|own| SenderPlaces::new(places, own))
        .ok_or("/proc does not say which network namespace this is")
}

fn missing(name: &str) -> Error {
    Error::kernel("use the probe", io::Error::other(format!("the built object has no `{name}`")))
}

/// Checks what the probe needs of the kernel before anything is loaded: the verifier's own words explain none of it. Returns
/// whether to attach by TCX.
///
/// # Errors
/// Says what the kernel lacks.
pub(super) fn check_kernel(wanted: AttachWanted) -> Result<bool, Error> {
    let has_tcx = has_tcx();
    let by_tcx = wanted.is_tcx(has_tcx);
    let lacking = [
        (KernelFeature::Tcx, has_tcx || !by_tcx),
        (KernelFeature::Functions, has_functions()),
        (KernelFeature::RingBuffer, aya::sys::is_map_supported(MapType::RingBuf).unwrap_or(true)),
        (KernelFeature::Btf, has_btf()),
    ];
    if let Some((feature, _)) = lacking.into_iter().find(|(_, is_there)| !is_there) {
        return Err(Error::KernelLacks { release: release(), feature });
    }
    // Counters are kept for each processor.
    match nr_cpus() {
        Ok(_) => Ok(by_tcx),
        Err((_, source)) => Err(Error::System { what: "read /sys/devices/system/cpu/possible", source }),
    }
}

/// Asks which programs are attached to loopback, which every namespace has. A kernel that does not know what is asked for
/// says EINVAL; any other answer is about who asks.
fn has_tcx() -> bool {
    let asked = SchedClassifier::query_tcx("lo", TcAttachType::Ingress);
    let is_unknown = |error: &ProgramError| match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::EINVAL),
        _ => false,
    };
    !asked.is_err_and(|error| is_unknown(&error))
}

/// Functions with arguments that are pointers, which the verifier checks once (Linux 5.12). Nothing but a program shows that
/// a kernel knows them; distributors that bring them to an older one number their kernels in other ways.
fn has_functions() -> bool {
    is_since(&release(), [5, 12])
}

/// Whether a kernel is of this version or later, by its release. One that does not say is.
pub(super) fn is_since(release: &str, version: [u32; 2]) -> bool {
    let mut numbers =
        release.split(|sign: char| !sign.is_ascii_digit()).map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => [major, minor] >= version,
        _ => true,
    }
}

/// The kernel describes its own types, which the verifier needs for the arguments of global functions. Without `/sys`
/// nobody can tell.
fn has_btf() -> bool {
    !Path::new("/sys/kernel").is_dir() || Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// `uname -r`.
pub(super) fn release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| "release not known".to_owned(), |name| name.release().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { flows: 100, decap: false, attach: AttachWanted::Auto, causes: true, retransmits: false };

    /// As on a kernel whose socket is another one: where a pointer should be there is none.
    #[test]
    fn what_the_kernel_does_not_let_be_read_is_not_asked_for() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let strange = SenderPlaces::new([0, 0, 1 << 30], 1);
        let (mut programs, lacking) =
            Programs::ask_if_accepted(&SETTINGS, Layouts::default(), Ok(strange)).expect("it loads without");
        let lacking = lacking.expect("a sentence");
        assert!(lacking.starts_with("why segments are retransmitted is not known: "), "{lacking}");
        assert_eq!(lacking.lines().count(), 1, "{lacking}");
        assert!(programs.program(names::PROGRAMS[4]).is_ok(), "all else goes on");
        let unknown = Err("the kernel does not describe its sockets");
        let (_, lacking) =
            Programs::ask_if_accepted(&SETTINGS, Layouts::default(), unknown).expect("it loads without");
        assert_eq!(
            lacking.as_deref(),
            Some("why segments are retransmitted is not known: the kernel does not describe its sockets")
        );
        let off = Settings { causes: false, ..SETTINGS };
        assert_eq!(Programs::new(&off).expect("it loads").1, None);
    }
}

//! Where fields are in the kernel's structures, out of its own description of them (BTF).
//!
//! aya reads BTF to relocate programs that were compiled for it, which rustc does not do, and does not say where fields are.
//! Only what that takes is read here: structures, unions, and how long everything else is. See the kernel's
//! `Documentation/bpf/btf.rst`.

use std::fs;

use probe_common::holder::{Field, Fields};

/// What the kernel describes itself by.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
/// `btf_header.magic`, as a machine of the same byte order writes it.
const MAGIC: u16 = 0xeb9f;
/// Structures within structures that are looked into.
const DEPTH: u32 = 8;

/// Kinds of types (`linux/btf.h`).
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// Where all is that the programs read; `None` where the kernel does not describe all that one of them needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelFields {
    /// What the iterator over open files reads.
    pub(super) holders: Option<Fields>,
    /// What is asked of senders, by the numbers of [`Place`](probe_common::sender::Place).
    pub(super) sender: Option<[u32; 3]>,
}

/// Reads the kernel's description of its types, which is long, and what `find` finds in it: nothing where there is none.
pub(super) fn read<T: Default>(find: impl FnOnce(&Types<'_>) -> T) -> T {
    fs::read(KERNEL).ok().and_then(|bytes| Types::parse(&bytes).map(|types| find(&types))).unwrap_or_default()
}

impl KernelFields {
    /// As the kernel describes them.
    pub(super) fn of(types: &Types<'_>) -> Self {
        Self { holders: types.places(Field::ALL).map(Fields), sender: sender(types) }
    }
}

fn sender(types: &Types<'_>) -> Option<[u32; 3]> {
    let number = types.offset("net", "ns")? + types.offset("ns_common", "inum")?;
    let congestion = types.offset("inet_connection_sock", "icsk_ca_state")?;
    Some([congestion, types.offset("sock_common", "skc_net")?, number])
}

/// A structure or a union: its name, and its members.
#[derive(Clone, Copy)]
struct Structure<'a> {
    name: u32,
    members: &'a [u8],
    /// Whether offsets of members have the size of a bit field in their upper 8 bits.
    has_bit_fields: bool,
}

/// What the kernel describes.
pub(super) struct Types<'a> {
    /// By number; `None` for all that is no structure.
    structures: Vec<Option<Structure<'a>>>,
    /// Names of enumerations, and their values: a name and a number each.
    enumerations: Vec<(u32, &'a [u8])>,
    /// Names of other types, and what they stand for.
    typedefs: Vec<(u32, u32)>,
    /// Pointers, and what they point to; functions, and how many parameters they have. By number, in order.
    pointers: Vec<(u32, u32)>,
    functions: Vec<(u32, usize)>,
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = |index: usize| Some(word(bytes, 8 + 4 * index)? as usize);
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let body = bytes.get(word(bytes, 4)? as usize..)?;
        let section = |offset: usize, len: usize| body.get(offset..)?.get(..len);
        let mut rest = section(header(0)?, header(1)?)?;
        let strings = section(header(2)?, header(3)?)?;
        // Number 0 is `void`.
        let (mut structures, mut enumerations) = (vec![None], Vec::new());
        let (mut typedefs, mut pointers, mut functions) = (Vec::new(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (name, info) = (word(rest, 0)?, word(rest, 4)?);
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let len = match kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
                kind::ENUM | kind::FUNC_PROTO => 8 * count,
                _ => 0,
            };
            let members = rest.get(12..)?.get(..len)?;
            let number = u32::try_from(structures.len()).ok()?;
            match kind {
                kind::ENUM => enumerations.push((name, members)),
                kind::TYPEDEF => typedefs.push((name, word(rest, 8)?)),
                kind::PTR => pointers.push((number, word(rest, 8)?)),
                kind::FUNC_PROTO => functions.push((number, count)),
                _ => {}
            }
            let is_structure = matches!(kind, kind::STRUCT | kind::UNION);
            structures.push(is_structure.then_some(Structure {
                name,
                members,
                has_bit_fields: info >> 31 != 0,
            }));
            rest = &rest[12 + len..];
        }
        Some(Self { structures, enumerations, typedefs, pointers, functions, strings })
    }

    /// The names of an enumeration's values, and their numbers. None if there is no such enumeration.
    pub(super) fn enumerators(&self, enumeration: &str) -> Vec<(u32, String)> {
        let named = self.enumerations.iter().find(|(name, _)| self.is(*name, enumeration));
        let values = named.map_or(&[][..], |(_, values)| values).chunks_exact(8);
        let value = |value: &[u8]| Some((word(value, 4)?, self.text(word(value, 0)?)?));
        values.filter_map(value).collect()
    }

    /// How many parameters the functions have that pointers of this type point to.
    pub(super) fn parameters(&self, typedef: &str) -> Option<usize> {
        let (_, pointer) = self.typedefs.iter().find(|(name, _)| self.is(*name, typedef))?;
        let found = self.pointers.binary_search_by_key(pointer, |(number, _)| *number).ok()?;
        let (_, function) = self.pointers.get(found)?;
        let found = self.functions.binary_search_by_key(function, |(number, _)| *number).ok()?;
        self.functions.get(found).map(|(_, count)| *count)
    }

    /// The string at this place.
    fn text(&self, string: u32) -> Option<String> {
        let text = self.strings.get(string as usize..)?.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// The places of fields in their structures, in bytes; `None` if one of them is not known.
    pub(super) fn places<F, const N: usize>(&self, fields: [(F, &str, &str); N]) -> Option<[u32; N]> {
        let places = fields.map(|(_, structure, field)| self.offset(structure, field));
        places.iter().all(Option::is_some).then(|| places.map(Option::unwrap_or_default))
    }

    /// The place of a field in a structure, in bytes.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let named = self.structures.iter().flatten().filter(|known| self.is(known.name, structure));
        // Of several of one name, some other may be the one without that field.
        named.filter_map(|known| self.offset_in(known, field, DEPTH)).next()
    }

    fn offset_in(&self, structure: &Structure<'_>, field: &str, depth: u32) -> Option<u32> {
        let members = structure.members.chunks_exact(12);
        members
            .filter_map(|member| {
                let (name, number, offset) = (word(member, 0)?, word(member, 4)?, word(member, 8)?);
                let bits = if structure.has_bit_fields { offset & 0x00ff_ffff } else { offset };
                if self.is(name, field) {
                    return (bits % 8 == 0).then_some(bits / 8);
                }
                // Members of a structure without a name are members of what it is in.
                let inner = self
                    .structures
                    .get(number as usize)?
                    .as_ref()
                    .filter(|_| self.is(name, "") && depth > 0)?;
                Some(bits / 8 + self.offset_in(inner, field, depth - 1)?)
            })
            .next()
    }

    /// Whether the string at this place is `text`.
    fn is(&self, string: u32, text: &str) -> bool {
        let rest = self.strings.get(string as usize..).unwrap_or_default();
        rest.strip_prefix(text.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { long b; union { int c; short d; }; }; int e:3; }`, with the types in odd order.
    fn described() -> Vec<u8> {
        let mut strings = vec![0_u8];
        let mut string = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let [outer, a, b, c, d, e, int, call] =
            ["outer", "a", "b", "c", "d", "e", "int", "call"].map(&mut string);
        let info = |kind: u32, count: u32, flag: u32| flag << 31 | kind << 24 | count;
        let types: Vec<u32> = [
            vec![int, info(kind::INT, 0, 0), 4, 32],
            vec![outer, info(kind::STRUCT, 3, 1), 32, a, 1, 0, 0, 4, 64, e, 1, 3 << 24 | 192],
            vec![0, info(kind::UNION, 2, 0), 4, c, 1, 0, d, 1, 0],
            vec![0, info(kind::STRUCT, 2, 0), 16, b, 1, 0, 0, 3, 64],
            vec![int, info(kind::ENUM, 1, 0), 4, e, 7],
            vec![call, info(kind::TYPEDEF, 0, 0), 7],
            vec![0, info(kind::PTR, 0, 0), 8],
            vec![0, info(kind::FUNC_PROTO, 3, 0), 0, 0, 1, 0, 1, 0, 1],
        ]
        .concat();
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let lengths = [types.len(), strings.len()].map(|len| u32::try_from(len).unwrap());
        let mut bytes = [&MAGIC.to_ne_bytes()[..], &[1, 0]].concat();
        for word in [24, 0, lengths[0], lengths[0], lengths[1]] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        [bytes, types, strings].concat()
    }

    #[test]
    fn fields_are_found_also_within_nameless_members() {
        let bytes = described();
        let types = Types::parse(&bytes).unwrap();
        let offset = |field| types.offset("outer", field);
        assert_eq!(
            ["a", "b", "c", "d", "e", "f"].map(offset),
            [Some(0), Some(8), Some(16), Some(16), Some(24), None]
        );
        assert_eq!(types.offset("inner", "a"), None);
        assert_eq!(types.enumerators("int"), [(7, "e".to_owned())]);
        assert!(types.enumerators("outer").is_empty());
        assert_eq!((types.parameters("call"), types.parameters("int")), (Some(3), None));
    }

    #[test]
    fn cut_or_damaged_descriptions_have_no_fields() {
        let whole = described();
        (0..whole.len()).for_each(|len| drop(Types::parse(&whole[..len])));
        let found = KernelFields::of(&Types::parse(&whole).unwrap());
        assert!(Types::parse(&whole[..24]).is_none() && found.holders.is_none() && found.sender.is_none());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = Types::parse(&damaged).map(|types| {
                _ = (types.enumerators("int"), types.parameters("call"));
                types.offset("outer", "d")
            });
        }
    }

    #[test]
    fn this_kernel_says_where_its_fields_are() {
        if fs::exists(KERNEL).unwrap_or(false) {
            let KernelFields { holders, sender } = read(KernelFields::of);
            let fields = holders.expect("all of them");
            // A socket is long, and its common part is short.
            assert!(sender.is_some_and(|[congestion, namespace, _]| congestion > 500 && namespace < 200));
            // `include/net/sock.h` keeps these two where the look-up of sockets needs them.
            assert_eq!([Field::RemotePort, Field::LocalPort].map(|field| fields.of(field)), [12, 14]);
        }
    }
}

//! Numbers of ICMP: types and codes of errors about TCP (RFC 792; RFC 4443, 3).

use crate::segment::Family;

/// The number of ICMP as an IP protocol.
pub const ICMP: u8 = 1;
/// The number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// ICMP: the destination cannot be reached, by its code.
pub const V4_UNREACHABLE: u8 = 3;
/// ICMP: the time to live is used up.
pub const V4_TIME_EXCEEDED: u8 = 11;
/// The code of [`V4_UNREACHABLE`] for packets that are too large and must not be cut (RFC 1191).
pub const V4_FRAGMENTATION_NEEDED: u8 = 4;
/// `ICMPv6`: the destination cannot be reached, by its code.
pub const V6_UNREACHABLE: u8 = 1;
/// `ICMPv6`: the packet is too large.
pub const V6_PACKET_TOO_BIG: u8 = 2;
/// `ICMPv6`: the hop limit is used up.
pub const V6_TIME_EXCEEDED: u8 = 3;
/// `ICMPv6`: a header cannot be processed.
pub const V6_PARAMETER_PROBLEM: u8 = 4;

/// Returns whether a message of this type is an error that is looked into.
#[inline(always)]
#[must_use]
pub const fn is_error(family: Family, icmp_type: u8) -> bool {
    match family {
        Family::V4 => icmp_type == V4_UNREACHABLE || icmp_type == V4_TIME_EXCEEDED,
        Family::V6 => icmp_type >= V6_UNREACHABLE && icmp_type <= V6_PARAMETER_PROBLEM,
    }
}

/// The IP protocol of ICMP in this family.
#[inline(always)]
#[must_use]
pub const fn number(family: Family) -> u8 {
    match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    }
}

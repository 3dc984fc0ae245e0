//! What is attached where a filter outlives the process (clsact): it goes on with the classifier in its slot, which the kernel
//! empties when the process ends, in whatever way. Without it, it lets every packet pass.

use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::TcContext;

/// The classifiers, in the order of `names::PROGRAMS`. Only the process holds this map open.
#[map]
static SLOTS: ProgramArray = ProgramArray::with_max_entries(5, 0);

macro_rules! stub {
    ($name:ident, $slot:literal) => {
        /// Goes on with the classifier in a slot, if there is one.
        #[classifier]
        pub fn $name(context: TcContext) -> i32 {
            // SAFETY: classifiers only, which take the same context.
            _ = unsafe { SLOTS.tail_call(&context, $slot) };
            TCX_NEXT
        }
    };
}

stub!(stub_ethernet_ingress, 0);
stub!(stub_ethernet_egress, 1);
stub!(stub_bare_ingress, 2);
stub!(stub_bare_egress, 3);
stub!(stub_loopback, 4);

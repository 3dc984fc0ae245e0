//! What the kernel's verifier has to be told, or must not know.

/// The same number, of which the verifier does not know that it is.
///
/// It follows each value that an index can have by itself, together with all that comes after: eight slots times two
/// ends are sixteen walks through the same instructions. Of a number without a history it asks no more than that a
/// mask bounds it. `any` must be one that the verifier does not know.
#[inline(always)]
#[must_use]
pub fn forget(number: usize, any: u64) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: changes the number and back, and nothing else.
        unsafe {
            core::arch::asm!(
                "{number} ^= {any}",
                "{number} ^= {any}",
                number = inout(reg) number,
                any = in(reg) any,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = any;
        number
    }
}

//! Helpers for the kernel's verifier, and against the compiler where it makes code that the verifier refuses.

/// Returns the same number, without what the verifier knows of it.
///
/// The verifier follows each value that an index can have separately, through all that comes after: eight slots times two
/// ends are sixteen walks through the same instructions. Of a number without history it only asks that a mask bounds
/// it. `any` must be a number that the verifier does not know.
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

/// Returns the same number, without what the compiler knows of it: it must not remove a mask that looks needless to it,
/// because the verifier knows less.
#[inline(always)]
#[must_use]
pub fn opaque(number: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: moves a register to itself. It has to be an instruction: each has a line in the debug information.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
        }
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number
    }
}

/// Returns the same number, read only where this stands: the compiler must not read it earlier, on ways on which nobody has
/// written it. To the compiler that is harmless, and the verifier refuses it.
#[inline(always)]
#[must_use]
pub fn pinned(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = u64::from(number);
        // SAFETY: moves a register to itself. It is not `pure`, so that it stays where it is.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) number, options(nomem, nostack, preserves_flags));
        }
        number as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number
    }
}

/// Returns 0, hidden from the compiler, for the same reason as [`assign_words`].
#[inline(always)]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "0")]
pub fn zero() -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let zero: u64;
        // SAFETY: sets a register, and nothing else.
        unsafe {
            core::arch::asm!("{zero} = 0", zero = out(reg) zero, options(pure, nomem, nostack, preserves_flags));
        }
        zero as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        0
    }
}

/// `*to = *from`, word by word: the compiler would call a function that goes byte by byte, which for a flow state costs
/// more than all the rest of its packet. `T` must be made of integers without padding.
#[inline(always)]
pub fn assign_words<T: Copy>(to: &mut T, from: &T) {
    const { assert!(align_of::<T>() == 4 || align_of::<T>() == 8) };
    #[cfg(target_arch = "bpf")]
    {
        if const { align_of::<T>() == 8 } {
            copy_words::<T, u64>(to, from);
        } else {
            copy_words::<T, u32>(to, from);
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *to = *from;
    }
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
fn copy_words<T, W: Copy>(to: &mut T, from: &T) {
    let (to, from) = (core::ptr::from_mut(to).cast::<W>(), core::ptr::from_ref(from).cast::<W>());
    for word in 0..size_of::<T>() / size_of::<W>() {
        // SAFETY: within both, and aligned, because their size is a multiple of their alignment. Volatile, or the compiler would put the words together again.
        unsafe { to.add(word).write_volatile(from.add(word).read()) };
    }
}

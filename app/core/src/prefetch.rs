//! Requesting memory before it is needed.

/// Starts to load a value into the nearest cache, and does not wait for it. Changes nothing but the time that the next access
/// takes.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        /// Length of a cache line, in bytes.
        const LINE: usize = 64;
        for offset in (0..size_of::<T>()).step_by(LINE) {
            let line = core::ptr::from_ref(value).cast::<i8>().wrapping_add(offset);
            // SAFETY: a hint without effect, for any address at all.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        }
    }
    // Elsewhere there is no such hint on stable Rust.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

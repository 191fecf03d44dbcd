//! jemalloc in place of the system's `malloc`, for libtorch as well: the executable's symbols come before those of the C library.
//!
//! A step of training frees every feature it made and asks for the same sizes again. glibc gives blocks back to the system at
//! each free at the heap's end, so a good part of a step goes into pages that the kernel zeroes anew, and its heap leaves gaps between
//! large blocks. jemalloc without decay keeps what it has, as libtorch's allocator on a GPU does. What it brings is measured by
//! `make bench-models`; `MALLOC_CONF` in the environment says otherwise than the settings here.

use std::ffi::c_char;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// jemalloc reads its settings from the string at this symbol. Pages stay with the process until it ends, and large blocks have no arena of
/// their own, which would give them back at once.
#[unsafe(export_name = "malloc_conf")]
// SAFETY: the text is static and ends with a 0.
static SETTINGS: Option<&c_char> =
    Some(unsafe { &*c"dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0".as_ptr() });

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_void};

    fn setting<T: Default>(name: &CStr) -> T {
        let (mut value, mut size) = (T::default(), size_of::<T>());
        // SAFETY: the value is as long as told, and jemalloc refuses another length.
        let failed = unsafe {
            tikv_jemalloc_sys::mallctl(name.as_ptr(), (&raw mut value).cast(), &raw mut size, std::ptr::null_mut(), 0)
        };
        assert_eq!(failed, 0, "{name:?}");
        value
    }

    #[test]
    fn pages_stay_with_the_process() {
        assert_eq!(setting::<isize>(c"opt.dirty_decay_ms"), -1);
        assert_eq!(setting::<isize>(c"opt.muzzy_decay_ms"), -1);
        assert_eq!(setting::<usize>(c"opt.oversize_threshold"), 0);
    }

    /// libtorch finds the same functions: what another library's call made is a block of jemalloc's.
    #[test]
    fn tensors_come_from_it() {
        for name in [c"malloc", c"posix_memalign", c"free"] {
            // SAFETY: it looks a name up in what is loaded.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            let ours = match name.to_bytes() {
                b"malloc" => tikv_jemalloc_sys::malloc as *const c_void,
                b"posix_memalign" => tikv_jemalloc_sys::posix_memalign as *const c_void,
                _ => tikv_jemalloc_sys::free as *const c_void,
            };
            assert_eq!(found.cast_const(), ours, "{name:?}");
        }
    }
}

//! jemalloc in place of the system's `malloc`, also for libtorch: the executable's symbols are found before those of
//! the C library.
//!
//! A training step frees all its features, and the next step allocates the same sizes again. glibc returns memory at
//! the end of the heap to the system, so a large part of a step is spent on pages that the kernel sets to zero again,
//! and its heap has gaps between large blocks. jemalloc without decay keeps its memory, as libtorch's allocator on a
//! GPU does. `make bench-models` measures the difference. The environment variable `MALLOC_CONF` overrides the settings
//! here.

use std::ffi::c_char;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// jemalloc reads its settings from the string at this symbol. The process keeps its pages until it ends, and large
/// blocks have no separate arena, which would return them at once.
#[unsafe(export_name = "malloc_conf")]
// SAFETY: the text is static and ends with a 0.
static SETTINGS: Option<&c_char> =
    Some(unsafe { &*c"dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0".as_ptr() });

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_void};

    fn setting<T: Default>(name: &CStr) -> T {
        let (mut value, mut size) = (T::default(), size_of::<T>());
        // SAFETY: `size` is the size of `value`, and jemalloc refuses another size.
        let failed = unsafe {
            tikv_jemalloc_sys::mallctl(name.as_ptr(), (&raw mut value).cast(), &raw mut size, std::ptr::null_mut(), 0)
        };
        assert_eq!(failed, 0, "{name:?}");
        value
    }

    #[test]
    fn the_settings_are_used() {
        assert_eq!(setting::<isize>(c"opt.dirty_decay_ms"), -1);
        assert_eq!(setting::<isize>(c"opt.muzzy_decay_ms"), -1);
        assert_eq!(setting::<usize>(c"opt.oversize_threshold"), 0);
    }

    /// libtorch finds the same functions, so its memory comes from jemalloc.
    #[test]
    fn other_libraries_use_jemalloc() {
        for name in [c"malloc", c"posix_memalign", c"free"] {
            // SAFETY: the call only looks up a name in the loaded libraries.
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

//! What the benchmarks share.
//!
//! Lives here: their arguments, medians, and an allocator that counts.
//! May not: know what is measured.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, process,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// What was asked for on the command line.
pub(crate) struct Arguments {
    /// Rounds so short that all rows together take a few seconds.
    pub(crate) is_quick: bool,
    /// What is no flag.
    pub(crate) rest: Vec<String>,
}

impl Arguments {
    pub(crate) fn read() -> Self {
        let mut arguments = Self { is_quick: false, rest: Vec::new() };
        for argument in env::args().skip(1) {
            match argument.as_str() {
                // cargo bench says it to every benchmark.
                "--bench" => {}
                "--quick" => arguments.is_quick = true,
                flag if flag.starts_with('-') => {
                    println!("unknown argument {flag}; there is --quick");
                    process::exit(64);
                }
                _ => arguments.rest.push(argument),
            }
        }
        arguments
    }
}

/// The one in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(&mut values.into_iter().collect::<Vec<_>>(), 50)
}

/// The value that so many percent are not above.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len() - 1);
    values[at]
}

/// What was asked of the allocator.
pub(crate) struct Allocations {
    /// How often; growing is one more.
    pub(crate) count: u64,
    /// What was asked for; growing asks for the whole new size.
    pub(crate) octets: u64,
}

static COUNTS: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static OCTETS: AtomicU64 = AtomicU64::new(0);

/// The allocations of all threads while `work` runs. Only here they are counted,
/// so that what is timed elsewhere does not pay for it.
pub(crate) fn allocations<T>(work: impl FnOnce() -> T) -> (T, Allocations) {
    COUNT.store(0, Relaxed);
    OCTETS.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let result = work();
    COUNTS.store(false, Relaxed);
    (result, Allocations { count: COUNT.load(Relaxed), octets: OCTETS.load(Relaxed) })
}

/// The system's allocator, which says what is asked of it.
struct Counting;

impl Counting {
    fn note(octets: usize) {
        if COUNTS.load(Relaxed) {
            COUNT.fetch_add(1, Relaxed);
            OCTETS.fetch_add(octets as u64, Relaxed);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "allocations cannot be counted but from an allocator")]
// SAFETY: every call goes on to the system's allocator as it came, and the
// counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        // SAFETY: what the caller has promised is what the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        Self::note(octets);
        // SAFETY: as above; the block is the system's, since all are.
        unsafe { System.realloc(block, layout, octets) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

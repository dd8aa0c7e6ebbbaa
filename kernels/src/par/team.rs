//! Threads of the pool that stay awake for the loops of one of them.
//!
//! A thread that shares a loop of twenty microseconds cannot wait until a sleeping one has woken up, which takes as
//! long, nor fall asleep itself until the last helper is done. So one thread at a time leads, and the others attend: they
//! look for its next loop all the time, and for other work of the pool in between, until nothing has come for a while.
//! Whoever would lead meanwhile shares its loops by the pool's own means.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A thread that finds nothing to do for so long sleeps as usual. Between two steps of training pass some hundreds of
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(1);
/// After so long a thread attends no more until it is called again: below may lie work that waits to go on.
const SHIFT: Duration = Duration::from_millis(20);
/// Looks for a loop between two looks at the pool and the clock.
const LOOKS: usize = 64;
/// Looks at whether all helpers are done before other programs may have the processor.
const SPINS: usize = 4096;

/// The most lanes of a loop.
const LANES: usize = 16;

/// What a thread is to the team.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Nothing.
    Stranger,
    /// It looks for loops.
    Attendant,
    /// It may share its loops.
    Leader,
    /// It is in a task of a loop.
    Busy,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::Stranger) };
}

/// Gives the thread a role for as long as this lives, also in a panic.
struct Playing(Role);

impl Playing {
    fn new(role: Role) -> Playing {
        Playing(ROLE.replace(role))
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        ROLE.set(self.0);
    }
}

static TEAM: Team = Team {
    led: AtomicBool::new(false),
    current: AtomicPtr::new(ptr::null_mut()),
    visitors: AtomicUsize::new(0),
    attendants: AtomicUsize::new(0),
};

struct Team {
    /// Whether some thread leads.
    led: AtomicBool,
    /// The loop under way, on the leader's stack; null between loops.
    current: AtomicPtr<Loop>,
    /// Threads that may be looking at `current`.
    visitors: AtomicUsize,
    /// Threads that attend, or are on their way.
    attendants: AtomicUsize,
}

/// One loop. Its tasks are laid out in lanes, one for each thread up to [`LANES`]: a thread begins in its own and so meets
/// the data that it has met in the loop before.
struct Loop {
    task: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
    lanes: usize,
    /// How many tasks of each lane have been taken.
    taken: [AtomicUsize; LANES],
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Loop {
    fn new(task: &'static (dyn Fn(usize) + Sync), tasks: usize) -> Loop {
        let lanes = rayon::current_num_threads().min(LANES);
        Loop { task, tasks, lanes, taken: [const { AtomicUsize::new(0) }; LANES], panic: Mutex::new(None) }
    }

    /// Takes tasks until none is left.
    fn work(&self) {
        let _busy = Playing::new(Role::Busy);
        let own = rayon::current_thread_index().unwrap_or(0);
        for lane in (0..self.lanes).map(|i| (own + i) % self.lanes) {
            let [start, end] = [lane, lane + 1].map(|lane| lane * self.tasks / self.lanes);
            loop {
                let task = start + self.taken[lane].fetch_add(1, Relaxed);
                if task >= end {
                    break;
                }
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.task)(task))) {
                    self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
                }
            }
        }
    }
}

impl Team {
    /// Takes part in the loop under way, if there is one.
    fn help(&self) -> bool {
        if self.current.load(Relaxed).is_null() {
            return false;
        }
        self.visitors.fetch_add(1, SeqCst);
        let current = self.current.load(SeqCst);
        if !current.is_null() {
            // SAFETY: the leader takes the address away and then waits until there are no visitors: either it waits for
            // this one, or this one has found null.
            unsafe { (*current).work() };
        }
        self.visitors.fetch_sub(1, SeqCst);
        !current.is_null()
    }

    /// Sees to it that all other threads of the pool attend.
    fn gather(&self) {
        for _ in self.attendants.load(Relaxed)..rayon::current_num_threads() - 1 {
            self.attendants.fetch_add(1, Relaxed);
            rayon::spawn(|| {
                attend();
                TEAM.attendants.fetch_sub(1, Relaxed);
            });
        }
    }
}

/// Runs the loop on the calling thread and whoever attends; false if the calling thread does not lead.
pub(super) fn for_each(tasks: usize, task: &(dyn Fn(usize) + Sync)) -> bool {
    if ROLE.get() != Role::Leader {
        return false;
    }
    TEAM.gather();
    // SAFETY: only the lifetime is other, and no thread uses the closure after this function.
    let task =
        unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
    let this = Loop::new(task, tasks);
    TEAM.current.store((&raw const this).cast_mut(), SeqCst);
    this.work();
    TEAM.current.store(ptr::null_mut(), SeqCst);
    let mut looks = 0;
    while TEAM.visitors.load(SeqCst) > 0 {
        looks += 1;
        if looks < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    if let Some(panic) = this.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
    true
}

/// The one leader; lets the next one lead when it goes, also in a panic.
struct Lead {
    attended: bool,
}

impl Lead {
    fn new() -> Option<Lead> {
        let attended = match ROLE.get() {
            Role::Stranger => false,
            Role::Attendant => true,
            Role::Leader | Role::Busy => return None,
        };
        TEAM.led.compare_exchange(false, true, Acquire, Relaxed).ok()?;
        if attended {
            TEAM.attendants.fetch_sub(1, Relaxed);
        }
        Some(Lead { attended })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.attended {
            TEAM.attendants.fetch_add(1, Relaxed);
        }
        TEAM.led.store(false, Release);
    }
}

/// See [`super::inside`].
pub(super) fn inside<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| {
        let Some(_lead) = Lead::new() else { return f() };
        TEAM.gather();
        let _leader = Playing::new(Role::Leader);
        f()
    })
}

/// Takes part in loops of the leader as soon as there are some, and in other work of the pool, until out of patience.
fn attend() {
    if ROLE.get() != Role::Stranger {
        return;
    }
    let _attendant = Playing::new(Role::Attendant);
    let begin = Instant::now();
    let mut idle_since = begin;
    while idle_since.elapsed() < PATIENCE && begin.elapsed() < SHIFT {
        let mut worked = false;
        for _ in 0..LOOKS {
            worked |= TEAM.help();
            std::hint::spin_loop();
        }
        worked |= rayon::yield_now() == Some(rayon::Yield::Executed);
        if !TEAM.led.load(Relaxed) {
            // Whoever prepares the next evaluation needs a processor.
            std::thread::yield_now();
        }
        if worked {
            idle_since = Instant::now();
        }
    }
}

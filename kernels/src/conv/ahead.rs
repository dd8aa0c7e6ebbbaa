//! What a micro-kernel asks for while the processor computes: cache lines of planes, which are too far apart for the
//! processor to guess.

use super::reduce::Ahead;

/// Bytes of a cache line.
const LINE: usize = 64;

/// The cache lines of the same pixels of many planes.
pub struct Lines<T> {
    /// First of the pixels, in the first plane.
    first: *const T,
    /// Lines of a plane.
    per_plane: usize,
    /// Planes whose lines are asked for together: how many, and elements from one to the next.
    together: [usize; 2],
    /// How many times as many planes, and elements from the first of these to the first of the next.
    times: [usize; 2],
}

impl<T> Lines<T> {
    /// Lines of `pixels` pixels from `first` on, in `together[0]` planes that are `together[1]` elements apart, and all
    /// that `times[0]` times, `times[1]` elements apart.
    pub fn new(first: *const T, pixels: usize, together: [usize; 2], times: [usize; 2]) -> Lines<T> {
        Lines { first, per_plane: (pixels * size_of::<T>()).div_ceil(LINE), together, times }
    }
}

/// What is asked for while a block is computed, first the one, then the other.
pub struct Requests<T> {
    planes: [Lines<T>; 2],
    /// The next line, counted over both (of one plane of those together).
    next: usize,
}

impl<T> Requests<T> {
    /// All of these.
    pub fn new(planes: [Lines<T>; 2]) -> Requests<T> {
        Requests { planes, next: 0 }
    }

    /// As many more lines, each of all planes that belong together, as fit `room` requests; if all were asked for, `hot`.
    pub fn take(&mut self, room: usize, hot: *const T) -> Ahead<T> {
        let mut line = self.next;
        for lines in &self.planes {
            let count = lines.times[0] * lines.per_plane;
            if line < count {
                let (time, at) = (line / lines.per_plane, line % lines.per_plane);
                let [planes, stride] = lines.together;
                self.next += (room / planes.max(1)).clamp(1, lines.per_plane - at);
                let first = lines.first.wrapping_add(time * lines.times[1] + at * LINE / size_of::<T>());
                return Ahead { first, stride, planes };
            }
            line -= count;
        }
        Ahead { first: hot, stride: 0, planes: usize::MAX }
    }
}

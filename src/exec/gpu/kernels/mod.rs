//! The kernels of the waist as dispatches: which shader, with which tiles, over which grid. One file a family.

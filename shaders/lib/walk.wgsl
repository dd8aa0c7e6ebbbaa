// From the number of an element to where its operands lie. The file that includes this one has in its parameters `rank`,
// `lengths` (outermost first) and `a_strides`; TWO: `b_strides`, too. AXIS: and `axis`, along which strides are 0 and the
// coordinate is given by itself.
//
// In bounds: coordinates are below their lengths, and axes below p.rank.

struct Walk {
    a: i32,                         // steps of the first operand
//!if TWO
    b: i32,                         // of the second
//!endif
//!if AXIS
    coordinate: u32,                // along p.axis
//!endif
}

fn walk(element: u32) -> Walk {
    var at: Walk;
    var rest = element;
    for (var left = p.rank; left > 0u; left--) {
        let axis = left - 1u;
        let length = p.lengths[axis >> 2u][axis & 3u];
        let i = rest % length;
        rest = rest / length;
        at.a += i32(i) * p.a_strides[axis >> 2u][axis & 3u];
//!if TWO
        at.b += i32(i) * p.b_strides[axis >> 2u][axis & 3u];
//!endif
//!if AXIS
        if axis == p.axis {
            at.coordinate = i;
        }
//!endif
    }
    return at;
}

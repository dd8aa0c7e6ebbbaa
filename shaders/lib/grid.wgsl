// Workgroups in a row, folded to two axes where one has too few (65,535 on most devices).

// The number of this workgroup, from its place in a grid of `size` workgroups. Numbers may go past what was asked for:
// the last row of a folded grid is rarely full.
fn flat_workgroup(place: vec3<u32>, size: vec3<u32>) -> u32 {
    return place.y * size.x + place.x;
}

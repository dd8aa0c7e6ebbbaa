// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011), the bits of
// `kernels/src/random.rs`, whose header says which word belongs to which element and how words become numbers.

//!include lib/math.wgsl

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var i = 0; i < 10; i++) {
        let high0 = multiply_high(c.x, 0xd2511f53u);
        let high1 = multiply_high(c.z, 0xcd9e8d57u);
        c = vec4<u32>(high1 ^ c.y ^ k.x, c.z * 0xcd9e8d57u, high0 ^ c.w ^ k.y, c.x * 0xd2511f53u);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// The block with the words of elements e / 4 * 4 to e / 4 * 4 + 3. Elements are fewer than 2^32 on a GPU.
fn random_block(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> vec4<u32> {
    return philox(vec4<u32>(e >> 2u, 0u, draw), seed);
}

fn random_bits(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> u32 {
    var block = random_block(seed, draw, e);
    return block[e & 3u];
}

fn random_uniform(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> f32 {
    return f32(random_bits(seed, draw, e) >> 8u) * 5.9604644775390625e-8;
}

// Box and Muller 1958: elements 2 j and 2 j + 1 share two words.
struct Pair {
    radius: f32,
    quadrant: u32,
    sin_cos: vec2<f32>,
}

fn random_pair(words: vec2<u32>) -> Pair {
    let unit = f32(words.x >> 16u) * 1.52587890625e-5 + (f32(words.x & 0xffffu) + 0.5) * 2.3283064365386963e-10;
    let radius = sqrt(-2.0 * f_log(unit));
    let quadrant = (words.y + 0x20000000u) >> 30u;
    let rest = bitcast<i32>(words.y - (quadrant << 30u));
    return Pair(radius, quadrant, reduced_sin_cos(f32(rest) * 1.4629180792671596e-9));
}

fn of_pair(pair: Pair, e: u32) -> f32 {
    return pair.radius * turned(pair.quadrant + ((e & 1u) ^ 1u), pair.sin_cos);
}

fn random_normal(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> f32 {
    let block = random_block(seed, draw, e);
    return of_pair(random_pair(select(block.xy, block.zw, (e & 2u) == 2u)), e);
}

// Elements e to e + 3, where e is a multiple of 4.
fn random_bits_four(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> vec4<u32> {
    return random_block(seed, draw, e);
}

fn random_uniform_four(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> vec4<f32> {
    return vec4<f32>(random_block(seed, draw, e) >> vec4(8u)) * 5.9604644775390625e-8;
}

fn random_normal_four(seed: vec2<u32>, draw: vec2<u32>, e: u32) -> vec4<f32> {
    let block = random_block(seed, draw, e);
    let first = random_pair(block.xy);
    let second = random_pair(block.zw);
    return vec4<f32>(of_pair(first, 0u), of_pair(first, 1u), of_pair(second, 0u), of_pair(second, 1u));
}

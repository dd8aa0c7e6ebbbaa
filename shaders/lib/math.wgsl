// Elementary functions of f32, as `kernels/src/math` has them for the CPU: the same reductions and polynomials, within a
// few units in the last place. Drivers' own are off by 1e-5 relative in places, and some give NaN for tanh(100).
// WGSL lets a compiler assume that there is no NaN and no infinity, so both are told by their bits, and made of bits.

fn from_bits(bits: u32) -> f32 {
    // A function of one's own is never evaluated while compiling, where making an infinity would be an error.
    return bitcast<f32>(bits);
}

fn magnitude_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

fn f_is_nan(x: f32) -> bool {
    return magnitude_bits(x) > 0x7f800000u;
}

fn copy_sign(magnitude: f32, sign: f32) -> f32 {
    return bitcast<f32>(magnitude_bits(magnitude) | (bitcast<u32>(sign) & 0x80000000u));
}

fn f_max(a: f32, b: f32) -> f32 {
    let larger = select(b, a, a > b);
    return select(select(larger, b, f_is_nan(b)), a, f_is_nan(a));
}

fn f_min(a: f32, b: f32) -> f32 {
    let smaller = select(b, a, a < b);
    return select(select(smaller, b, f_is_nan(b)), a, f_is_nan(a));
}

fn f_sign(x: f32) -> f32 {
    let one = select(select(0.0, -1.0, x < 0.0), 1.0, x > 0.0);
    return select(one, x, f_is_nan(x));
}

fn f_relu(x: f32) -> f32 {
    return select(select(0.0, x, f_is_nan(x)), x, x > 0.0);
}

// 2 to the power n, for -126 <= n <= 127.
fn exp2_integer(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

// x * 2^n in two steps, so that neither power leaves the normal numbers.
fn scale(x: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return x * exp2_integer(half) * exp2_integer(n - half);
}

// exp(r) - 1 for |r| <= log(2) / 2.
fn reduced_expm1(r: f32) -> f32 {
    var sum = 1.3926184e-3;
    sum = fma(sum, r, 8.363179e-3);
    sum = fma(sum, r, 4.1666555e-2);
    sum = fma(sum, r, 1.6666577e-1);
    sum = fma(sum, r, 0.5);
    return fma(r * r, sum, r);
}

// x = n log 2 + r (Cody and Waite); the tail is added to r. The product of n and the larger piece of log 2, 355 / 512, is
// made of integers: a compiler that sees two products with n adds their constants, and the precision is gone.
fn reduced_exp(x: f32, tail: f32) -> vec2<f32> {
    let n = round(x * 1.4426950408889634);
    let r = fma(n, 2.1219444e-4, x - f32(i32(n) * 355) * 0.001953125);
    return vec2<f32>(n, r + tail);
}

fn exp_with_tail(x: f32, tail: f32) -> f32 {
    let nr = reduced_exp(clamp(x, -104.0, 89.0), tail);
    let result = scale(1.0 + reduced_expm1(nr.y), i32(nr.x));
    let over = select(result, from_bits(0x7f800000u), x > 88.8);
    return select(select(over, 0.0, x < -104.0), x, f_is_nan(x));
}

fn f_exp(x: f32) -> f32 {
    return exp_with_tail(x, 0.0);
}

fn f_expm1(x: f32) -> f32 {
    let nr = reduced_exp(clamp(x, -18.0, 89.0), 0.0);
    // Half the result, because 2^n itself may overflow where exp(x) does not.
    let half_power = exp2_integer(i32(nr.x) - 1);
    let half = fma(half_power, reduced_expm1(nr.y), half_power - 0.5);
    let result = select(half + half, from_bits(0x7f800000u), x > 88.8);
    return select(result, x, abs(x) < 5.9604645e-8 || f_is_nan(x));
}

fn f_tanh(x: f32) -> f32 {
    let m = f_expm1(2.0 * min(abs(x), 10.0));
    return select(copy_sign(m / (m + 2.0), x), x, f_is_nan(x));
}

fn f_sigmoid(x: f32) -> f32 {
    let e = f_exp(-abs(x));
    return select(select(e, 1.0, x >= 0.0) / (1.0 + e), x, f_is_nan(x));
}

// x = 2^k m with sqrt(1/2) <= m < sqrt(2), for a positive finite x; gives k and m - 1.
fn split(x: f32) -> vec2<f32> {
    let subnormal = bitcast<u32>(x) < 0x00800000u;
    let bits = select(bitcast<u32>(x), bitcast<u32>(x * 16777216.0), subnormal);
    let moved = bits - 0x3f3504f3u;
    let k = (bitcast<i32>(moved + 0x3f800000u) >> 23u) - 127;
    let m = bitcast<f32>((moved & 0x007fffffu) + 0x3f3504f3u);
    return vec2<f32>(f32(k) - select(0.0, 24.0, subnormal), m - 1.0);
}

// k log 2 + log(1 + f) + c as a sum of two numbers, by the series of atanh(f / (2 + f)).
fn assembled_log(k: f32, f: f32, c: f32) -> vec2<f32> {
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    let series = z * fma(fma(2.9580986e-1, z, 3.998876e-1), z, 6.6666685e-1);
    let low = fma(s, half_square + series, fma(k, -2.1219444e-4, c));
    // The largest term, f, enters unrounded.
    return vec2<f32>(k * 0.69335938, f - (half_square - low));
}

// The logarithm from its value inside, at the edge x = at, and beyond.
fn log_edges(x: f32, at: f32, inside: f32) -> f32 {
    let finite = select(inside, x, magnitude_bits(x) == 0x7f800000u);
    let below = select(from_bits(0x7fc00000u), from_bits(0xff800000u), x == at);
    return select(select(below, finite, x > at), x, f_is_nan(x));
}

fn f_log(x: f32) -> f32 {
    let km = split(x);
    let parts = assembled_log(km.x, km.y, 0.0);
    return log_edges(x, 0.0, parts.x + parts.y);
}

fn f_log1p(x: f32) -> f32 {
    // One bit less than the sum has, so that no compiler takes u - 1 for x.
    let u = shortened(1.0 + x);
    let km = split(u);
    // What rounding 1 + x lost, relative to it. Without an exponent x itself is the reduced argument.
    let lost = select(x - (u - 1.0), 1.0 - (u - x), x > 1.0) / u;
    let reduced = km.x == 0.0;
    let parts = assembled_log(km.x, select(km.y, x, reduced), select(lost, 0.0, reduced));
    let result = log_edges(x, -1.0, parts.x + parts.y);
    return select(result, x, abs(x) < 5.9604645e-8);
}

fn f_softplus(x: f32) -> f32 {
    let sum = max(x, 0.0) + f_log1p(f_exp(-abs(x)));
    return select(sum, x, f_is_nan(x));
}

fn f_erf(x: f32) -> f32 {
    let a = abs(x);
    let z = a * a;
    var near = 7.875875e-5;
    near = fma(near, z, -8.0168643e-4);
    near = fma(near, z, 5.1890874e-3);
    near = fma(near, z, -2.6854212e-2);
    near = fma(near, z, 1.1283594e-1);
    near = fma(near, z, -3.7612627e-1);
    near = fma(near, z, 1.2837917e-1);
    near = fma(a, near, a);
    // 1 - exp(-q) with the polynomial q = -log(1 - erf(x)) on 1 to 4; above, erf is 1.
    let t = min(a, 4.0);
    var q = -1.6371514e-6;
    q = fma(q, t, 4.605804e-5);
    q = fma(q, t, -5.9680563e-4);
    q = fma(q, t, 4.759596e-3);
    q = fma(q, t, -2.6421136e-2);
    q = fma(q, t, 1.10080083e-1);
    q = fma(q, t, 6.3182605e-1);
    q = fma(q, t, 1.1302334);
    q = fma(q, t, -3.2013805e-4);
    let result = copy_sign(select(1.0 - f_exp(-q), near, a < 1.0), x);
    return select(result, x, f_is_nan(x));
}

// a b exactly, as a sum of two numbers, by its 48 bits in integers: sums of floats that would give the lower half are what
// compilers simplify away. For normal a and b and products from 2^-200 to 2^120.
fn exact_product(a: f32, b: f32) -> vec2<f32> {
    let a_mantissa = (bitcast<u32>(a) & 0x007fffffu) | 0x00800000u;
    let b_mantissa = (bitcast<u32>(b) & 0x007fffffu) | 0x00800000u;
    let exponent = i32(magnitude_bits(a) >> 23u) + i32(magnitude_bits(b) >> 23u) - 276;
    let k = clamp(exponent, -220, 220);
    let high = scale(f32(multiply_high(a_mantissa << 8u, b_mantissa)), k);
    let low = scale(f32((a_mantissa * b_mantissa) & 0x00ffffffu), k - 24);
    let negative = ((bitcast<u32>(a) ^ bitcast<u32>(b)) >> 31u) == 1u;
    return select(vec2(high, low), vec2(-high, -low), negative);
}

// The number without its last bit: near it, and not what a compiler knows of its parts.
fn shortened(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffffffeu);
}

// The logarithm of a positive finite number as a sum of two numbers, about 7 bits longer than one: 2 s and the rest of the
// series of 2 atanh(s), s = f / (2 + f), with what rounding s lost.
fn wide_log(x: f32) -> vec2<f32> {
    let km = split(x);
    let f = km.y;
    let s = shortened(f / (2.0 + f));
    let sf = exact_product(s, f);
    let lost = select((((f - 2.0 * s) - sf.x) - sf.y) / (2.0 + f), 0.0, f == 0.0);
    let z = s * s;
    let series = fma(fma(fma(0.22222222, z, 0.28571429), z, 0.4), z, 0.66666667);
    let rest = fma(km.x, -2.1219444e-4, fma(s * z, series, 2.0 * lost));
    let base = f32(i32(km.x) * 355) * 0.001953125;
    let high = shortened(base + 2.0 * s);
    return vec2(high, ((base - high) + 2.0 * s) + rest);
}

// |x| to the power y, with the logarithm and the product in double length.
fn pow_magnitude(x: f32, y: f32) -> f32 {
    let log = wide_log(x);
    let coarse = y * log.x;
    let product = exact_product(y, log.x);
    let result = exp_with_tail(select(product.x, coarse, abs(coarse) > 110.0), product.y + y * log.y);
    // Of 0, of infinity, and to an infinite power, only whether the result is 0 or infinite (or 1) is left.
    let infinity = from_bits(0x7f800000u);
    let grows = (x > 1.0) == (y > 0.0);
    let edge = x == 0.0 || magnitude_bits(x) == 0x7f800000u || magnitude_bits(y) == 0x7f800000u;
    let limit = select(select(0.0, infinity, grows), 1.0, x == 1.0);
    return select(result, limit, edge);
}

// x to the power y, with the special cases of IEEE 754 (section 9.2.1).
fn f_pow(x: f32, y: f32) -> f32 {
    let a = abs(y);
    let whole = a >= 8388608.0 || round(y) == y;
    let odd = whole && a < 16777216.0 && (i32(clamp(y, -16777216.0, 16777216.0)) & 1) == 1;
    let negative = (bitcast<u32>(x) >> 31u) == 1u;
    let magnitude = pow_magnitude(abs(x), y);
    let signed = select(magnitude, -magnitude, negative && odd);
    let defined = !negative || whole || magnitude_bits(x) == 0u || magnitude_bits(x) == 0x7f800000u;
    var result = select(from_bits(0x7fc00000u), signed, defined);
    result = select(result, x + y, f_is_nan(x) || f_is_nan(y));
    return select(result, 1.0, y == 0.0 || x == 1.0);
}

// Sine and cosine for |r| <= pi / 4.
fn reduced_sin_cos(r: f32) -> vec2<f32> {
    let z = r * r;
    let sin_tail = fma(fma(-1.9587639e-4, z, 8.332747e-3), z, -1.6666664e-1);
    let cos_tail = fma(fma(2.454769e-5, z, -1.3888301e-3), z, 4.1666665e-2);
    return vec2<f32>(fma(r * z, sin_tail, r), fma(z * z, cos_tail, 1.0 - 0.5 * z));
}

// The sine of an angle `quadrant` quarter turns beyond one with these sine and cosine.
fn turned(quadrant: u32, sin_cos: vec2<f32>) -> f32 {
    let value = select(sin_cos.y, sin_cos.x, (quadrant & 1u) == 0u);
    return select(-value, value, (quadrant & 2u) == 0u);
}

// The upper half of the product of two words.
fn multiply_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let right = (a & 0xffffu) * (b >> 16u) + (left & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u);
}

// The 256 bits of 2 / pi after 32 zeros.
const TWO_OVER_PI = array<u32, 8>(
    0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);

// Sine for quarter = 0, cosine for 1, of any finite x: x times 2 / pi in 96 bits, of which the two upper are the
// quadrant (Payne and Hanek 1983). The rest of the reduction is exact to the last place of f32.
fn turned_sin(x: f32, quarter: u32) -> f32 {
    let bits = magnitude_bits(x);
    if bits < 0x3f490fdbu {
        let small = select(turned(quarter, reduced_sin_cos(x)), x, bits < 0x39000000u && quarter == 0u);
        return small;
    }
    if bits >= 0x7f800000u {
        return from_bits(0x7fc00000u);
    }
    var table = TWO_OVER_PI;
    let mantissa = (bits & 0x007fffffu) | 0x00800000u;
    // The window of 96 bits whose last has the weight 2^-94 in x 2 / pi.
    let first = (bits >> 23u) - 120u;
    let word = first >> 5u;
    let shift = first & 31u;
    var window: array<u32, 3>;
    for (var i = 0u; i < 3u; i++) {
        let next = select(table[min(word + i + 1u, 7u)] >> ((32u - shift) & 31u), 0u, shift == 0u);
        window[i] = (table[min(word + i, 7u)] << shift) | next;
    }
    // Their product, modulo 2^96.
    let low = mantissa * window[2];
    let middle = mantissa * window[1];
    let carry = multiply_high(mantissa, window[2]);
    var mid = middle + carry;
    var high = mantissa * window[0] + multiply_high(mantissa, window[1]) + select(0u, 1u, mid < middle);
    let quadrant = (high + 0x20000000u) >> 30u;
    high = high - (quadrant << 30u);
    let negative = (high >> 31u) == 1u;
    var rest = low;
    if negative {
        high = ~high;
        mid = ~mid;
        rest = ~low;
    }
    let turns = f32(high) * 9.313225746154785e-10 + (f32(mid) * 2.168404344971009e-19 + f32(rest) * 5.048709793414476e-29);
    let r = select(turns, -turns, negative) * 1.5707963267948966;
    // The sine is odd, the cosine even: the quadrants of -x are those of x, counted back.
    let sin_cos = reduced_sin_cos(r);
    let value = turned(quadrant + quarter, sin_cos);
    return select(value, -value, x < 0.0 && quarter == 0u);
}

fn f_sin(x: f32) -> f32 {
    return turned_sin(x, 0u);
}

fn f_cos(x: f32) -> f32 {
    return turned_sin(x, 1u);
}

// To an integer: truncated, saturated, NaN to 0.
fn f_to_i32(x: f32) -> i32 {
    let inside = i32(clamp(x, -2147483648.0, 2147483520.0));
    return select(select(inside, 2147483647, x >= 2147483648.0), 0, f_is_nan(x));
}

fn f_to_u32(x: f32) -> u32 {
    let inside = u32(clamp(x, 0.0, 4294967040.0));
    return select(select(inside, 4294967295u, x >= 4294967296.0), 0u, f_is_nan(x));
}

// Division towards zero, by zero 0; the least integer divided by -1 wraps.
fn i_div(a: i32, b: i32) -> i32 {
    let plain = b != 0 && b != -1;
    return select(select(0, 0 - a, b == -1), a / select(1, b, plain), plain);
}

fn u_div(a: u32, b: u32) -> u32 {
    return select(0u, a / select(b, 1u, b == 0u), b != 0u);
}

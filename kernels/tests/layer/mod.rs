//! The geometry of a usual layer.

use gradus_kernels::conv::Conv;

/// A square kernel over planes of any height and width, without groups and dilation.
pub fn layer(
    batch: usize,
    channels: [usize; 2],
    input: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Conv {
    Conv {
        batch,
        groups: 1,
        in_channels: channels[0],
        out_channels: channels[1],
        input,
        kernel: [kernel; 2],
        output: input.map(|n| (n + 2 * padding - kernel) / stride + 1),
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
    }
}

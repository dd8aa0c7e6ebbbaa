//! DCGAN on 28x28 pictures.

use gradus::data::Split;
use gradus::files::write_atomic;
use gradus::models::dcgan::{Dcgan, DcganConfig};
use gradus::{Result, Rng};
use std::path::Path;

/// 100-7x7x128-14x14x64-28x28 and its mirror, Adam 2e-4 with β₁ = 0.5, batches of 64. Writes 10,000 generated pictures
/// as an IDX file, to be measured against the test set.
pub fn dcgan(data: &Split, seed: u64, steps: u64) -> Result<()> {
    let config = DcganConfig { image: super::image(&data.train), ..DcganConfig::default() };
    let mut model = super::run(Dcgan::new(config, seed)?, data, (seed, 64, steps), "", &[])?;
    write_samples(&mut model, Path::new("dcgan-samples-idx3-ubyte"))
}

/// The Wasserstein game with a gradient penalty, and the hinge game with spectral normalization: nothing may become
/// infinite in 5,000 steps.
pub fn constrained(data: &Split, seed: u64, steps: u64) -> Result<()> {
    for (name, config) in [("wasserstein", DcganConfig::wasserstein()), ("spectral", DcganConfig::spectral())]
    {
        println!("{name}");
        let config = DcganConfig { image: super::image(&data.train), features: 16, ..config };
        let mut model = super::run(Dcgan::new(config, seed)?, data, (seed, 64, steps), "", &[])?;
        write_samples(&mut model, Path::new(&format!("{name}-samples-idx3-ubyte")))?;
    }
    Ok(())
}

fn write_samples(model: &mut Dcgan, path: &Path) -> Result<()> {
    let mut rng = Rng::seed(1).split("samples");
    let mut bytes = vec![0, 0, 8, 3];
    let (count, batch) = (10_000u32, 500);
    for extent in [count, 28, 28] {
        bytes.extend(extent.to_be_bytes());
    }
    for _ in 0..count as usize / batch {
        let x = model.sample(batch, &mut rng).to_vec::<f32>()?;
        bytes.extend(x.iter().map(|v| ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8));
    }
    write_atomic(path, &bytes)?;
    println!("wrote {}", path.display());
    Ok(())
}

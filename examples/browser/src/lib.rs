//! A page on which a model learns while one looks on: gradus as WebAssembly, on WebGPU or, where there is none, on the CPU.
//!
//! `./build.sh` puts the page into `target/page`; any web server can hand it out, such as
//! `python3 -m http.server --directory target/page`.

mod training;

use gradus::Device;
use training::Training;
use wasm_bindgen::prelude::*;

/// What the page's script holds: a model in training.
#[wasm_bindgen]
pub struct Trainer {
    training: Training,
    /// Why it is not on the GPU, if that was asked for.
    remark: String,
}

fn thrown(error: gradus::Error) -> JsError {
    JsError::new(&error.to_string())
}

#[wasm_bindgen]
impl Trainer {
    /// A new model, on the GPU if that is asked for and there is one.
    pub async fn open(gpu: bool) -> Result<Trainer, JsError> {
        let (device, remark) = match gpu {
            false => (Device::cpu(), String::new()),
            true => match Device::request_gpu().await {
                Ok(device) => (device, String::new()),
                Err(e) => (Device::cpu(), e.to_string()),
            },
        };
        Ok(Trainer { training: Training::new(device).map_err(thrown)?, remark })
    }

    /// Whether it learns on the GPU.
    #[wasm_bindgen(getter)]
    pub fn gpu(&self) -> bool {
        !self.training.device().is_cpu()
    }

    /// Why not, if it should.
    #[wasm_bindgen(getter)]
    pub fn remark(&self) -> String {
        self.remark.clone()
    }

    /// `count` steps; resolves to their losses.
    pub async fn steps(&mut self, count: usize) -> Result<Vec<f32>, JsError> {
        self.training.steps(count).await.map_err(thrown)
    }

    /// Resolves to `count` pictures of 28 x 28 bytes.
    pub async fn pictures(&mut self, count: usize) -> Result<Vec<u8>, JsError> {
        self.training.pictures(count).await.map_err(thrown)
    }
}

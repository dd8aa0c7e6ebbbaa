//! Some training steps and nothing else, on the pool that the environment asks for: for measuring a whole process, its
//! memory and the time to its first step, without the rest of the tool.
//!
//! `PEER_PROC=NAME [PEER_STEPS=N] gradus-process`: N steps (50) of the training workload NAME; `FIRST_STEP` on a line of
//! its own says when the first is done.

use gradus::Rng;
use gradus_bench::steps::WORKLOADS;
use std::env::{self, VarError};
use std::error::Error;
use std::process::ExitCode;

fn run() -> Result<(), Box<dyn Error>> {
    let names = || WORKLOADS.map(|w| w.name).join(", ");
    let name = env::var("PEER_PROC")
        .map_err(|_| format!("PEER_PROC must name a training workload; there are {}", names()))?;
    let workload = WORKLOADS.into_iter().find(|w| w.name == name).ok_or_else(|| {
        format!("PEER_PROC={name}: there is no such training workload; there are {}", names())
    })?;
    let steps = match env::var("PEER_STEPS") {
        Err(VarError::NotPresent) => 50,
        text => {
            let text = text?;
            text.parse()
                .ok()
                .filter(|&n: &u32| n > 0)
                .ok_or_else(|| format!("PEER_STEPS={text}: must be a number of steps, 1 at least"))?
        }
    };
    let mut step = (workload.build)(&mut Rng::seed(0));
    for i in 0..steps {
        step()?;
        if i == 0 {
            println!("FIRST_STEP");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

//! A step changes parameters where they lie, and nobody who still looks at the old ones notices.

use gradus::nn::Param;
use gradus::optim::Adam;
use gradus::{Rng, Tensor, grad, memory_stats, reset_peak};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory is counted for the whole process: tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const N: usize = 1 << 16;

fn parameter() -> (Param, Adam) {
    let p = Param::new(Tensor::full([N], 2.0));
    let opt = Adam::new(vec![("p".into(), p.clone())], 0.1);
    (p, opt)
}

/// Bytes of tensors in use at most during a step, beyond those in use before it, in parameters' worth.
fn growth(step: impl FnOnce()) -> f64 {
    reset_peak();
    let before = memory_stats().live;
    step();
    (memory_stats().peak - before) as f64 / (4 * N) as f64
}

#[test]
fn a_step_needs_no_room_for_what_replaces_the_old() {
    let _turn = turn();
    let (p, mut opt) = parameter();
    // In a function of its own, so that no handle on the parameter lives on in the statement of the step.
    let loss = |p: &Param| p.get().sin().sum(..);
    let mut step = || {
        let loss = loss(&p);
        growth(|| opt.step(&loss).unwrap())
    };
    step();
    let second = step();
    assert!(second < 0.1, "{second}");
    let held = p.get();
    let old = held.to_vec::<f32>().unwrap();
    assert!(step() < 1.1, "the parameter is held, its moments are not");
    assert_eq!(held.to_vec::<f32>().unwrap(), old);
    assert_ne!(p.get().to_vec::<f32>().unwrap(), old);
}

#[test]
fn each_value_takes_the_place_of_the_one_it_replaces() {
    let _turn = turn();
    let (_p, mut opt) = parameter();
    // A gradient that is kept offers its memory to nobody, though it is read for the last time.
    let gradient = Rng::seed(1).uniform([N]);
    gradient.eval().unwrap();
    let mut step = || growth(|| opt.step_with(std::slice::from_ref(&gradient)).unwrap());
    step();
    let second = step();
    assert!(second < 0.1, "{second}");
}

#[test]
fn the_same_numbers_as_with_the_old_ones_kept() {
    let _turn = turn();
    let run = |keep: bool| {
        let (p, mut opt) = parameter();
        let mut kept = Vec::new();
        for _ in 0..5 {
            if keep {
                kept.push((p.get(), opt.state()));
            }
            opt.step(&(p.get().sin() * p.get()).sum(..)).unwrap();
        }
        p.get().to_vec::<f32>().unwrap()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn what_is_held_of_the_way_to_the_loss_keeps_its_value_but_not_its_history() {
    let _turn = turn();
    let (p, mut opt) = parameter();
    let square = p.get().square();
    let before = p.get();
    let sum = square.sum(..);
    opt.step(&(&sum * 3.0)).unwrap();
    assert_eq!(square.to_vec::<f32>().unwrap(), vec![4.0; N]);
    assert_eq!(sum.item().unwrap(), 4.0 * N as f64);
    let error = gradus::try_grad(&square.sum(..), std::slice::from_ref(&before)).unwrap_err().to_string();
    assert!(error.contains("differentiate before the step"), "{error}");
}

#[test]
fn an_expression_built_before_the_step_still_has_the_old_parameters() {
    let _turn = turn();
    let (p, mut opt) = parameter();
    let x = Tensor::full([N], 3.0) * Tensor::from_vec(vec![1f32; N], [N]);
    let product = &x * p.get();
    let later = product.square().sum(..);
    opt.step(&product.sum(..)).unwrap();
    let slope = grad(&later, &[x]).remove(0);
    assert_eq!(slope.to_vec::<f32>().unwrap(), vec![2.0 * 6.0 * 2.0; N]);
}

#[test]
fn a_step_that_fails_leaves_everything() {
    let _turn = turn();
    let (p, mut opt) = parameter();
    opt.step(&p.get().square().sum(..)).unwrap();
    let (value, (_, state)) = (p.get().to_vec::<f32>().unwrap(), opt.state());
    let state: Vec<Vec<f32>> = state.iter().map(|(_, x)| x.to_vec().unwrap()).collect();
    let wrong = Tensor::from_vec(vec![N as i32], [1]);
    assert!(opt.step(&p.get().gather(0, &wrong).sum(..)).is_err());
    assert_eq!(p.get().to_vec::<f32>().unwrap(), value);
    let after: Vec<Vec<f32>> = opt.state().1.iter().map(|(_, x)| x.to_vec().unwrap()).collect();
    assert_eq!(after, state);
    opt.step(&p.get().square().sum(..)).unwrap();
}

/// Threads of the pool must not wait for a step, which may need them; all others see the parameter before or after.
#[test]
fn a_parameter_can_be_read_during_its_steps() {
    let _turn = turn();
    let (p, mut opt) = parameter();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                let x = p.get().to_vec::<f32>().unwrap();
                assert!(x.iter().all(|v| *v == x[0]), "half of a step");
            }
        });
        scope.spawn(|| {
            rayon::scope(|pool| {
                // Not until `stop`: what runs in the pool must not wait for others who do.
                pool.spawn(|_| {
                    for _ in 0..300 {
                        match p.get().to_vec::<f32>() {
                            Ok(x) => assert!(x.iter().all(|v| *v == x[0]), "half of a step"),
                            Err(e) => assert!(e.to_string().contains("a step of an optimizer"), "{e}"),
                        }
                    }
                });
            });
        });
        for _ in 0..200 {
            let loss = p.get().square().sum(..);
            opt.step(&loss).unwrap();
        }
        stop.store(true, Relaxed);
    });
}

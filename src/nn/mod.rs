//! Modules: named parameters, and layers made of them.
//!
//! A module is any type whose fields can be visited by name; [`module!`](crate::module) writes that visit. Names join to
//! PyTorch's state-dict paths (`l1.weight`, `bn.running_mean`), in the order the fields are listed.
//!
//! ```
//! use gradus::nn::{Linear, Module};
//! use gradus::{Rng, Tensor, module};
//! struct Net { l1: Linear, l2: Linear }
//! module!(Net { l1, l2 });
//! impl Net {
//!     fn forward(&self, x: &Tensor) -> Tensor {
//!         self.l2.forward(&self.l1.forward(x).relu())
//!     }
//! }
//! let mut rng = Rng::seed(1);
//! let net = Net { l1: Linear::new(4, 8, &mut rng), l2: Linear::new(8, 2, &mut rng) };
//! let names: Vec<String> = net.params().into_iter().map(|p| p.0).collect();
//! assert_eq!(names, ["l1.weight", "l1.bias", "l2.weight", "l2.bias"]);
//! ```

mod conv;
mod dropout;
mod linear;
mod norm;
mod sequential;
mod spectral;

pub use conv::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d};
pub use dropout::Dropout;
pub use linear::{Embedding, Linear};
pub use norm::{BatchNorm, BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm, LayerNorm};
pub use sequential::{Activation, Layer, Sequential};
pub use spectral::{SpectralNorm, Weighted};

use crate::rng::Rng;
use crate::tensor::Tensor;
use gradus_kernels::{DType, par};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

/// A place that holds a tensor which training changes: a parameter, or a buffer such as a running mean.
///
/// Cloning gives another handle on the same place.
#[derive(Clone)]
pub struct Param(Arc<Place>);

struct Place {
    value: RwLock<Tensor>,
    /// Closed while an optimizer changes the value where it lies.
    gate: RwLock<()>,
    trainable: bool,
}

thread_local! {
    /// Buffers given an expression since the last step, to be evaluated together with it.
    static ASSIGNED: RefCell<Vec<Param>> = const { RefCell::new(Vec::new()) };
}

impl Param {
    /// A parameter: something optimizers change.
    pub fn new(value: Tensor) -> Param {
        Param::with(value, true)
    }

    /// A buffer: saved with the module, but not changed by optimizers.
    pub fn buffer(value: Tensor) -> Param {
        Param::with(value, false)
    }

    fn with(value: Tensor, trainable: bool) -> Param {
        Param(Arc::new(Place { value: RwLock::new(value), gate: RwLock::new(()), trainable }))
    }

    /// The tensor held now; while a step on another thread changes it, the one after that. A thread of rayon's pool does
    /// not wait for that (the step may need the thread), and finds that what it got cannot be read.
    pub fn get(&self) -> Tensor {
        let _open = (!par::is_worker()).then(|| self.0.gate.read());
        self.peek()
    }

    fn peek(&self) -> Tensor {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holds `value` from now on.
    pub fn set(&self, value: Tensor) {
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Holds an expression from now on, without its history; the next step of an optimizer on this thread evaluates
    /// it along with its own work.
    pub fn assign(&self, expression: &Tensor) {
        self.set(expression.stop_grad());
        ASSIGNED.with_borrow_mut(|list| {
            if !list.iter().any(|p| Arc::ptr_eq(&p.0, &self.0)) {
                list.push(self.clone());
            }
        });
    }

    /// The tensor to be changed where it lies, for which the gate is closed; None while others look at it.
    pub(crate) fn close(&self) -> Option<(RwLockWriteGuard<'_, ()>, Tensor)> {
        let gate = self.0.gate.try_write().ok()?;
        Some((gate, self.peek()))
    }

    /// Whether optimizers change it.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable
    }
}

/// The buffers assigned on this thread since the last call.
pub(crate) fn take_assigned() -> Vec<Param> {
    ASSIGNED.take()
}

/// A random generator that belongs to a layer (dropout) and is saved with it.
#[derive(Clone)]
pub struct RngCell(Arc<Mutex<Rng>>);

impl RngCell {
    /// A cell holding `rng`.
    pub fn new(rng: Rng) -> RngCell {
        RngCell(Arc::new(Mutex::new(rng)))
    }

    /// Lets `f` draw.
    pub fn with<T>(&self, f: impl FnOnce(&mut Rng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a module is training: batch norm and dropout ask. Cloning gives another handle on the same switch.
#[derive(Clone)]
pub struct Mode(Arc<AtomicBool>);

impl Default for Mode {
    fn default() -> Self {
        Mode(Arc::new(AtomicBool::new(true)))
    }
}

impl Mode {
    /// True while training.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Switches.
    pub fn set(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}

/// What a visit meets.
pub enum Item<'a> {
    /// A parameter or buffer.
    Param(&'a Param),
    /// A layer's random generator.
    Rng(&'a RngCell),
    /// A layer's mode.
    Mode(&'a Mode),
}

/// Carries the path through the fields of modules.
pub struct Visitor<'a> {
    path: String,
    on_item: &'a mut dyn FnMut(&str, Item),
}

impl Visitor<'_> {
    /// Visits a field under its name.
    pub fn field(&mut self, name: &str, module: &dyn Module) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        module.visit(self);
        self.path.truncate(length);
    }

    /// Reports what stands at the present path.
    pub fn item(&mut self, item: Item) {
        (self.on_item)(&self.path, item);
    }
}

/// Anything made of parameters.
pub trait Module {
    /// Visits every field that holds parameters, buffers, generators or modes, in a fixed order.
    fn visit(&self, visitor: &mut Visitor);

    /// Calls `f` with the path and content of each item.
    fn for_each(&self, mut f: impl FnMut(&str, Item))
    where
        Self: Sized,
    {
        self.visit(&mut Visitor { path: String::new(), on_item: &mut f });
    }

    /// The trainable parameters with their paths, in order.
    fn params(&self) -> Vec<(String, Param)>
    where
        Self: Sized,
    {
        let mut list = self.state();
        list.retain(|(_, p)| p.is_trainable());
        list
    }

    /// Parameters and buffers with their paths, in order: PyTorch's state dict.
    fn state(&self) -> Vec<(String, Param)>
    where
        Self: Sized,
    {
        let mut list = Vec::new();
        self.for_each(|path, item| {
            if let Item::Param(p) = item {
                list.push((path.to_string(), p.clone()));
            }
        });
        list
    }

    /// The layers' random generators with their paths, in order.
    fn rngs(&self) -> Vec<(String, RngCell)>
    where
        Self: Sized,
    {
        let mut list = Vec::new();
        self.for_each(|path, item| {
            if let Item::Rng(r) = item {
                list.push((path.to_string(), r.clone()));
            }
        });
        list
    }

    /// Switches every layer to training (`true`) or evaluation.
    fn set_training(&self, training: bool)
    where
        Self: Sized,
    {
        self.for_each(|_, item| {
            if let Item::Mode(mode) = item {
                mode.set(training);
            }
        });
    }

    /// Converts every parameter and buffer of floats to another float type. Make optimizers afterwards.
    fn convert(&self, dtype: DType)
    where
        Self: Sized,
    {
        assert!(dtype.is_float(), "convert: {dtype} is not a float type");
        for (_, param) in self.state() {
            if param.get().dtype().is_float() {
                param.set(param.get().to(dtype));
            }
        }
    }

    /// How many numbers the trainable parameters hold.
    fn num_params(&self) -> usize
    where
        Self: Sized,
    {
        self.params().iter().map(|(_, p)| p.get().numel()).sum()
    }
}

impl Module for Param {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.item(Item::Param(self));
    }
}

impl Module for RngCell {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.item(Item::Rng(self));
    }
}

impl Module for Mode {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.item(Item::Mode(self));
    }
}

impl<T: Module> Module for Option<T> {
    fn visit(&self, visitor: &mut Visitor) {
        if let Some(module) = self {
            module.visit(visitor);
        }
    }
}

impl<T: Module> Module for Vec<T> {
    fn visit(&self, visitor: &mut Visitor) {
        for (i, module) in self.iter().enumerate() {
            visitor.field(&i.to_string(), module);
        }
    }
}

impl<T: Module + ?Sized> Module for Box<T> {
    fn visit(&self, visitor: &mut Visitor) {
        (**self).visit(visitor);
    }
}

impl<T: Module> Module for &T {
    fn visit(&self, visitor: &mut Visitor) {
        (**self).visit(visitor);
    }
}

/// Implements [`Module`](crate::nn::Module) for a struct by listing its fields: `module!(Net { l1, l2 });`.
#[macro_export]
macro_rules! module {
    ($name:ty { $($field:ident),* $(,)? }) => {
        impl $crate::nn::Module for $name {
            fn visit(&self, visitor: &mut $crate::nn::Visitor) {
                $(visitor.field(stringify!($field), &self.$field);)*
            }
        }
    };
}

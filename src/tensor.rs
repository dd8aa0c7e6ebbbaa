//! The tensor: a handle on a node of the expression graph.

use crate::device::Device;
use crate::error::{BuildError, Error, Result, fail};
use crate::exec::{self, Value};
use crate::graph::{self, Node};
use crate::ops::Op;
use crate::shape::{Shape, ToNumbers, shape_arg};
use gradus_kernels::DType;
use std::fmt;
use std::sync::{Arc, Weak};

/// An n-dimensional array, written as an expression: a shape, a type, and how to compute the elements.
///
/// Building one computes nothing. Reading it ([`item`](Tensor::item), [`to_vec`](Tensor::to_vec), printing) does, and
/// [`grad`](crate::grad()) writes derivatives as further tensors. Cloning copies a handle, not data.
///
/// ```
/// use gradus::{Tensor, grad};
/// let x = Tensor::from([1.0f32, 2.0, 3.0]);
/// let y = (&x * &x).sum(..);
/// let dx = &grad(&y, [&x])[0];
/// assert_eq!(dx.to_vec::<f32>()?, [2.0, 4.0, 6.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Node>);

impl Tensor {
    pub(crate) fn from_shared(node: Arc<Node>) -> Tensor {
        Tensor(node)
    }

    /// A handle that does not keep the node.
    pub(crate) fn downgrade(&self) -> Weak<Node> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.0
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// The node itself if this was the last handle on it.
    pub(crate) fn into_unique(self) -> Option<Node> {
        Arc::into_inner(self.0)
    }

    /// Lets this handle go; the memory of a node that nobody else has one on is kept for another.
    pub(crate) fn recycle(self) {
        graph::recycle(self.0);
    }

    /// How many handles there are, those inside the graph included.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.shape.rank()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// Where the tensor is computed; `None` for what is made of constants, ranges and random draws alone, which
    /// follows whoever uses it.
    pub fn device(&self) -> Option<Device> {
        self.0.device.clone()
    }

    /// This tensor's value on `device`, as data: no gradient flows back through a move. The tensor itself if it lies
    /// there.
    ///
    /// # Errors
    /// As [`eval`](Tensor::eval), and [`Error::Unsupported`] for a type that the device does not have.
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.0.device.as_ref() == Some(device) {
            return Ok(self.clone());
        }
        let value = exec::value_of(self)?.on(device, self.shape(), self.dtype())?;
        Ok(Tensor::leaf(value, *self.shape(), self.dtype()))
    }

    /// A tensor of data that is at hand: row-major `data` of the given shape.
    ///
    /// # Errors
    /// [`Error::Data`] when the lengths do not agree, [`Error::OutOfMemory`] when it cannot be stored.
    ///
    /// # Panics
    /// If `shape` is not a shape (negative extents, more than eight axes).
    #[track_caller]
    pub fn try_from_vec<T: Element>(data: Vec<T>, shape: impl ToNumbers) -> Result<Tensor> {
        let shape = shape_arg("try_from_vec", shape);
        if shape.numel() != data.len() {
            return Err(Error::Data(format!(
                "shape {shape} has {} elements, but {} were given",
                shape.numel(),
                data.len()
            )));
        }
        let device = Device::scoped().unwrap_or(Device::cpu());
        Ok(Tensor::leaf(Value::from_slice(&data, &shape, &device)?, shape, T::DTYPE))
    }

    /// As [`try_from_vec`](Tensor::try_from_vec), for data written in the source.
    ///
    /// # Panics
    /// If the number of elements is not that of the shape.
    #[track_caller]
    pub fn from_vec<T: Element>(data: Vec<T>, shape: impl ToNumbers) -> Tensor {
        match Tensor::try_from_vec(data, shape) {
            Ok(tensor) => tensor,
            Err(e) => fail(BuildError::new("from_vec", e.to_string())),
        }
    }

    /// A tensor of data where this one lies.
    #[track_caller]
    pub(crate) fn beside<T: Element>(&self, data: Vec<T>) -> Tensor {
        let shape = [data.len()];
        match self.device() {
            Some(device) => device.scope(|| Tensor::from_vec(data, shape)),
            None => Tensor::from_vec(data, shape),
        }
    }

    /// Numbers in the float type of this tensor, where it lies.
    #[track_caller]
    pub(crate) fn numbers_like(&self, data: Vec<f64>) -> Tensor {
        match self.dtype() {
            DType::F64 => self.beside(data),
            _ => self.beside(data.into_iter().map(|x| x as f32).collect()),
        }
    }

    /// Computes the value now, unless it is known, and keeps it.
    ///
    /// # Errors
    /// What can only be known when computing: out of memory, an index outside its axis, NaN found by the guard.
    pub fn eval(&self) -> Result<()> {
        exec::eval_roots(std::slice::from_ref(self))
    }

    /// A leaf with this evaluated tensor's value; the tensor itself if it is one, or is not evaluated.
    #[track_caller]
    pub(crate) fn fresh(&self) -> Tensor {
        match self.node().value() {
            // The same node, so that expressions made of it before still depend on it.
            Some(_) if matches!(self.node().op, Op::Leaf) => self.clone(),
            Some(value) => Tensor::leaf(value, *self.shape(), self.dtype()),
            None => self.clone(),
        }
    }

    /// The elements, row-major. Asynchronous, because in a browser a device cannot be waited for.
    ///
    /// # Errors
    /// As [`eval`](Tensor::eval), and [`Error::Data`] when `T` is not the tensor's type.
    pub async fn read<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype() {
            return Err(Error::Data(format!(
                "a tensor of {} cannot be read as {}; convert it with .to(DType::{:?})",
                self.dtype(),
                T::DTYPE,
                T::DTYPE
            )));
        }
        exec::value_of(self)?.read(self.shape()).await
    }

    /// The elements, row-major, waiting for the device: the blocking form of [`read`](Tensor::read).
    ///
    /// # Errors
    /// As [`read`](Tensor::read).
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        exec::block_on(self.read())
    }

    /// The value of a tensor of one element, as f64 whatever its type.
    ///
    /// # Errors
    /// As [`eval`](Tensor::eval).
    ///
    /// # Panics
    /// If there is not exactly one element.
    #[track_caller]
    pub fn item(&self) -> Result<f64> {
        if self.numel() != 1 {
            let rule = format!("needs exactly one element, shape {} has {}", self.shape(), self.numel());
            fail(BuildError::new("item", rule));
        }
        Ok(exec::block_on(self.read_f64())?[0])
    }

    /// The elements as f64, whatever the type.
    pub(crate) fn to_f64_vec(&self) -> Result<Vec<f64>> {
        exec::block_on(self.read_f64())
    }

    async fn read_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype() {
            DType::F32 => self.read::<f32>().await?.into_iter().map(f64::from).collect(),
            DType::F64 => self.read::<f64>().await?,
            DType::I32 => self.read::<i32>().await?.into_iter().map(f64::from).collect(),
            DType::U32 => self.read::<u32>().await?.into_iter().map(f64::from).collect(),
            DType::Bool => self.read::<bool>().await?.into_iter().map(|b| b as u8 as f64).collect(),
        })
    }
}

/// A Rust type that tensors can hold.
pub trait Element: Copy + Default + Send + Sync + 'static + sealed::Sealed {
    /// The tensor's name for it.
    const DTYPE: DType;
}

mod sealed {
    /// Closed, because kernels exist for these types only.
    pub trait Sealed {}
}

macro_rules! element {
    ($($t:ty => $d:ident),*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
        }
        impl From<$t> for Tensor {
            #[track_caller]
            fn from(x: $t) -> Tensor {
                Tensor::from_vec(vec![x], [0usize; 0])
            }
        }
        impl<const N: usize> From<[$t; N]> for Tensor {
            #[track_caller]
            fn from(x: [$t; N]) -> Tensor {
                Tensor::from_vec(x.to_vec(), [N])
            }
        }
        impl<const N: usize, const M: usize> From<[[$t; N]; M]> for Tensor {
            #[track_caller]
            fn from(x: [[$t; N]; M]) -> Tensor {
                Tensor::from_vec(x.concat(), [M, N])
            }
        }
        impl<const N: usize, const M: usize, const L: usize> From<[[[$t; N]; M]; L]> for Tensor {
            #[track_caller]
            fn from(x: [[[$t; N]; M]; L]) -> Tensor {
                Tensor::from_vec(x.concat().concat(), [L, M, N])
            }
        }
        impl From<Vec<$t>> for Tensor {
            #[track_caller]
            fn from(x: Vec<$t>) -> Tensor {
                let n = x.len();
                Tensor::from_vec(x, [n])
            }
        }
    )*};
}
element!(f32 => F32, f64 => F64, i32 => I32, u32 => U32, bool => Bool);

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {} {}, {})", self.node().op.name(), self.shape(), self.dtype(), self.node().site)
    }
}

/// Prints the values as NumPy does: brackets by axis, columns aligned, long axes abridged in the middle.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_f64_vec() {
            Ok(values) => crate::display::write(f, &values, self.shape(), self.dtype(), f.precision()),
            Err(e) => write!(f, "<{e}>"),
        }
    }
}

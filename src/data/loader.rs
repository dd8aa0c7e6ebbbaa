//! Batches in an order of their own each epoch, made ready ahead of time.

use super::{Augment, Source, SplitMix64, binarize, panic_message};
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// What becomes of a byte v.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pixels {
    /// v/255: from 0 to 1.
    Unit,
    /// v/127.5 - 1: from -1 to 1.
    Signed,
    /// (v/255 - mean)/deviation.
    Standardised {
        /// Mean of v/255.
        mean: f32,
        /// Standard deviation of v/255.
        deviation: f32,
    },
    /// (v + u)/256 with u uniform in [0, 1), drawn anew at each visit: a density over bytes becomes one over
    /// numbers in [0, 1) (Uria et al. 2013).
    Dequantised,
    /// 0 or 1, drawn anew at each visit: [`binarize::redrawn`].
    Binarised,
    /// 0 or 1, the same at each visit: [`binarize::sbin`], where the first picture has this number.
    Sbin {
        /// 0 for the training set of MNIST, 60000 for its test set.
        first_image: u64,
    },
}

/// How a [`Loader`] goes through a set.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Pictures of a batch.
    pub batch: usize,
    /// The seed of order and draws.
    pub seed: u64,
    /// Another order each epoch; otherwise the order of the set.
    pub shuffle: bool,
    /// Leave out the last pictures of an epoch if they do not fill a batch.
    pub drop_last: bool,
    /// What is done to the bytes first.
    pub augment: Augment,
    /// Whether each byte then becomes 255 or 0, drawn anew at each visit: [`binarize::redrawn`]. With [`Pixels::Unit`]
    /// the same as [`Pixels::Binarised`]; for models that want their numbers in another range.
    pub binarize: bool,
    /// What becomes of the bytes.
    pub pixels: Pixels,
    /// How many batches a thread makes ready ahead of time; 0: none, each is made when asked for.
    pub prefetch: usize,
}

impl LoaderOptions {
    /// Shuffled full batches from 0 to 1, two of them made ahead.
    pub fn new(batch: usize, seed: u64) -> LoaderOptions {
        LoaderOptions {
            batch,
            seed,
            shuffle: true,
            drop_last: true,
            augment: Augment::default(),
            binarize: false,
            pixels: Pixels::Unit,
            prefetch: 2,
        }
    }
}

/// Where a [`Loader`] is. With the options and the set this is all there is to save: order and draws follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoaderState {
    /// Epochs completed.
    pub epoch: u64,
    /// Pictures of the present epoch handed out.
    pub position: usize,
}

/// Pictures as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Which pictures of the set.
    pub indices: Vec<u32>,
    /// Count, channels, height, width.
    pub shape: [usize; 4],
    /// The numbers, row-major in `shape`.
    pub pixels: Vec<f32>,
    /// The classes, for sets with labels.
    pub labels: Option<Vec<u32>>,
}

/// Hands out the batches of one epoch after the other, without end.
///
/// Batch by batch the same for the same set and options, on any machine, with any `prefetch`; and a loader that
/// was stopped and [resumed](Loader::resume) goes on with the batches that it would have handed out.
///
/// ```
/// use gradus::data::{Digits, Loader, LoaderOptions};
/// use std::sync::Arc;
/// let mut loader = Loader::new(Arc::new(Digits::new(1, 1000)), LoaderOptions::new(64, 7))?;
/// assert_eq!(loader.epoch().count(), 15); // 960 of 1,000 fill batches
/// let state = loader.state();
/// let batch = loader.next_batch()?;
/// loader.resume(state)?;
/// assert_eq!(loader.next_batch()?, batch);
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Loader {
    source: Arc<dyn Source>,
    options: LoaderOptions,
    state: LoaderState,
    maker: Option<Maker>,
}

/// Who makes the batches from the present state on; made when the first is asked for.
enum Maker {
    Here(Cursor),
    Thread(Worker),
}

impl Loader {
    /// A loader at the beginning of the first epoch.
    ///
    /// # Errors
    /// When the set is empty or has 2^32 pictures or more, the batch is 0, or larger than the set with `drop_last`, or
    /// the augmentation moves pictures by all of their height or width.
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions) -> Result<Loader> {
        let (len, batch) = (source.len(), options.batch);
        if len == 0 || u32::try_from(len).is_err() {
            return Err(Error::Data(format!("a loader cannot go through {len} images")));
        }
        if batch == 0 || options.drop_last && batch > len {
            return Err(Error::Data(format!("{len} images do not make a batch of {batch}")));
        }
        let (shift, [_, height, width]) = (options.augment.shift, source.shape());
        if shift > 0 && shift >= height.min(width) {
            return Err(Error::Data(format!(
                "images of {height}x{width} cannot be shifted by {shift} pixels"
            )));
        }
        Ok(Loader { source, options, state: LoaderState::default(), maker: None })
    }

    /// The state from which the next batch follows.
    pub fn state(&self) -> LoaderState {
        self.state
    }

    /// Goes on from `state`.
    ///
    /// # Errors
    /// When the set has fewer pictures than `state` says were handed out: it is another set.
    pub fn resume(&mut self, state: LoaderState) -> Result<()> {
        if state.position > self.source.len() {
            let (position, len) = (state.position, self.source.len());
            return Err(Error::Data(format!(
                "cannot resume after image {position} of an epoch of {len} images"
            )));
        }
        self.maker = None;
        self.state = state;
        Ok(())
    }

    /// How many batches an epoch has.
    pub fn batches_per_epoch(&self) -> usize {
        let (len, batch) = (self.source.len(), self.options.batch);
        if self.options.drop_last { len / batch } else { len.div_ceil(batch) }
    }

    /// The next batch.
    ///
    /// # Errors
    /// When the set cannot be read, or panics. The loader stays where it is: the next call tries again.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let made = match self.maker.get_or_insert_with(|| Maker::new(&self.source, &self.options, self.state))
        {
            Maker::Here(cursor) => cursor.next(),
            Maker::Thread(worker) => worker.next(),
        };
        match made {
            Ok((batch, state)) => {
                self.state = state;
                Ok(batch)
            }
            Err(e) => {
                self.maker = None;
                Err(e)
            }
        }
    }

    /// The batches to the end of the present epoch. After an error it ends.
    pub fn epoch(&mut self) -> impl Iterator<Item = Result<Batch>> + '_ {
        let epoch = self.upcoming().epoch;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || self.upcoming().epoch != epoch {
                return None;
            }
            let batch = self.next_batch();
            failed = batch.is_err();
            Some(batch)
        })
    }

    /// The present state, or the next epoch's beginning if nothing of this one is left.
    fn upcoming(&self) -> LoaderState {
        advance(self.state, self.source.len(), &self.options)
    }
}

/// Moves on to the next epoch if what is left of this one makes no batch.
fn advance(state: LoaderState, len: usize, options: &LoaderOptions) -> LoaderState {
    let left = len - state.position;
    if left == 0 || options.drop_last && left < options.batch {
        return LoaderState { epoch: state.epoch + 1, position: 0 };
    }
    state
}

impl Maker {
    fn new(source: &Arc<dyn Source>, options: &LoaderOptions, state: LoaderState) -> Maker {
        let (source, options) = (source.clone(), options.clone());
        let cursor = Cursor { source, options, state, order: None, bytes: Vec::new() };
        // Where threads cannot be had, as on wasm32, batches are made when asked for.
        match cursor.options.prefetch.checked_sub(1) {
            Some(ahead) => Worker::spawn(&cursor, ahead).map_or(Maker::Here(cursor), Maker::Thread),
            None => Maker::Here(cursor),
        }
    }
}

/// A batch, and the state that follows it.
type Made = Result<(Batch, LoaderState)>;

/// Makes batch after batch.
#[derive(Clone)]
struct Cursor {
    source: Arc<dyn Source>,
    options: LoaderOptions,
    state: LoaderState,
    /// The order of an epoch.
    order: Option<(u64, Vec<u32>)>,
    /// The pictures of a batch before they become numbers.
    bytes: Vec<u8>,
}

impl Cursor {
    /// The next batch. A panic of the source is an error.
    fn next(&mut self) -> Made {
        catch_unwind(AssertUnwindSafe(|| self.make())).unwrap_or_else(|panic| {
            Err(Error::Data(format!("reading a batch panicked: {}", panic_message(&*panic))))
        })
    }

    fn make(&mut self) -> Made {
        let len = self.source.len();
        let LoaderState { epoch, position } = advance(self.state, len, &self.options);
        let range = position..len.min(position + self.options.batch);
        let indices: Vec<u32> = if self.options.shuffle {
            let order = match self.order.take().filter(|(of, _)| *of == epoch) {
                Some((_, order)) => order,
                None => permutation(len, self.options.seed, epoch),
            };
            let indices = order[range.clone()].to_vec();
            self.order = Some((epoch, order));
            indices
        } else {
            range.clone().map(|i| i as u32).collect()
        };

        let [channels, height, width] = self.source.shape();
        let each = channels * height * width;
        self.bytes.resize(indices.len() * each, 0);
        let labels = self.source.read_batch(&indices, &mut self.bytes)?;
        let mut pixels = Vec::with_capacity(self.bytes.len());
        for (&index, picture) in indices.iter().zip(self.bytes.chunks_exact_mut(each)) {
            let key = [self.options.seed, epoch, u64::from(index)];
            self.options.augment.apply(picture, [channels, height, width], key);
            if self.options.binarize {
                binarize::redraw(picture, &key);
            }
            self.options.pixels.convert(picture, key, &mut pixels);
        }
        let shape = [indices.len(), channels, height, width];
        let after = advance(LoaderState { epoch, position: range.end }, len, &self.options);
        self.state = after;
        Ok((Batch { epoch, indices, shape, pixels, labels }, after))
    }
}

impl Pixels {
    /// Appends the numbers that the bytes of picture `key[2]` become.
    fn convert(&self, bytes: &[u8], key: [u64; 3], out: &mut Vec<f32>) {
        let number = |bit: bool| if bit { 1.0 } else { 0.0 };
        match *self {
            Pixels::Unit => out.extend(bytes.iter().map(|&v| f32::from(v) / 255.0)),
            Pixels::Signed => out.extend(bytes.iter().map(|&v| f32::from(v) / 127.5 - 1.0)),
            Pixels::Standardised { mean, deviation } => {
                out.extend(bytes.iter().map(|&v| (f32::from(v) / 255.0 - mean) / deviation));
            }
            Pixels::Dequantised => {
                let mut rng = SplitMix64::keyed(&key);
                // 24 bits, 8 of v and 16 of u: exact in f32, and never 1.
                out.extend(
                    bytes.iter().map(|&v| {
                        (u32::from(v) << 16 | (rng.draw() >> 48) as u32) as f32 / (1u32 << 24) as f32
                    }),
                );
            }
            Pixels::Binarised => out.extend(binarize::redrawn(bytes, &key).map(number)),
            Pixels::Sbin { first_image } => {
                let first = (first_image + key[2]) * bytes.len() as u64;
                out.extend(binarize::sbin(bytes, first).map(number));
            }
        }
    }
}

/// The order of an epoch: a uniformly random permutation of 0..len, a function of (seed, epoch). A shuffle rather
/// than a block cipher over the indices: it reaches every permutation, and 60,000 entries take less than a
/// millisecond.
fn permutation(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    // In the place where the draws of a picture have its number.
    const ORDER: u64 = u64::MAX;
    let mut rng = SplitMix64::keyed(&[seed, epoch, ORDER]);
    let mut order: Vec<u32> = (0..len as u32).collect();
    rng.shuffle(&mut order);
    order
}

/// A thread that runs ahead of the loader.
struct Worker {
    /// `None` only while being dropped.
    batches: Option<Receiver<Made>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread; `ahead` batches wait in the channel and one more in its hand.
    fn spawn(cursor: &Cursor, ahead: usize) -> Option<Worker> {
        let mut cursor = cursor.clone();
        let (sender, receiver) = sync_channel(ahead);
        let run = move || {
            loop {
                let made = cursor.next();
                let failed = made.is_err();
                // An error ends the thread, the loader starts another; nobody listening means the loader is gone.
                if sender.send(made).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("gradus-loader".into()).spawn(run).ok()?;
        Some(Worker { batches: Some(receiver), thread: Some(thread) })
    }

    fn next(&mut self) -> Made {
        let made = self.batches.as_ref().and_then(|b| b.recv().ok());
        made.unwrap_or_else(|| Err(Error::Data("the thread that reads batches has ended".into())))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails and it returns.
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

//! What a driver says of a buffer or a shader that it was asked for: natively at once, in a browser only when the thread
//! has gone back to it. There the work goes on meanwhile, and whoever reads a value next meets the error.

use super::context::Context;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};

type Answer = Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;

/// The answers that are still to come, each with what to say if it is an error; the oldest first.
#[derive(Default)]
pub(super) struct Answers(Mutex<VecDeque<(Answer, String)>>);

impl Answers {
    fn list(&self) -> MutexGuard<'_, VecDeque<(Answer, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(Answer, String)> {
        self.list().pop_front()
    }
}

impl Context {
    /// The error that was made since `scope` began, if the driver has one to report now. If it answers later, an error
    /// is one of [`Context::answered`], with what `blame` says.
    pub(super) fn answer(
        &self,
        scope: wgpu::ErrorScopeGuard,
        blame: impl FnOnce() -> String,
    ) -> Option<wgpu::Error> {
        let mut answer: Answer = Box::pin(scope.pop());
        match answer.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(error) => error,
            Poll::Pending => {
                self.answers.list().push_back((answer, blame()));
                None
            }
        }
    }

    /// Ready when the driver has answered whatever it was asked so far.
    ///
    /// # Errors
    /// The first that it reports. What was computed since is of no use, so the device counts as lost.
    pub(super) async fn answered(&self) -> Result<()> {
        while let Some((answer, blame)) = self.answers.next() {
            if let Some(error) = answer.await {
                let reason = format!("{blame}: {error}");
                // A consequence may have been reported before its cause.
                let _ = self.lose(reason.clone());
                return Err(Error::Lost { reason });
            }
        }
        Ok(())
    }
}

//! Mutexes, atomics and the channel of what threads share. Built with `--cfg loom` they are loom's, which tries every order of
//! their use that matters: see `tests/loom.rs`.

#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;
#[cfg(not(loom))]
pub(crate) use tokio::sync::oneshot;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loom)]
pub(crate) use model::{Mutex, oneshot};

#[cfg(loom)]
mod model {
    use loom::sync::{Mutex as Inner, MutexGuard};
    use std::sync::PoisonError;

    /// loom's mutex under the signatures of the real one.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(Inner<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Inner::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// tokio's channel, at each use of which another thread may come first.
    pub(crate) mod oneshot {
        use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        use std::future::Future;
        use std::pin::Pin;
        use std::sync::Arc;
        use std::task::{Context, Poll};
        use tokio::sync::oneshot;

        #[derive(Debug)]
        pub(crate) struct Sender<T>(oneshot::Sender<T>, Arc<AtomicUsize>);

        #[derive(Debug)]
        pub(crate) struct Receiver<T>(oneshot::Receiver<T>, Arc<AtomicUsize>);

        pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = oneshot::channel();
            let uses = Arc::new(AtomicUsize::new(0));
            (Sender(sender, Arc::clone(&uses)), Receiver(receiver, uses))
        }

        impl<T> Sender<T> {
            pub(crate) fn send(self, value: T) -> Result<(), T> {
                self.1.fetch_add(1, SeqCst);
                self.0.send(value)
            }
        }

        impl<T> Future for Receiver<T> {
            type Output = Result<T, oneshot::error::RecvError>;

            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
                self.1.fetch_add(1, SeqCst);
                Pin::new(&mut self.0).poll(context)
            }
        }

        impl<T> Drop for Receiver<T> {
            fn drop(&mut self) {
                self.1.fetch_add(1, SeqCst);
            }
        }
    }
}

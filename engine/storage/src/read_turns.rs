//! Reads that may be long wait their turn at the device window by window.
//!
//! A reader who meets damage, or what a restart has left unread, may have to walk a whole segment for a few bytes. The
//! expensive mistake is to take one turn for all of that: a produce beside it would wait for the rest. Who holds a turn
//! already takes no further one, or two readers might wait for each other. Deliberately absent: how long a turn is made
//! to wait, which the machine knows.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// Held while the device works.
pub type Turn = Box<dyn Any>;

/// Who makes reads wait.
pub trait ReadTurns {
    /// Waits until `len` bytes may be read.
    fn turn(&self, len: usize) -> Pin<Box<dyn Future<Output = Turn>>>;
}

/// How a reader comes to its turns.
#[derive(Clone, Default)]
pub struct Turns(Option<Rc<dyn ReadTurns>>);

impl Turns {
    /// Nothing waits: for tools, tests, and who holds a turn for all that it reads.
    pub const UNPACED: Self = Self(None);

    #[must_use]
    pub fn of(turns: Rc<dyn ReadTurns>) -> Self {
        Self(Some(turns))
    }

    /// The turn for one read of `len` bytes, to be held until that is done.
    pub(crate) async fn take(&self, len: usize) -> Option<Turn> {
        match &self.0 {
            Some(turns) => Some(turns.turn(len).await),
            None => None,
        }
    }
}

//! A leader's host to an address, off the shard: asking for a name may block for seconds.

use crate::replicas::fetcher::LeaderShard;
use async_channel::{Receiver, Sender};
use sluice_shard::Wake;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::thread;

/// What has become of one name.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) leader: LeaderShard,
    pub(crate) address: Result<SocketAddr, String>,
}

/// A shard's names. At most one for each leader shard is asked for at a time.
pub(crate) struct Resolver {
    sender: Sender<Resolved>,
    receiver: Receiver<Resolved>,
    found: RefCell<Vec<Resolved>>,
    wake: Wake,
}

impl Resolver {
    pub(crate) fn new(wake: Wake) -> Rc<Self> {
        let (sender, receiver) = async_channel::unbounded();
        Rc::new(Self { sender, receiver, found: RefCell::default(), wake })
    }

    /// The task that hears from other threads; never ends.
    pub(crate) async fn run(self: Rc<Self>) {
        while let Ok(resolved) = self.receiver.recv().await {
            self.found.borrow_mut().push(resolved);
            self.wake.notify();
        }
    }

    /// The answer comes out of [`Self::take`].
    pub(crate) fn ask(&self, leader: LeaderShard, host: &str, port: u16) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.found.borrow_mut().push(Resolved { leader, address: Ok(SocketAddr::new(ip, port)) });
            return self.wake.notify();
        }
        let (sender, name) = (self.sender.clone(), host.to_owned());
        let look_up = move || {
            let found = (name.as_str(), port).to_socket_addrs().map(|mut addresses| addresses.next());
            let address = match found {
                Ok(Some(address)) => Ok(address),
                Ok(None) => Err(format!("host {name} has no address")),
                Err(error) => Err(format!("host {name} cannot be found: {error}")),
            };
            let _shard_has_ended = sender.send_blocking(Resolved { leader, address });
        };
        if let Err(error) = thread::Builder::new().name("resolve".to_owned()).spawn(look_up) {
            let address = Err(format!("no thread to look for host {host}: {error}"));
            self.found.borrow_mut().push(Resolved { leader, address });
            self.wake.notify();
        }
    }

    pub(crate) fn take(&self) -> Vec<Resolved> {
        std::mem::take(&mut self.found.borrow_mut())
    }
}

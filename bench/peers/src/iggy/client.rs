//! Connections of Iggy's own client, and the runtime they live in.

use std::sync::Arc;

use iggy::prelude::{
    Client, IggyError, PersonalAccessTokenClient, PersonalAccessTokenExpiry, TcpClient, TcpClientConfig,
    TcpClientReconnectionConfig, UserClient,
};
use sluice_bench::BenchError;
use tokio::runtime::{Builder, Runtime};

/// Of the server's first user, which it is started with.
pub(super) const USER: &str = "bench";
pub(super) const PASSWORD: &str = "bench-on-loopback";
const TOKEN: &str = "bench";

/// Runs on the thread that waits: nothing stands between a lane and its sockets.
pub(super) fn runtime() -> Result<Runtime, BenchError> {
    Builder::new_current_thread().enable_all().build().map_err(BenchError::io("a runtime"))
}

/// Where the server is, and who asks.
#[derive(Clone, Debug)]
pub(super) struct Access {
    address: String,
    /// Of the server's first user, in the place of its password.
    token: Option<String>,
}

impl Access {
    /// As the server's first user.
    pub(super) fn of_first_user(address: &str) -> Self {
        Self { address: address.to_owned(), token: None }
    }

    /// The same user by a token: a password costs the server tens of milliseconds of hashing for each of a thousand
    /// connections.
    pub(super) async fn by_token(&self, client: &TcpClient) -> Result<Self, BenchError> {
        let made = client.create_personal_access_token(TOKEN, PersonalAccessTokenExpiry::NeverExpire).await;
        let token = made.map_err(failed("making a token"))?.token;
        Ok(Self { token: Some(token), ..self.clone() })
    }
}

/// A connection that is logged in.
pub(super) async fn connect(access: &Access) -> Result<Arc<TcpClient>, BenchError> {
    let client = TcpClient::create(Arc::new(config(access))).map_err(failed("a client"))?;
    client.connect().await.map_err(failed("connecting"))?;
    let logged_in = match &access.token {
        Some(token) => client.login_with_personal_access_token(token).await,
        None => client.login_user(USER, PASSWORD).await,
    };
    logged_in.map_err(failed("logging in"))?;
    Ok(Arc::new(client))
}

fn config(access: &Access) -> TcpClientConfig {
    TcpClientConfig {
        server_address: access.address.clone(),
        // A connection that breaks ends the round: it is not mended in secret.
        reconnection: TcpClientReconnectionConfig { enabled: false, ..TcpClientReconnectionConfig::default() },
        // Off by default; a small request would wait for the answer to the one before.
        nodelay: true,
        ..TcpClientConfig::default()
    }
}

/// What the client says, about what was done.
pub(super) fn failed(what: &str) -> impl FnOnce(IggyError) -> BenchError {
    move |error| BenchError::protocol(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_server_there_is_no_connection() {
        let runtime = runtime().expect("a runtime");
        let access = Access::of_first_user("127.0.0.1:1");
        let problem = runtime.block_on(connect(&access)).map(|_| ()).expect_err("nobody listens").to_string();
        assert!(problem.contains("connecting"), "{problem}");
        let config = config(&access);
        assert!(config.nodelay && !config.reconnection.enabled);
    }
}

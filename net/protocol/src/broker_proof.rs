//! BrokerProof: a broker shows that it knows the cluster's secret, and only then is shown that the other side does.
//!
//! Follows [`crate::BrokerChallengeRequest`] on the same connection, once. A proof that does not hold is answered with a
//! refusal, after which the connection is closed.

use crate::api::Api;
use crate::cluster_secret::Proof;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BrokerProofRequest {
    /// [`crate::ProofOf::Connecting`]'s.
    pub proof: Proof,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerProofAnswer {
    pub error: u16,
    pub text: String,
    /// [`crate::ProofOf::Accepting`]'s; nothing with an error.
    pub proof: Proof,
}

impl Message for BrokerProofRequest {
    const API: Api = Api::BrokerProof;
    const NAME: &'static str = "BrokerProof request";

    fn check(_: &ArchivedBrokerProofRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for BrokerProofRequest {
    type Answer = BrokerProofAnswer;
}

impl Message for BrokerProofAnswer {
    const API: Api = Api::BrokerProof;
    const NAME: &'static str = "BrokerProof answer";

    fn check(archived: &ArchivedBrokerProofAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)
    }
}

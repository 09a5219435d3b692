mod backoff;
mod producer;

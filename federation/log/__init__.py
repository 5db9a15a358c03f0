"""The consortium's log: a Merkle tree of entries whose heads the aggregator signs and sites co-sign."""

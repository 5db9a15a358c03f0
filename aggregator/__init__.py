"""What the consortium's aggregator runs: intake, catalogue, similarity matrix, recommendations, reports."""

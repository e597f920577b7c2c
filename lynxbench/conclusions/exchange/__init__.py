"""Results in the formats of others, one module a format; what a format has no place for is said in docs/exchange.md."""

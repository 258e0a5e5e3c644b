"""What commands share, those of benchmarks too: options, progress, errors as sentences."""

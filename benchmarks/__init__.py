"""What is measured, against what, and the last figures. `scripts/bench --help` says how."""

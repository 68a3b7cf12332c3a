"""What the machines say of themselves. One file per source; none imports another."""

"""Where jobs run. One package per kind of engine; none imports another."""

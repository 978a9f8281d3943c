"""An experiment and its files: the fields of a config, the objects built from it, a run's workdir, and loading."""

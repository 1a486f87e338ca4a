"""The training loop: Lightning module, callbacks, run folder."""

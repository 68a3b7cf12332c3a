"""Deciders of ``stoker plan``: what to buy, how to wire it, how to split a model. Pure: no I/O, no clock."""

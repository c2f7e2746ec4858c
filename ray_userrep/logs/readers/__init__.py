"""One module a raw layout, each with `recognise(names)` and `read(config, files)`; adding a layout is adding a file."""

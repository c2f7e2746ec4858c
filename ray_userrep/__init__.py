"""Universal user representations from interaction logs: prepare, pretrain, evaluate, embed."""

__version__ = "0.1.0"

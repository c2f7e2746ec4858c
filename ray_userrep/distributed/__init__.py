"""Ray Train and DeepSpeed: one training over many workers.

DeepSpeed warns as it is imported that it found no GPU, which is no news on a machine that has none. The filter stands
here, where it is in place before any module imports DeepSpeed. The price: a GPU that DeepSpeed overlooks goes untold.
"""

import logging

_NO_NEWS = "Setting accelerator to CPU."

logging.getLogger("DeepSpeed").addFilter(lambda record: not record.getMessage().startswith(_NO_NEWS))

"""One thread a test process, as in the pipeline: workers with several each would stand in each other's way."""

import torch

torch.set_num_threads(1)
